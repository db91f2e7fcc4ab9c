import { randomUUID } from 'node:crypto'
import pg from 'pg'
import {
  type Append,
  type EventStore,
  type Present,
  TIME_OF_APPEND,
} from '../src/app/ports/event-store.ts'
import { wholeNumbers } from '../src/command-line.ts'
import type { TaskEvent } from '../src/domain/task/events.ts'
import { type TaskView, taskStreamId } from '../src/domain/task/view.ts'
import { openDatabase } from '../src/infra/postgres/connection/database.ts'
import { migrations } from '../src/infra/postgres/connection/migrations.ts'
import { postgresEventStore } from '../src/infra/postgres/event-store/event-store.ts'
import { EVENTS_A_TASK, fill } from './audit-rows.ts'
import { percentile } from './percentile.ts'
import { scratchDatabase } from './scratch-database.ts'

const USAGE = `Usage: npm run bench:append [-- many [few]]

Compares the cost of an append with 10,000,000 events and with 10,000. Creates two databases on a private
PostgreSQL and appends to both in turn, through the adapter; half of the appends create a task, half
continue an existing one. Fails if the median with many is above 1.2 times that with few. Needs 12 GB of disk.`

const [MANY = 10_000_000, FEW = 10_000] = wholeNumbers({ usage: USAGE, takes: [0, 2] })
const APPENDS = 4_000
const WARM_UP = 500
const LIMIT = 1.2
const FIRST_NEW_TASK = 1_000_000_000
const USERS = 1_000

const fields = {
  title: 'A task',
  description: null,
  status: 'pending',
  priority: 'medium',
  due_date: null,
} as const

function append(task_id: number, { version, head_hash, owner_id }: Present<TaskView>) {
  const request_id = randomUUID()
  const user_id = owner_id ?? 1 + Math.floor(Math.random() * USERS)
  const created = { type: 'TaskCreated', data: { ...fields, user_id } } as const
  const event: TaskEvent =
    version === 0 ? created : { type: 'TaskRenamed', data: { title: 'Another name' } }
  const times = { created_at: TIME_OF_APPEND, updated_at: TIME_OF_APPEND, deleted_at: null }
  return {
    stream_id: taskStreamId(task_id),
    stream_type: 'task',
    expected: { version, head_hash },
    schema_version: 1,
    events: [event],
    row: { id: task_id, user_id, ...fields, photos: [], ...times, version: version + 1 },
    actor_id: user_id,
    metadata: {
      request_id,
      correlation_id: request_id,
      causation_id: request_id,
      session_id: null,
      ip: '127.0.0.1',
    },
    command: undefined,
  } satisfies Append<TaskEvent, TaskView>
}

type Log = {
  readonly events: number
  readonly store: EventStore<TaskEvent, TaskView>
  readonly times: number[]
}

/** One append, timed; reading the state that it continues from is not. */
async function appendOne({ events, store, times }: Log, n: number): Promise<void> {
  const tasks = Math.floor(events / EVENTS_A_TASK / 1_000) * 1_000
  const isNew = n % 2 === 0 || tasks === 0
  const task_id = isNew ? FIRST_NEW_TASK + n : 1 + Math.floor(Math.random() * tasks)
  const next = append(task_id, await store.present(taskStreamId(task_id), 1))
  const began = performance.now()
  const { outcome } = await store.append(next)
  const ms = performance.now() - began
  if (outcome !== 'appended') throw new Error(`${next.stream_id}: ${outcome}`)
  if (n >= WARM_UP) times.push(ms)
}

const ADD_TASKS = `
  insert into tasks (id, user_id, title, status, priority, created_at, updated_at, version, ngrams)
    select substr(stream_id, 6)::bigint, (data->>'user_id')::bigint, data->'title', 'pending', 'medium',
      occurred_at, occurred_at, streams.version, '{}'
    from events join streams using (stream_id) where events.version = 1`

/** A log of this many events, and the tasks that follow from it. */
async function fillLog(sql: pg.Client, events: number): Promise<void> {
  await fill(sql, events, ['events'])
  await sql.query(ADD_TASKS)
  await sql.query('vacuum analyze tasks')
}

const quiet = () => {}
const log = { info: quiet, warn: quiet, error: quiet }
const openLog = (connectionString: string, events: number) => {
  const connection = { connectionString }
  const db = openDatabase({ connection, poolMax: 1, role: 'tasktrail_task', log })
  return { events, store: postgresEventStore<TaskEvent, TaskView>(db), times: [], close: db.close }
}

const database = await scratchDatabase()
const small = new URL(database.url)
small.pathname = '/few'
try {
  await database.sql.query('create database few template template0')
  const schema = migrations({ connection: { connectionString: small.href }, poolMax: 1 })
  await schema.latest().finally(schema.close)
  const sql = new pg.Client(small.href)
  await sql.connect()
  await fillLog(sql, FEW)
  await sql.end()
  await fillLog(database.sql, MANY)
  await database.sql.query('checkpoint')

  const logs = [openLog(small.href, FEW), openLog(database.url, MANY)]
  for (let n = 0; n < WARM_UP + APPENDS; n++) for (const each of logs) await appendOne(each, n)
  const medians = logs.map(({ times }) => percentile(times, 0.5))
  for (const [index, { events, times, close }] of logs.entries()) {
    const p99 = percentile(times, 0.99)
    console.log(
      `${events} events: ${medians[index]?.toFixed(3)} ms median, ${p99.toFixed(3)} ms p99`,
    )
    await close()
  }
  const [few = Number.NaN, many = Number.NaN] = medians
  const verdict = many / few <= LIMIT ? 'within' : 'OVER'
  console.log(`ratio of the medians: ${(many / few).toFixed(2)}, ${verdict} ${LIMIT}`)
  if (!(many / few <= LIMIT)) process.exitCode = 1
} finally {
  await database.drop()
}
