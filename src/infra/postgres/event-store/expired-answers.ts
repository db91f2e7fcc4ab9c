import type { Log } from '../../../app/ports/process.ts'
import type { Database } from '../connection/database.ts'
import { repeat } from '../connection/repeat.ts'

const REMOVE = {
  name: 'remove_expired_answers',
  text: 'select remove_expired_answers($1) as removed',
}

const COUNT = { name: 'count_keyed_answers', text: 'select count_keyed_answers()' }

const STEP = 1_000
const LOOK_MS = 60_000

/**
 * Removes the answers stored for Idempotency-Keys once they have expired, step by step, and then counts who
 * has many: a quota needs it. Several processes may do it at the same time.
 */
export function expiredAnswers(
  { query }: Database,
  log: Log,
  onRemoved: (answers: number) => void,
  lookMs = LOOK_MS,
): { readonly close: () => Promise<void> } {
  const removeSome = async () => {
    const [done] = await query<{ removed: number }>(REMOVE, [STEP])
    return done?.removed ?? 0
  }
  return repeat(lookMs, async (signal) => {
    try {
      for (let removed = STEP; removed === STEP && !signal.aborted; ) {
        removed = await removeSome()
        onRemoved(removed)
      }
      await query(COUNT, [])
    } catch (error) {
      log.warn({ err: (error as Error).message }, 'cannot remove expired answers')
    }
    return 'again'
  })
}
