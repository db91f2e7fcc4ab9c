import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../app/ports.ts'
import type { Database } from './database.ts'
import { removeErasedRows } from './erasure.ts'

const AGAIN_MS = 5_000

export type ErasedRows = {
  /** Rows of an erased user may be there: removes them, now or when the database is back. */
  readonly look: () => void
  readonly close: () => Promise<void>
}

/** Removes what is left in the clear of erased users; looks once at the start. */
export function erasedRows(db: Database, log: Log): ErasedRows {
  const closing = new AbortController()
  const { signal } = closing
  let due = false
  let running: Promise<void> | undefined

  const removeAll = async () => {
    let total = 0
    for (let removed = 1; removed > 0 && !signal.aborted; total += removed) {
      removed = await removeErasedRows(db)
    }
    if (total > 0) log.info({ rows: total }, 'removed what was left of erased users')
  }
  const work = async () => {
    while (due && !signal.aborted) {
      due = false
      await removeAll().catch(async (error: Error) => {
        due = true
        log.warn({ err: error.message }, 'cannot remove what is left of erased users')
        await sleep(AGAIN_MS, undefined, { signal }).catch(() => {})
      })
    }
    running = undefined
  }
  const look = () => {
    due = true
    running ??= work()
  }

  look()
  return {
    look,
    close: async () => {
      closing.abort()
      await running
    },
  }
}
