import type pg from 'pg'
import { taskStreamId } from '../src/domain/task/view.ts'
import { encryptText, newDataKey, secretKeyWrap } from '../src/infra/encryption/text-cipher.ts'

// What a busy installation could have in events and audit_events after a year.

/** Each of these has a tenth of all events; the others have 70 on average. */
export const BIG_USERS = [1, 2, 3] as const
const FIRST_SMALL_USER = 1_000
const SMALL_USERS = 100_000
export const BEGAN = Date.parse('2025-11-01T00:00:00Z')
export const MS_APART = 3_000

const TASKS_AT_ONCE = 1_000
export const EVENTS_A_TASK = 8
// Whole tasks, so that each ends with the version that its stream has.
const AT_ONCE = 30 * TASKS_AT_ONCE * EVENTS_A_TASK

// Eight events per task, among those of a thousand others; two events per request; a few types are rare.
const FACTS = `
  select position, task_id, version,
    case when task_id % 10 < 3 then 1 + task_id % 10
      else ${FIRST_SMALL_USER} + (hashint8(task_id)::bigint + 2147483648) % ${SMALL_USERS}
      end as user_id,
    case
      when version = 1 then 'TaskCreated'
      when position % 100000 = 7 then 'TaskRestored'
      when version = ${EVENTS_A_TASK} and task_id % 3 = 0 then 'TaskDeleted'
      else (array['TaskRenamed', 'TaskStarted', 'TaskCompleted', 'TaskReopened',
        'TaskReprioritized', 'TaskRescheduled'])[1 + abs(hashint8(position) % 6)]
    end as type,
    to_timestamp(${BEGAN / 1000} + position * ${MS_APART / 1000}
      + (hashint8(position)::bigint + 2147483648) % 1000 / 1000.0) as recorded_at,
    md5((position / 2)::text)::uuid::text as request_id,
    sha256(int8send(position)) as hash
  from (
    select position,
      1 + (position - 1) % ${TASKS_AT_ONCE}
        + (position - 1) / ${TASKS_AT_ONCE * EVENTS_A_TASK} * ${TASKS_AT_ONCE} as task_id,
      1 + (position - 1) / ${TASKS_AT_ONCE} % ${EVENTS_A_TASK} as version
    from generate_series($1::bigint, $2::bigint) position) placed`

// As "set" of each type: the field, the value before and the value after.
const CHANGE = `
  case type
    when 'TaskCreated' then jsonb_build_object('title', title, 'description', null,
      'status', 'pending', 'priority', 'medium', 'due_date', null)
    when 'TaskRenamed' then jsonb_build_object('title', title)
    when 'TaskStarted' then '{"status": "in_progress"}'
    when 'TaskCompleted' then '{"status": "completed"}'
    when 'TaskReopened' then '{"status": "pending"}'
    when 'TaskReprioritized' then '{"priority": "high"}'
    when 'TaskRescheduled' then '{"due_date": "2026-12-24T18:00:00.000Z"}'
    else '{}'
  end`

// A task's title comes from the table `titles`, or else is encrypted with nobody's key.
const WITH_DATA = `
  select *, ${CHANGE} as data from (
    select f.*, coalesce(t.title,
      jsonb_build_object('user', user_id, 'cipher', rpad('', 64, md5(position::text)))) as title
    from (${FACTS}) f left join titles t using (task_id)) titled`

const ADD_AUDIT_EVENTS = `
  insert into audit_events
    select position, task_id, user_id, version, type, user_id, recorded_at, recorded_at, request_id,
      case when type in ('TaskDeleted', 'TaskRestored')
        then jsonb_build_object('deleted', jsonb_build_object('from', type <> 'TaskDeleted',
          'to', type = 'TaskDeleted'))
        else (select jsonb_object_agg(key, jsonb_build_object('from', null, 'to', value))
          from jsonb_each(data)) end,
      null, hash
    from (${WITH_DATA}) e order by position`

const EVENTS = `
  select position, 'task-' || task_id as stream_id, version, md5(position::text)::uuid as event_id, type,
    case type when 'TaskCreated' then data || jsonb_build_object('user_id', user_id) else data end as data,
    user_id as actor_id, jsonb_build_object('request_id', request_id, 'correlation_id', request_id,
      'causation_id', request_id, 'session_id', null, 'ip', '127.0.0.1') as metadata,
    recorded_at as occurred_at, hash
  from (${WITH_DATA}) e`

const ADD_EVENTS = `
  insert into events (position, stream_id, version, event_id, type, schema_version, data, actor_id,
      metadata, occurred_at, prev_hash, hash)
    overriding system value
    select position, e.stream_id, e.version, event_id, type, 1, data, actor_id, metadata, occurred_at,
      case when version > 1 then coalesce(c.prev_hash, e.hash) end, coalesce(c.hash, e.hash)
    from (${EVENTS}) e left join chained c using (position) order by position`

// Canonical JSON (RFC 8785) of objects with plain names and without arrays, as the service passes it to event_hash.
const CANONICAL = `
  create or replace function pg_temp.canonical(p_json jsonb) returns text language plpgsql immutable as $$
    begin
      return '{' || coalesce((
        select string_agg(to_json(key) || ':' || case jsonb_typeof(value)
          when 'object' then pg_temp.canonical(value) else value::text end, ',' order by key collate "C")
        from jsonb_each(p_json)), '') || '}';
    end
  $$`

// The event before it in its stream is a thousand positions away.
const ADD_CHAINED = `
  insert into chained (position, prev_hash, hash)
    select e.position, p.hash, event_hash(p.hash, e.stream_id, e.version, e.event_id, e.type, 1,
      pg_temp.canonical(e.data), e.actor_id, pg_temp.canonical(e.metadata), e.occurred_at)
    from (${EVENTS}) e left join chained p on p.position = e.position - ${TASKS_AT_ONCE} and e.version > 1
    where e.version = $3`

const ADD_STREAMS = `
  insert into streams (stream_id, stream_type, version, head_hash, event_types, schema_version)
    select 'task-' || task_id, 'task', max(version),
      (array_agg(coalesce(c.hash, e.hash) order by version desc))[1], array_agg(distinct type), 1
    from (${FACTS}) e left join chained c using (position) group by task_id`

export type Filled = 'events' | 'audit_events'

/** Fills empty tables with this many events; their indexes are created afterwards, which is faster. */
export async function fill(
  sql: pg.Client,
  rows: number,
  tables: readonly Filled[],
  titles: ReadonlyMap<number, object> = new Map(),
): Promise<void> {
  await addRows(sql, rows, tables, titles, false)
  await sql.query(`update projections set position = $1 where name = 'audit'`, [rows])
  // Or those who are measured would write out the pages that the filling has left in memory.
  await sql.query('checkpoint')
}

/**
 * Fills an empty table with events whose hashes and chains are right, so that they can be logged and projected. Takes
 * longer.
 */
export async function fillChained(
  sql: pg.Client,
  rows: number,
  titles: ReadonlyMap<number, object> = new Map(),
): Promise<void> {
  await addRows(sql, rows, ['events'], titles, true)
  await sql.query('checkpoint')
}

async function addRows(
  sql: pg.Client,
  rows: number,
  tables: readonly Filled[],
  titles: ReadonlyMap<number, object>,
  isChained: boolean,
): Promise<void> {
  await sql.query(CANONICAL)
  await sql.query(`
    create temporary table if not exists titles (task_id bigint, title jsonb);
    create temporary table if not exists chained (position bigint primary key, prev_hash bytea, hash bytea)`)
  await sql.query('insert into titles select * from unnest($1::bigint[], $2::jsonb[])', [
    [...titles.keys()],
    [...titles.values()],
  ])
  for (const table of tables) {
    const remade = await withoutIndexes(sql, table)
    for (let first = 1; first <= rows; first += AT_ONCE) {
      const range = [first, Math.min(rows, first + AT_ONCE - 1)]
      await sql.query('truncate chained')
      for (let version = 1; isChained && version <= EVENTS_A_TASK; version++) {
        await sql.query(ADD_CHAINED, [...range, version])
      }
      await sql.query(table === 'events' ? ADD_EVENTS : ADD_AUDIT_EVENTS, range)
      if (table === 'events') await sql.query(`${ADD_STREAMS} on conflict do nothing`, range)
    }
    for (const index of remade) await sql.query(index)
    await sql.query(`vacuum analyze ${table}`)
  }
  if (tables.includes('events')) {
    await sql.query(`select setval('events_position_seq', $1)`, [rows])
    await sql.query('vacuum analyze streams')
  }
}

const INDEXES = `
  select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as definition
  from pg_index where indrelid = $1::regclass and not indisunique`

async function withoutIndexes(sql: pg.Client, table: Filled): Promise<readonly string[]> {
  const { rows } = await sql.query<{ name: string; definition: string }>(INDEXES, [table])
  for (const { name } of rows) await sql.query(`drop index ${name}`)
  return rows.map(({ definition }) => definition)
}

/** The tasks to which this many events belong. */
async function tasksOf(
  sql: pg.Client,
  rows: number,
): Promise<readonly { readonly task_id: number; readonly user_id: number }[]> {
  const text = `select distinct task_id::int, user_id::int from (${FACTS}) e`
  return (await sql.query(text, [1, rows])).rows
}

/** The titles of the tasks of this many events, encrypted with their users' keys. */
export async function encryptedTitles(
  sql: pg.Client,
  rows: number,
  TEXT_KEY: string,
): Promise<ReadonlyMap<number, object>> {
  const wrap = secretKeyWrap(TEXT_KEY)
  const keys = new Map<number, Buffer>()
  const found = new Map<number, object>()
  for (const { task_id, user_id } of await tasksOf(sql, rows)) {
    const key = keys.get(user_id) ?? newDataKey()
    keys.set(user_id, key)
    const place = { stream_id: taskStreamId(task_id), field: 'title' }
    found.set(task_id, encryptText(key, user_id, place, `What task ${task_id} is about`))
  }
  const wrapped = await Promise.all([...keys].map(([user_id, key]) => wrap.wrap(key, user_id)))
  await sql.query(
    `insert into user_keys (user_id, wrapped_key, wrapped_by)
       select user_id, wrapped_key, $3 from unnest($1::bigint[], $2::bytea[]) as k (user_id, wrapped_key)`,
    [[...keys.keys()], wrapped, wrap.id],
  )
  return found
}
