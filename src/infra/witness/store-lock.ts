import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'

const AGAIN_MS = 50

/**
 * Keeps other processes out of a directory until this one lets go of it or ends, also by kill -9: it is the kernel
 * that holds the lock, and on a network file system its server. Node locks no files itself, but SQLite does: of
 * its database, which stays empty, nothing but the lock is used. Waits `patienceMs` for a process that is about to
 * end. Error: an Error of one sentence.
 */
export async function lockDirectory(
  file: string,
  patienceMs: number,
): Promise<{ readonly release: () => void }> {
  const deadline = Date.now() + patienceMs
  const database = new DatabaseSync(file)
  for (;;) {
    try {
      database.exec('pragma journal_mode = memory; begin exclusive')
      const release = () => {
        if (database.isOpen) database.close()
      }
      return { release }
    } catch (error) {
      if (isLocked(error) && Date.now() < deadline) {
        await sleep(AGAIN_MS)
        continue
      }
      database.close()
      if (!isLocked(error)) throw error
      throw new Error(`Another process works in this directory: it holds ${file}.`)
    }
  }
}

const SQLITE_BUSY = 5

const isLocked = (error: unknown): boolean =>
  error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY
