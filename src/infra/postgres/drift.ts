import { isDeepStrictEqual } from 'node:util'
import { AppError } from '../../app/errors.ts'
import { historyOf } from '../../app/history.ts'
import type { Log, Recorded } from '../../app/ports.ts'
import type { TaskEvent } from '../../domain/task/events.ts'
import { type TaskView, taskStream } from '../../domain/task/view.ts'
import { foldRows, keyOwners } from '../task-rows.ts'
import type { Database } from './database.ts'
import type { UserKeys } from './user-keys.ts'

/** Where a projection does not say what the log says. Holds names of fields, never their values. */
export type Drift = {
  readonly projection: 'tasks' | 'audit'
  readonly stream_id: string
  readonly kind: 'different' | 'missing' | 'extra'
  /** Those that differ. Of the audit as `version.field`, or `version` for a row as a whole. */
  readonly fields: readonly string[]
}

type Ports = { readonly db: Database; readonly keys: UserKeys }

// Row and events in one statement, which is one snapshot: a write in between shows in both or in none.
// Rows of an erased user go soon after the key, not with it.
const TASKS = {
  name: 'drift_of_tasks',
  text: `
    select w.id, to_jsonb(t) as row, e.events, k.destroyed_at is not null as erased,
      k.destroyed_at < now() - interval '10 minutes' as gone
    from unnest($1::bigint[]) as w (id)
      left join tasks t on t.id = w.id
      cross join lateral (
        select coalesce(jsonb_agg(jsonb_build_object('stream_id', stream_id, 'version', version,
          'type', type, 'data', data, 'occurred_at', occurred_at) order by version), '[]') as events
        from events where stream_id = 'task-' || w.id) e
      left join user_keys k
        on k.user_id = coalesce((e.events->0->'data'->>'user_id')::bigint, t.user_id)
    order by w.id`,
}

// As far as the audit goes; of a parked stream, up to where it is parked.
const AUDIT = {
  name: 'drift_of_audit',
  text: `
    select w.id, e.events, a.rows
    from unnest($1::bigint[]) as w (id)
      cross join (select position from projections where name = 'audit') p
      left join parked_streams s on s.projection = 'audit' and s.stream_id = 'task-' || w.id
      cross join lateral (
        select coalesce(jsonb_agg(jsonb_build_object('position', position, 'stream_id', stream_id,
          'version', version, 'type', type, 'data', data, 'actor_id', actor_id,
          'metadata', metadata, 'occurred_at', occurred_at, 'recorded_at', recorded_at,
          'hash', encode(hash, 'hex')) order by version), '[]') as events
        from events
        where stream_id = 'task-' || w.id and position <= p.position
          and (s.version is null or version < s.version)) e
      cross join lateral (
        select coalesce(jsonb_agg(jsonb_build_object('position', position, 'task_id', task_id,
          'user_id', user_id, 'version', version, 'type', type, 'actor_id', actor_id,
          'occurred_at', occurred_at, 'recorded_at', recorded_at, 'request_id', request_id,
          'changes', changes, 'undoes', undoes, 'hash', encode(hash, 'hex'))
          order by position), '[]') as rows
        from audit_events where task_id = w.id) a
    order by w.id`,
}

/** Where the read table differs from the fold of the log, of the tasks with these ids. */
export async function driftOfTasks(
  { db, keys }: Ports,
  ids: readonly number[],
): Promise<readonly Drift[]> {
  const found = await db.query<TaskFound>(TASKS, [ids])
  const events = found.flatMap(({ events }) => events)
  const known = await keys.find(keyOwners(events))
  return found.flatMap((task): Drift[] => {
    const stream_id = taskStream(task.id)
    const of = (kind: Drift['kind'], fields: readonly string[] = []): Drift[] => [
      { projection: 'tasks', stream_id, kind, fields },
    ]
    if (task.events.length === 0) return task.row === null ? [] : of('extra')
    if (task.erased) return task.row !== null && task.gone ? of('extra') : []
    const folded = foldRows(new Map(), task.events.map(timed), known).get(stream_id)
    // Erased since, or a log that is damaged from its first event on: not the read table's fault.
    if (folded === null || folded === undefined) return []
    if (task.row === null) return of('missing')
    const fields = differing(folded, timed(task.row))
    return fields.length === 0 ? [] : of('different', fields)
  })
}

/** The same of the audit, as far as it has come. */
export async function driftOfAudit(
  { db }: Pick<Ports, 'db'>,
  ids: readonly number[],
): Promise<readonly Drift[]> {
  const found = await db.query<AuditFound>(AUDIT, [ids])
  return found.flatMap(({ id, events, rows }): Drift[] => {
    const stream_id = taskStream(id)
    const of = (kind: Drift['kind'], fields: readonly string[]): Drift[] =>
      fields.length === 0 ? [] : [{ projection: 'audit', stream_id, kind, fields }]
    const expected = new Map(historyOf(events.map(timed)).map((row) => [row.position, row]))
    const there = new Map(rows.map(timed).map((row) => [row.position, row]))
    return [
      ...of('missing', versions(expected, there)),
      ...of('extra', versions(there, expected)),
      ...of(
        'different',
        [...expected.values()].flatMap((row) => {
          const other = there.get(row.position)
          if (other === undefined) return []
          const whole = { undoes: null, ...row }
          return differing(whole, other).map((field) => `${row.version}.${field}`)
        }),
      ),
    ]
  })
}

type TaskFound = {
  readonly id: number
  readonly row: TaskView | null
  readonly events: readonly Recorded<TaskEvent>[]
  readonly erased: boolean
  readonly gone: boolean | null
}

type AuditRow = { readonly position: number; readonly version: number }

type AuditFound = {
  readonly id: number
  readonly events: readonly Recorded<TaskEvent>[]
  readonly rows: readonly AuditRow[]
}

const versions = (
  rows: ReadonlyMap<number, AuditRow>,
  without: ReadonlyMap<number, AuditRow>,
): string[] =>
  [...rows.values()]
    .filter(({ position }) => !without.has(position))
    .map(({ version }) => String(version))

const differing = (one: object, other: object): string[] =>
  Object.keys(one).filter(
    (name) => !isDeepStrictEqual(Reflect.get(one, name), Reflect.get(other, name)),
  )

const TIMES = ['due_date', 'created_at', 'updated_at', 'deleted_at', 'occurred_at', 'recorded_at']

/** Times as everywhere else; jsonb writes them its own way. */
function timed<T extends object>(row: T): T {
  const times = TIMES.flatMap((name) => {
    const time: unknown = Reflect.get(row, name)
    return typeof time === 'string' ? [[name, new Date(time).toISOString()]] : []
  })
  return { ...row, ...Object.fromEntries(times) }
}

// ------------------------------------------------------------------------------- all the time

export type DriftCheckOptions = Ports & {
  readonly log: Log
  readonly tasksARound?: number
  /** Of event data. The tasks with the most are left out when there is more. */
  readonly bytesARound?: number
  readonly onChecked?: (tasks: number) => void
  readonly onDrift?: (drift: Drift) => void
}

export type DriftCheck = {
  /** Checks some tasks; which, moves on from call to call. Error: `database_unavailable`. */
  readonly round: () => Promise<readonly Drift[]>
}

// A task with more events than that would cost more than all others of a round.
const EVENTS_AT_MOST = 2_000
/** Of the log, searched for first events in one round. */
const SPAN = 1_000

// Each as [id, place to go on from]. What has just been written; then, round and round, the streams
// (a row may be missing) and the rows (an event may).
const NEWEST = {
  name: 'newest_tasks',
  text: `
    select substr(stream_id, 6)::bigint as id, max(position) as place from (
      select stream_id, position from events
      where position > $1 and stream_id like 'task-%' order by position desc limit $2) e
    group by stream_id`,
}
const STREAMS = {
  name: 'next_streams',
  text: `
    select substr(stream_id, 6)::bigint as id, position as place from events
    where position > $1 and position <= $1 + ${SPAN} and version = 1 and stream_id like 'task-%'
    order by position limit $2`,
}
const ROWS = {
  name: 'next_rows',
  text: 'select id, id as place from tasks where id > $1 order by id limit $2',
}
const TOO_MUCH = {
  name: 'too_much_for_a_round',
  text: `
    select substr(stream_id, 6)::bigint as id from (
      select stream_id, version, sum(bytes) over (order by bytes, stream_id) as total
      from streams s
        cross join lateral (
          select sum(pg_column_size(data)) as bytes from events e
          where e.stream_id = s.stream_id and s.version <= ${EVENTS_AT_MOST}) sized
      where stream_id = any ($1)) measured
    where version > ${EVENTS_AT_MOST} or total > $2`,
}
const END = { name: 'end_of_log', text: 'select max(position) as position from events' }

/** Compares tasks with the log all the time, as a small and steady load. */
export function driftCheck(options: DriftCheckOptions): DriftCheck {
  const { db, log, tasksARound = 20, bytesARound = 8_000_000, onChecked, onDrift } = options
  const share = Math.max(1, Math.floor(tasksARound / 3))
  const place = { newest: 0, streams: 0, rows: 0 }

  const after = async (statement: typeof ROWS, from: number) => {
    const rows = await db.query<{ id: number; place: number }>(statement, [from, share])
    return {
      ids: rows.map(({ id }) => id),
      last: Math.max(from, ...rows.map(({ place }) => place)),
    }
  }
  const pick = async (): Promise<readonly number[]> => {
    const newest = await after(NEWEST, place.newest)
    const streams = await after(STREAMS, place.streams)
    const rows = await after(ROWS, place.rows)
    const [end] = await db.query<{ position: number | null }>(END, [])
    const next = streams.ids.length < share ? place.streams + SPAN : streams.last
    place.newest = newest.last
    place.streams = next >= (end?.position ?? 0) ? 0 : next
    place.rows = rows.ids.length < share ? 0 : rows.last
    const ids = [...new Set([...newest.ids, ...streams.ids, ...rows.ids])]
    const skipped = await db.query<{ id: number }>(TOO_MUCH, [ids.map(taskStream), bytesARound])
    const tooMuch = new Set(skipped.map(({ id }) => id))
    return ids.filter((id) => !tooMuch.has(id))
  }

  const check = async (ids: readonly number[]) => [
    ...(await driftOfTasks(options, ids)),
    ...(await driftOfAudit(options, ids)),
  ]
  /** A task whose events cannot be folded does not hide what is wrong with the others. */
  const oneByOne = async (ids: readonly number[]) => {
    const drifts: Drift[] = []
    for (const id of ids) {
      try {
        drifts.push(...(await check([id])))
      } catch (error) {
        if (error instanceof AppError) throw error
        const { message } = error as Error
        log.error({ stream_id: taskStream(id), err: message }, 'cannot check a task for drift')
      }
    }
    return drifts
  }

  const round = async () => {
    const ids = await pick()
    const drifts = await check(ids).catch(() => oneByOne(ids))
    onChecked?.(ids.length)
    for (const drift of drifts) {
      log.error(drift, 'drift found')
      onDrift?.(drift)
    }
    return drifts
  }

  return { round }
}
