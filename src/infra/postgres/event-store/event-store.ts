import canonicalize from 'canonicalize'
import { v7 as uuidv7 } from 'uuid'
import { AppError, type Quota } from '../../../app/errors.ts'
import type {
  Answer,
  Append,
  AppendResult,
  EventStore,
  Quotas,
} from '../../../app/ports/event-store.ts'
import { taskIdOf } from '../../../domain/task/view.ts'
import { type Database, mayRepeat } from '../connection/database.ts'
import { TASK_COLUMNS } from '../tasks/task-page.ts'
import { logReads } from './log-reads.ts'
import { streamReads } from './stream-reads.ts'

// The owner by the row, or by the stream's first event when the row is gone.
const PRESENT = {
  name: 'present',
  text: `
    select s.version as stream_version, encode(s.head_hash, 'hex') as head_hash, s.event_types,
      s.schema_version, ${TASK_COLUMNS.replaceAll(/(\w+)/g, 't.$1')}, o.owner_id,
      k.wrapped_key, k.wrapped_by, k.destroyed_at is not null as erased,
      c.fingerprint = $5 as same, c.stream_id as answer_stream, c.version as answer_version
    from (select) one
      left join streams s on s.stream_id = $1
      left join tasks t on t.id = $2
      left join lateral (
        select coalesce(t.user_id, (
          select (data->>'user_id')::bigint from events
          where stream_id = $1 and version = 1)) as owner_id) o on true
      left join user_keys k on k.user_id = o.owner_id
      left join commands c on c.actor_id = $3 and c.key = $4 and c.expires_at > now()`,
}

const APPEND = {
  name: 'append',
  text: `
    select outcome, answer_stream, answer_version, occurred_at
    from append_events($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
}

const MAX_REPEATS = 3

type Shape = { readonly type: string; readonly data: unknown }

/**
 * The event store on PostgreSQL; db/migrations/…_append_events.ts is its other half. Events are read from `log`,
 * which shows all that `db` has committed.
 */
export function postgresEventStore<Event extends Shape, Row extends object>(
  db: Database,
  quotas: Quotas | null = null,
  log = db,
): EventStore<Event, Row> {
  return {
    ...streamReads<Event, Row>(log),
    ...logReads<Event, Row>(log, db),

    async present(stream_id, actor_id, command) {
      const values = [stream_id, taskIdOf(stream_id), actor_id, command?.key, command?.fingerprint]
      const [found] = await db.query<Found>(PRESENT, values)
      if (found === undefined) throw new Error('the present is one row')
      const { stream_version, head_hash, event_types, schema_version, owner_id, erased, ...rest } =
        found
      const { same, answer_stream, answer_version, ...row } = rest
      if (same === false) throw new AppError('idempotency_key_reused')
      return {
        version: stream_version ?? 0,
        head_hash,
        row: row.id === null ? null : (row as Row),
        owner_id,
        erased,
        event_types: event_types ?? [],
        schema_version: schema_version ?? 0,
        answer: answerOf(found),
      }
    },

    async append(append): Promise<AppendResult> {
      const [result] = await repeated(() =>
        db.query<Outcome>(APPEND, [...parameters(append), quotas]),
      )
      switch (result?.outcome) {
        case 'appended':
          return { outcome: 'appended', occurred_at: result.occurred_at }
        case 'replayed':
          return { outcome: 'replayed', answer: answerOf(result) as Answer }
        case 'conflict':
          return { outcome: 'conflict' }
        case 'reused':
          throw new AppError('idempotency_key_reused')
        case 'running':
          throw new AppError('idempotency_key_in_use', { retryAfter: 1 })
        case 'erased':
          throw new AppError('session_ended')
        case 'over_quota':
          throw new AppError('quota_exceeded', { quota: quotaOf(result, quotas) })
        default:
          throw new Error('append_events gave no outcome')
      }
    },
  }
}

type Kept = { readonly answer_stream: string | null; readonly answer_version: number | null }

type Outcome = Kept & {
  readonly outcome:
    | 'appended'
    | 'replayed'
    | 'conflict'
    | 'reused'
    | 'running'
    | 'erased'
    | 'over_quota'
  readonly occurred_at: string | null
}

type Found = Kept & {
  readonly stream_version: number | null
  readonly head_hash: string | null
  readonly event_types: readonly string[] | null
  readonly schema_version: number | null
  readonly id: number | null
  readonly owner_id: number | null
  readonly erased: boolean
  readonly same: boolean | null
}

function answerOf({ answer_stream: stream_id, answer_version: version }: Kept): Answer | null {
  return stream_id === null || version === null ? null : { stream_id, version }
}

function quotaOf({ answer_stream, answer_version }: Kept, quotas: Quotas | null): Quota {
  const of = answer_stream as Quota['of']
  return { of, limit: quotas?.[of] ?? 0, used: answer_version ?? 0 }
}

function parameters<Event extends Shape>(append: Append<Event, object>): unknown[] {
  const { events, expected } = append
  const { version, head_hash } = expected
  return [
    append.stream_id,
    append.stream_type,
    version,
    head_hash === null ? null : Buffer.from(head_hash, 'hex'),
    append.schema_version,
    events.map(() => uuidv7()),
    events.map(({ type }) => type),
    // As their hashes cover them: jsonb keeps neither order nor form.
    events.map(({ data }) => canonicalize(data)),
    append.actor_id,
    canonicalize(append.metadata),
    append.row,
    append.command?.key ?? null,
    append.command?.fingerprint ?? null,
  ]
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
