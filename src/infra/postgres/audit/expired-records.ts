import type { Log } from '../../../app/ports/process.ts'
import type { RecordTable } from '../../../verifier/records.ts'
import type { Database } from '../connection/database.ts'
import { repeat } from '../connection/repeat.ts'

const REMOVE_EXPIRED = {
  name: 'remove_expired_records',
  text: 'select remove_expired_records($1, $2, $3) as removed',
}
const REMOVE_OLD_LOGINS = {
  name: 'remove_old_logins',
  text: 'select remove_old_logins($1) as removed',
}

const STEP = 1_000
const LOOK_MS = 3_600_000

/**
 * Removes, step by step, every hour: the records of accesses and security events that are older than so many
 * days; sessions that expired long ago, and old attempts to log in.
 */
export function expiredRecords(
  { query }: Database,
  days: Readonly<Record<RecordTable, number>>,
  log: Log,
): { readonly close: () => Promise<void> } {
  const removals = [
    ...Object.entries(days).map(([table, days]) => {
      return { table, statement: REMOVE_EXPIRED, values: [table, days, STEP] }
    }),
    { table: 'sessions and login_attempts', statement: REMOVE_OLD_LOGINS, values: [STEP] },
  ]
  return repeat(LOOK_MS, async (signal) => {
    for (const { table, statement, values } of removals) {
      try {
        for (let removed = STEP; removed >= STEP && !signal.aborted; ) {
          const [done] = await query<{ removed: number }>(statement, values)
          removed = done?.removed ?? 0
        }
      } catch (error) {
        log.warn({ err: (error as Error).message }, `cannot remove what has expired of ${table}`)
      }
    }
    return 'again'
  })
}
