import { createHash } from 'node:crypto'
import { mkdir, open, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { lockDirectory } from './store-lock.ts'

/** The last note of each log, in a directory that no other process writes to. */
export type CheckpointFiles = {
  /** Null: there is none. */
  readonly read: (origin: string) => Promise<string | null>
  /**
   * When it resolves, the note survives a crash; when it rejects, either note may be there. Error: what is there is
   * not `last`. The lock of a process that was cut off from a network file system is lost, and it does not notice.
   */
  readonly replace: (origin: string, last: string | null, note: string) => Promise<void>
  /** Where the note of that log is. */
  readonly place: (origin: string) => string
  readonly close: () => void
}

/** Makes the directory if it is missing. Error: another process has it, after `patienceMs`. */
export async function checkpointFiles(
  directory: string,
  patienceMs = 10_000,
): Promise<CheckpointFiles> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const lock = await lockDirectory(join(directory, 'lock'), patienceMs)
  // An origin may have any length and any characters.
  const place = (origin: string) =>
    join(directory, `${createHash('sha256').update(origin).digest('hex')}.note`)
  const read = async (origin: string) => {
    try {
      return await readFile(place(origin), 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw error
    }
  }
  return {
    place,
    read,
    replace: async (origin, last, note) => {
      const file = place(origin)
      if ((await read(origin)) !== last) throw new Error(`${file} was changed by somebody else`)
      const draft = `${file}.draft`
      await writeFile(draft, note, { mode: 0o600, flush: true })
      await rename(draft, file)
      await flushDirectory(directory)
    },
    close: lock.release,
  }
}

/** So that a rename survives a crash. */
async function flushDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
