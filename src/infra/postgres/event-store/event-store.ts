import canonicalize from 'canonicalize'
import { v7 as uuidv7 } from 'uuid'
import { AppError, type Quota } from '../../../app/errors.ts'
import type {
  Answer,
  Append,
  AppendResult,
  EventStore,
  Quotas,
  Recorded,
} from '../../../app/ports/event-store.ts'
import { SETTERS } from '../../../domain/task/changes.ts'
import { TASK_EVENT_SCHEMA_VERSION } from '../../../domain/task/events.ts'
import { taskIdOf } from '../../../domain/task/view.ts'
import { type Database, mayRepeat } from '../connection/database.ts'
import { TASK_COLUMNS } from '../tasks/task-page.ts'
import { bisect, OUT_OF_ORDER } from './by-time.ts'
import { safePosition } from './safe-position.ts'
import { type Measured, unmeasured, withinBytes } from './within-bytes.ts'

const COLUMNS = `
  position, stream_id, version, event_id, type, schema_version, data, actor_id, metadata,
  occurred_at, recorded_at, encode(prev_hash, 'hex') as prev_hash, encode(hash, 'hex') as hash`

const LOAD = {
  name: 'load',
  text: `
    select ${COLUMNS} from events
    where stream_id = $1 and version > $2 and version <= $3 order by version`,
}

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

const PAGE_BYTES = 1_048_576

// One more than asked for shows whether there are others.
const PAGE_AFTER = {
  name: 'stream_page_after',
  text: withinBytes(PAGE_BYTES, { measured: 'data', order: 'version' })(`
    select ${COLUMNS} from events
    where stream_id = $1 and version > $2 order by version limit $3 + 1`),
}

const PAGE_BEFORE = {
  name: 'stream_page_before',
  text: withinBytes(PAGE_BYTES, { measured: 'data', order: 'version desc' })(`
    select ${COLUMNS} from events
    where stream_id = $1 and version < $2 order by version desc limit $3 + 1`),
}

const lastVersion = (condition: string) => `(
  select version from events
  where stream_id = $1 and version <= $2 and ${condition} order by version desc limit 1)`

// What a newer version wrote sets nothing that this one knows.
const SET_LAST = Object.values(SETTERS).map((types) =>
  lastVersion(`
    schema_version <= ${TASK_EVENT_SCHEMA_VERSION}
    and type in (${types.map((type) => `'${type}'`).join(', ')})`),
)

const IN_FORCE = {
  name: 'in_force',
  text: `
    select ${COLUMNS} from events
    where stream_id = $1 and version <= $2
      and version in (1, ${[lastVersion('true'), ...SET_LAST].join(', ')})
    order by version`,
}

// Within a stream times never go backwards.
const VERSION_AT = {
  name: 'version_at',
  text: `select ${bisect('low', {
    rows: '(select version as position, recorded_at from events where stream_id = $1) e where true',
    end: '(select coalesce(max(version), 0) + 1 from events where stream_id = $1)',
    time: "$2::timestamptz + interval '1 millisecond'",
  })} as version`,
}

const APPEND = {
  name: 'append',
  text: `
    select outcome, answer_stream, answer_version, occurred_at
    from append_events($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
}

const READ_ALL = {
  name: 'read_all',
  text: `
    select ${COLUMNS} from events
    where position > $1 and position <= $2 order by position limit $3`,
}

// The texts are long and stored apart from their rows: this only checks for null, and does not return them.
const OUTLINE = COLUMNS.replace(
  ' data,',
  `
  (select coalesce(jsonb_object_agg(key, case
      when key in ('title', 'description') and value <> 'null' then to_jsonb(position::text)
      else value end), '{}')
    from jsonb_each(data)) as data,`,
)

const SUMMARIES_OF_ACTOR = {
  name: 'outlines_of_actor',
  text: `
    select ${OUTLINE} from events
    where actor_id = $1 and position > $2 and position <= $3 order by position limit $4`,
}

const SUMMARIES_OF = {
  name: 'outlines_of',
  text: `
    select ${OUTLINE} from events
    where stream_id = any ($1) and position <= $2 order by position`,
}

const READ_AT = {
  name: 'read_at',
  text: `select ${COLUMNS} from events where position = any ($1) order by position`,
}

// Backwards from a little after the time: it reads few events, whether the time is old or new.
const POSITION_AT = {
  name: 'position_at',
  text: `
    select position from events
    where actor_id = $1 and recorded_at <= $2
      and position < ${bisect('high', {
        rows: 'events where actor_id = $1',
        end: 'last_position() + 1',
        time: `$2::timestamptz + ${OUT_OF_ORDER}`,
      })}
    order by position desc limit 1`,
}

const LAST_POSITION = { name: 'last_position', text: 'select last_position() as position' }

const NOW = {
  name: 'now',
  text: `
    select greatest(date_trunc('milliseconds', clock_timestamp()), (
      select recorded_at from events order by position desc limit 1)) as now`,
}

const MAX_REPEATS = 3

type Shape = { readonly type: string; readonly data: unknown }

/** The event store on PostgreSQL; db/migrations/…_append_events.ts is its other half. */
export function postgresEventStore<Event extends Shape, Row extends object>(
  db: Database,
  quotas: Quotas | null = null,
): EventStore<Event, Row> {
  const end = () => safePosition(db.query)

  return {
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

    async load(stream_id, after = 0, upTo = Number.MAX_SAFE_INTEGER) {
      const events = await db.query<Recorded<Event>>(LOAD, [stream_id, after, upTo])
      const last = events.at(-1)
      return { version: last?.version ?? after, head_hash: last?.hash ?? null, events }
    },

    async page(stream_id, place, limit) {
      const [statement, from] =
        'after' in place ? [PAGE_AFTER, place.after] : [PAGE_BEFORE, place.before]
      const rows = await db.query<Measured<Recorded<Event>>>(statement, [stream_id, from, limit])
      const events = rows.slice(0, limit).map(unmeasured)
      return { events, more: (rows[0]?.found ?? 0) > events.length }
    },

    inForce: (stream_id, version) => db.query<Recorded<Event>>(IN_FORCE, [stream_id, version]),

    async versionAt(stream_id, time) {
      const [found] = await db.query<{ version: number }>(VERSION_AT, [stream_id, time])
      return found?.version ?? 0
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

    end,
    async last() {
      const [row] = await db.query<{ position: number }>(LAST_POSITION, [])
      return row?.position ?? 0
    },
    now: async () => {
      const [row] = await db.query<{ now: string }>(NOW, [])
      return row?.now ?? ''
    },
    readAll: async (after, limit) =>
      db.query<Recorded<Event>>(READ_ALL, [after, await end(), limit]),
    summariesOfActor: async (actor_id, after, limit, until) =>
      db.query<Recorded<Event>>(SUMMARIES_OF_ACTOR, [
        actor_id,
        after,
        until ?? (await end()),
        limit,
      ]),
    summariesOf: (stream_ids, until) =>
      db.query<Recorded<Event>>(SUMMARIES_OF, [stream_ids, until]),
    readAt: (positions) => db.query<Recorded<Event>>(READ_AT, [positions]),
    async positionAt(actor_id, time) {
      const [found] = await db.query<{ position: number }>(POSITION_AT, [actor_id, time])
      return found?.position ?? 0
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
