import { isDeepStrictEqual } from 'node:util'
import { historyOf } from '../../../../app/history.ts'
import type { AuditEvent } from '../../../../app/ports/audit.ts'
import type { Recorded } from '../../../../app/ports/event-store.ts'
import type { TaskEvent } from '../../../../domain/task/events.ts'
import { isTaskStreamId, type TaskView, taskStreamId } from '../../../../domain/task/view.ts'
import { changesOfUser, type UserEvent, userId, userStreamId } from '../../../../domain/user.ts'
import type { UserKeys } from '../../../encryption/user-keys.ts'
import type { Database } from '../../connection/database.ts'
import { foldRows, keyOwners } from '../../tasks/task-rows.ts'
import { isKnown } from '../projection.ts'

/** Where a projection differs from the log. Holds names of fields, never their values. */
export type Drift = {
  readonly projection: 'tasks' | 'audit' | 'user_keys'
  readonly stream_id: string
  readonly kind: 'different' | 'missing' | 'extra'
  /** Those that differ. For the audit `version.field`, or `version` for a row as a whole. */
  readonly fields: readonly string[]
}

export type DriftPorts = { readonly db: Database; readonly keys: UserKeys }

// Row and events in one statement, which is one snapshot: a concurrent write shows in both or in neither.
// Rows of an erased user are deleted soon after the erasure, not with it.
const TASKS = {
  name: 'drift_of_tasks',
  text: `
    select w.id, to_jsonb(t) as row, e.events, u.occurred_at is not null as erased,
      u.occurred_at < now() - interval '10 minutes' as gone
    from unnest($1::bigint[]) as w (id)
      left join tasks t on t.id = w.id
      cross join lateral (
        select coalesce(jsonb_agg(jsonb_build_object('stream_id', stream_id, 'version', version,
          'type', type, 'schema_version', schema_version, 'data', data,
          'occurred_at', occurred_at) order by version), '[]') as events
        from events where stream_id = 'task-' || w.id) e
      left join events u on u.type = 'UserErased' and u.stream_id
          = 'user-' || coalesce((e.events->0->'data'->>'user_id')::bigint, t.user_id)
    order by w.id`,
}

// As far as the audit has got; for a parked stream, up to where it is parked.
const AUDIT = {
  name: 'drift_of_audit',
  text: `
    select w.stream_id, e.events, a.rows
    from unnest($1::text[]) as w (stream_id)
      cross join (select position from projections where name = 'audit') p
      left join parked_streams s on s.projection = 'audit' and s.stream_id = w.stream_id
      cross join lateral (
        select coalesce(jsonb_agg(jsonb_build_object('position', position, 'stream_id', stream_id,
          'version', version, 'type', type, 'schema_version', schema_version, 'data', data,
          'actor_id', actor_id,
          'metadata', metadata, 'occurred_at', occurred_at, 'recorded_at', recorded_at,
          'hash', encode(hash, 'hex')) order by version), '[]') as events
        from events
        where stream_id = w.stream_id and position <= p.position
          and (s.version is null or version < s.version)) e
      cross join lateral (
        select coalesce(jsonb_agg(jsonb_build_object('position', position, 'task_id', task_id,
          'user_id', user_id, 'version', version, 'type', type, 'actor_id', actor_id,
          'occurred_at', occurred_at, 'recorded_at', recorded_at, 'request_id', request_id,
          'changes', changes, 'undoes', undoes, 'hash', encode(hash, 'hex'))
          order by position), '[]') as rows
        from (
          select * from audit_events
            where w.stream_id like 'task-%' and task_id = substr(w.stream_id, 6)::bigint
          union all
          select * from audit_events where w.stream_id like 'user-%'
            and task_id is null and user_id = substr(w.stream_id, 6)::bigint) of_stream) a
    order by length(w.stream_id), w.stream_id`,
}

// Of the users of these streams, and of those whose texts they contain, who must have had a key.
const KEYS = {
  name: 'drift_of_keys',
  text: `
    with users as (
      select substr(stream_id, 6)::bigint as user_id, false as wrote
        from unnest($1::text[]) as w (stream_id) where stream_id like 'user-%'
      union
      select (data->'title'->>'user')::bigint, true from events
        where stream_id = any ($1) and version = 1 and data->'title' ? 'user')
    select distinct user_id, case when erased then k.wrapped_key is not null
        else k.destroyed_at is not null or (wrote and k.user_id is null) end as drifts, erased
    from users left join user_keys k using (user_id)
      cross join lateral (
        select exists (
          select from events where stream_id = 'user-' || user_id and type = 'UserErased') as erased) e
    order by 1`,
}

/**
 * Where the read table differs from the fold of the log, for the tasks with these ids. A task with events
 * written by a newer version cannot be judged.
 */
export async function driftOfTasks(
  { db, keys }: DriftPorts,
  ids: readonly number[],
): Promise<readonly Drift[]> {
  const found = await db.query<TaskFound>(TASKS, [ids])
  const events = found.flatMap(({ events }) => events)
  const known = await keys.find(keyOwners(events))
  return found.flatMap((task): Drift[] => {
    const stream_id = taskStreamId(task.id)
    const of = (kind: Drift['kind'], fields: readonly string[] = []): Drift[] => [
      { projection: 'tasks', stream_id, kind, fields },
    ]
    if (!task.events.every(isKnown)) return []
    if (task.events.length === 0) return task.row === null ? [] : of('extra')
    if (task.erased) return task.row !== null && task.gone ? of('extra') : []
    const folded = foldRows(new Map(), task.events.map(timed), known).get(stream_id)
    // Erased since, or a log damaged from its first event on: not the read table's fault.
    if (folded === null || folded === undefined) return []
    if (task.row === null) return of('missing')
    const fields = differing(folded, timed(task.row))
    return fields.length === 0 ? [] : of('different', fields)
  })
}

/** The same for the audit, as far as it has got, for these streams. */
export async function driftOfAudit(
  { db }: Pick<DriftPorts, 'db'>,
  stream_ids: readonly string[],
): Promise<readonly Drift[]> {
  const found = await db.query<AuditFound>(AUDIT, [stream_ids])
  return found.flatMap(({ stream_id, events, rows }): Drift[] => {
    if (!events.every(isKnown)) return []
    const of = (kind: Drift['kind'], fields: readonly string[]): Drift[] =>
      fields.length === 0 ? [] : [{ projection: 'audit', stream_id, kind, fields }]
    const history = isTaskStreamId(stream_id) ? historyOf : userHistoryOf
    const expected = new Map(history(events.map(timed)).map((row) => [row.position, row]))
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

const userHistoryOf = (events: readonly Recorded<TaskEvent | UserEvent>[]): readonly AuditEvent[] =>
  events.map((stored) => {
    const { stream_id, event_id, schema_version, data, metadata, ...event } = stored
    const changes = changesOfUser(stored as UserEvent)
    const { request_id } = metadata
    return { ...event, task_id: null, user_id: userId(stream_id), request_id, changes }
  })

/**
 * Keys that are missing or cannot be unwrapped though the log has no erasure of the user, and keys that exist
 * though it has one. For these streams' users, and for those who wrote texts in them.
 */
export async function driftOfKeys(
  { db, keys }: DriftPorts,
  stream_ids: readonly string[],
): Promise<readonly Drift[]> {
  const found = await db.query<KeyFound>(KEYS, [stream_ids])
  const known = await keys.findEach(found.map(({ user_id }) => user_id))
  return found.flatMap(({ user_id, drifts, erased }): Drift[] => {
    const of = (kind: Drift['kind'], fields: readonly string[] = []): Drift[] => [
      { projection: 'user_keys', stream_id: userStreamId(user_id), kind, fields },
    ]
    if (drifts) return of(erased ? 'extra' : 'missing')
    return known.get(user_id) instanceof Error ? of('different', ['wrapped_key']) : []
  })
}

type KeyFound = { readonly user_id: number; readonly drifts: boolean; readonly erased: boolean }

type TaskFound = {
  readonly id: number
  readonly row: TaskView | null
  readonly events: readonly Recorded<TaskEvent>[]
  readonly erased: boolean
  readonly gone: boolean | null
}

type ComparedRow = { readonly position: number; readonly version: number }

type AuditFound = {
  readonly stream_id: string
  readonly events: readonly Recorded<TaskEvent>[]
  readonly rows: readonly ComparedRow[]
}

const versions = (
  rows: ReadonlyMap<number, ComparedRow>,
  without: ReadonlyMap<number, ComparedRow>,
): string[] =>
  [...rows.values()]
    .filter(({ position }) => !without.has(position))
    .map(({ version }) => String(version))

const differing = (one: object, other: object): string[] =>
  Object.keys(one).filter(
    (name) => !isDeepStrictEqual(Reflect.get(one, name), Reflect.get(other, name)),
  )

const TIMES = ['due_date', 'created_at', 'updated_at', 'deleted_at', 'occurred_at', 'recorded_at']

/** Times in the usual form; jsonb writes them differently. */
function timed<T extends object>(row: T): T {
  const times = TIMES.flatMap((name) => {
    const time: unknown = Reflect.get(row, name)
    return typeof time === 'string' ? [[name, new Date(time).toISOString()]] : []
  })
  return { ...row, ...Object.fromEntries(times) }
}
