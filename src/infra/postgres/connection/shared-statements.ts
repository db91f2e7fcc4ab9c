import { AppError } from '../../../app/errors.ts'
import { type BatchLimits, batches } from '../../batching/batches.ts'

/** Times in milliseconds; a caller waits for a call to begin, and then as long as a statement may take. */
const LIMITS: BatchLimits = {
  items: 100,
  bytes: 1_048_576,
  waiting: 500,
  calls: 4,
  patience: 25,
  total: 5_000,
}

/**
 * Those who wait for the database at the same time wait for one statement: `call` asks it for all of them, and
 * gives each its answer, in their order. Error: `database_unavailable`, if too many wait.
 */
export const sharedStatement = <Asked, Answer>(
  call: (asked: readonly Asked[]) => Promise<readonly (Answer | PromiseLike<Answer>)[]>,
  {
    sizeOf = () => 0,
    ...limits
  }: Partial<BatchLimits> & { sizeOf?: (asked: Asked) => number } = {},
): ((asked: Asked) => Promise<Answer>) =>
  batches({
    call,
    sizeOf,
    limits: { ...LIMITS, ...limits },
    now: () => performance.now(),
    refusal: (cause) => new AppError('database_unavailable', { retryAfter: 1, cause }),
  })
