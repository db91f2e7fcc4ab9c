import type pg from 'pg'

const EVENTS_A_TASK = 8
const TASKS_A_USER = 5
const FIRST_USER = 1_000_000
const FIRST_TASK = 100_000_000

// Nobody reads these: their texts are of nobody's key, and their chains are not whole.
const EVENTS = `
  insert into events (stream_id, version, event_id, type, schema_version, data, actor_id, metadata,
      occurred_at, prev_hash, hash)
    select 'task-' || task, version, gen_random_uuid(),
      case when version = 1 then 'TaskCreated' when version % 2 = 0 then 'TaskCompleted' else 'TaskReopened' end, 1,
      case when version > 1 then jsonb_build_object('status', case version % 2 when 0 then 'completed' else 'pending' end)
        else jsonb_build_object('title', title, 'description', null, 'status', 'pending', 'priority', 'low',
          'due_date', null, 'user_id', task_user) end,
      task_user, jsonb_build_object('request_id', gen_random_uuid(), 'correlation_id', gen_random_uuid(),
        'causation_id', gen_random_uuid(), 'session_id', gen_random_uuid(), 'ip', '127.0.0.1'),
      clock_timestamp(), null, sha256(int8send(n))
    from (
      select n, ${FIRST_TASK} + n / ${EVENTS_A_TASK} as task, 1 + n % ${EVENTS_A_TASK} as version,
        ${FIRST_USER} + n / ${EVENTS_A_TASK * TASKS_A_USER} as task_user,
        jsonb_build_object('user', 0, 'cipher', rpad('', 80, md5(n::text))) as title
      from generate_series(0, $1::bigint - 1) n) placed`

const TASKS = `
  insert into tasks (id, user_id, title, status, priority, created_at, updated_at, version, ngrams)
    select ${FIRST_TASK} + n, ${FIRST_USER} + n / ${TASKS_A_USER},
      jsonb_build_object('user', 0, 'cipher', rpad('', 80, md5(n::text))),
      'completed', 'low', now() - n * interval '1 second', now(), ${EVENTS_A_TASK},
      array(select hashint8(n * 40 + gram) from generate_series(1, 40) gram)
    from generate_series(0, $1::bigint / ${EVENTS_A_TASK} - 1) n`

const STREAMS = `
  insert into streams (stream_id, stream_type, version, head_hash, event_types, schema_version)
    select 'task-' || id, 'task', version, sha256(int8send(id)), '{TaskCreated,TaskCompleted,TaskReopened}', 1
    from tasks where id >= ${FIRST_TASK}`

/** What other users have stored: this many events, eight for each task, and five tasks for each user. */
export async function others(sql: pg.Client, events: number): Promise<void> {
  for (const statement of [EVENTS, TASKS]) await sql.query(statement, [events])
  await sql.query(STREAMS)
  for (const table of ['events', 'tasks', 'streams']) await sql.query(`vacuum analyze ${table}`)
}
