import canonicalize from 'canonicalize'
import { v7 as uuidv7 } from 'uuid'
import { AppError } from '../../../app/errors.ts'
import type { Answer, Append, AppendResult, Quotas } from '../../../app/ports/event-store.ts'
import { type Database, isPhotoGone, mayRepeat } from '../connection/database.ts'
import { sharedStatement } from '../connection/shared-statements.ts'
import { type Answered, answerOf } from './answers.ts'

const APPEND = {
  name: 'append',
  text: `
    select outcome, occurred_at, answer_stream, answer_version, quota, used
    from append_events($1, $2, $3)`,
}

/** Bytes, mostly in ASCII. */
const sizeOf = (append: string) => append.length

const MAX_REPEATS = 3

type Shape = { readonly type: string; readonly data: unknown }

/**
 * Appends to the log; db/migrations/…_append_events.ts is its other half. Those that come while a call is
 * under way go together in the next one, and each has its own result: one that another transaction is in the
 * way of, or that goes with one whose values are refused, is tried again alone.
 */
export function appends<Event extends Shape, Row extends object>(
  db: Database,
  quotas: Quotas | null,
): (append: Append<Event, Row>) => Promise<AppendResult> {
  const call = (written: readonly string[], waits: boolean) =>
    db.query<Outcome>(APPEND, [`[${written.join()}]`, waits, quotas]).catch((error: unknown) => {
      throw isPhotoGone(error) ? new AppError('photo_gone', { cause: error }) : error
    })

  const alone = async (one: string): Promise<Outcome> => {
    const [outcome] = await repeated(() => call([one], true))
    if (outcome === undefined) throw new Error('append_events gave no outcome')
    return outcome
  }

  const append = sharedStatement<string, Outcome>(
    async (written) => {
      try {
        const outcomes = await call(written, false)
        return written.map((one, n) => {
          const outcome = outcomes[n]
          return outcome === undefined || outcome.outcome === 'busy' ? alone(one) : outcome
        })
      } catch (error) {
        if (error instanceof AppError && error.code !== 'photo_gone') throw error
        return written.map(alone)
      }
    },
    { sizeOf, items: 50, calls: 2 },
  )

  return async (each) => resultOf(await append(parameter(each)), quotas)
}

type Outcome = Answered & {
  readonly outcome:
    | 'appended'
    | 'replayed'
    | 'conflict'
    | 'reused'
    | 'running'
    | 'erased'
    | 'over_quota'
    | 'busy'
  readonly occurred_at: string | null
  readonly quota: keyof Quotas
  readonly used: number
}

function resultOf(outcome: Outcome, quotas: Quotas | null): AppendResult {
  switch (outcome.outcome) {
    case 'appended':
      return { outcome: 'appended', occurred_at: outcome.occurred_at }
    case 'replayed':
      return { outcome: 'replayed', answer: answerOf(outcome) as Answer }
    case 'conflict':
      return { outcome: 'conflict' }
    case 'reused':
      throw new AppError('idempotency_key_reused')
    case 'running':
      throw new AppError('idempotency_key_in_use', { retryAfter: 1 })
    case 'erased':
      throw new AppError('session_ended')
    case 'over_quota': {
      const { quota: of, used } = outcome
      throw new AppError('quota_exceeded', { quota: { of, limit: quotas?.[of] ?? 0, used } })
    }
    case 'busy':
      throw new Error('append_events waited, and was busy')
  }
}

/** As append_events takes it. */
function parameter<Event extends Shape>(append: Append<Event, object>): string {
  const { stream_id, stream_type, expected, schema_version, events, actor_id, row, command } =
    append
  return JSON.stringify({
    stream_id,
    stream_type,
    expected_version: expected.version,
    prev_hash: expected.head_hash && `\\x${expected.head_hash}`,
    schema_version,
    // As their hashes cover them: jsonb keeps neither order nor form.
    events: events.map(({ type, data }) => ({
      event_id: uuidv7(),
      type,
      data: canonicalize(data),
    })),
    actor_id,
    metadata: canonicalize(append.metadata),
    row,
    ...(command && { key: command.key, fingerprint: `\\x${command.fingerprint.toString('hex')}` }),
  })
}

/** An append that PostgreSQL rolled back to end a deadlock left nothing behind: it can be repeated. */
async function repeated<T>(statement: () => Promise<T>): Promise<T> {
  for (let repeat = 0; ; repeat++) {
    try {
      return await statement()
    } catch (error) {
      if (!mayRepeat(error) || repeat === MAX_REPEATS) throw error
    }
  }
}
