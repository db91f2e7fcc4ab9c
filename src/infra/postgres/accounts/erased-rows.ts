import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../../app/ports/process.ts'
import type { Database } from '../connection/database.ts'
import { repeat } from '../connection/repeat.ts'
import { dropRebuildRemains, removeErasedRows } from './erasure.ts'

const LOOK_MS = 60_000
const AGAIN_MS = 5_000

export type ErasedRows = {
  /** There may be rows of an erased user: removes them, now or when the database is back. */
  readonly look: () => void
  readonly close: () => Promise<void>
}

/**
 * Removes the rows that are left of erased users. Looks at the start and every minute, because nobody
 * may be left to ask for it: the service that erased may have died, or another worker that was about to
 * look.
 */
export function erasedRows(db: Database, log: Log, lookMs = LOOK_MS): ErasedRows {
  const closing = new AbortController()
  const { signal } = closing
  let due = false
  let running: Promise<void> | undefined

  const removeAll = async () => {
    let total = 0
    for (let removed: number | null = 0; removed !== null && !signal.aborted; ) {
      removed = await removeErasedRows(db)
      total += removed ?? 0
    }
    if (total > 0) log.info({ rows: total }, 'removed what was left of erased users')
  }
  const dropAll = async () => {
    if (await dropRebuildRemains(db)) log.info({}, 'dropped what was left of a rebuild of tasks')
  }
  const failed = (what: string) => (error: Error) => {
    due = true
    log.warn({ err: error.message }, `cannot ${what}`)
    return sleep(AGAIN_MS, undefined, { signal }).catch(() => {})
  }
  const work = async () => {
    while (due && !signal.aborted) {
      due = false
      await removeAll().catch(failed('remove what is left of erased users'))
      await dropAll().catch(failed('drop what is left of a rebuild of tasks'))
    }
    running = undefined
  }
  const look = () => {
    due = true
    running ??= work()
  }

  const looking = repeat(lookMs, async () => {
    look()
    return 'again'
  })
  return {
    look,
    close: async () => {
      closing.abort()
      await looking.close()
      await running
    },
  }
}
