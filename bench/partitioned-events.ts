import { randomInt, randomUUID } from 'node:crypto'
import pg from 'pg'
import type { EventStore } from '../src/app/ports/event-store.ts'
import { wholeNumbers } from '../src/command-line.ts'
import type { TaskEvent } from '../src/domain/task/events.ts'
import { type TaskView, taskStreamId } from '../src/domain/task/view.ts'
import { openDatabase, PLANNED_ONCE } from '../src/infra/postgres/connection/database.ts'
import { migrations } from '../src/infra/postgres/connection/migrations.ts'
import { postgresEventStore } from '../src/infra/postgres/event-store/event-store.ts'
import { EVENTS_A_TASK, fill } from './audit-rows.ts'
import { creation } from './compare/append-rate.ts'
import { cpuOf } from './compare/usage.ts'
import { percentile } from './percentile.ts'
import { scratchDatabase } from './scratch-database.ts'

const USAGE = `Usage: npm run bench:partitions [-- events [partitions]]

What it does to the log to be partitioned by hash of the stream: the same 500,000 events in the table as it is and
in 16 partitions, on a private PostgreSQL, asked in turn through the event store. Shows medians and their ratio, and
what of the log's rules a partitioned table no longer enforces. Needs 1 GB of disk.`

const [EVENTS = 500_000, PARTITIONS = 16] = wholeNumbers({ usage: USAGE, takes: [0, 2] })
const ROUNDS = 7
const PAGE = 1_000
const FIRST_NEW_TASK = 1_000_000_000

// Its keys contain the stream: PostgreSQL has no index over several partitions.
const PARTITION = `
  alter table events rename to whole;
  create table events (like whole including defaults including generated including constraints,
    primary key (position, stream_id),
    unique (stream_id, version),
    unique (event_id, stream_id)
  ) partition by hash (stream_id);
  create index on events (actor_id, position);
  alter sequence events_position_seq rename to whole_position_seq;
  create sequence events_position_seq;
  alter table events alter column position set default nextval('events_position_seq');
  drop table whole;
  grant select on events to tasktrail_task;
  create trigger events_are_append_only
    before update or delete or truncate on events
    for each statement execute function refuse_change();
  do $$
  begin
    for part in 0..${PARTITIONS - 1} loop
      execute format('create table events_%s partition of events
        for values with (modulus ${PARTITIONS}, remainder %s)', part, part);
    end loop;
  end
  $$`

type Log = {
  readonly name: string
  readonly sql: pg.Client
  readonly store: EventStore<TaskEvent, TaskView>
  /** Of the session that it asks; the pool renews it now and then. */
  readonly pid: () => Promise<number>
  readonly close: () => Promise<void>
}

const PID = { name: 'pid', text: 'select pg_backend_pid() as pid' }
const quiet = () => {}
const log = { info: quiet, warn: quiet, error: quiet }
const TASKS = Math.floor(EVENTS / EVENTS_A_TASK / 1_000) * 1_000

let drawn = FIRST_NEW_TASK
/** The last tasks that were made, to be changed. */
const made = new Map<string, number[]>()

const anyTask = () => taskStreamId(1 + randomInt(TASKS))
const anyPositions = (count: number) => Array.from({ length: count }, () => 1 + randomInt(EVENTS))

async function create({ name, store }: Log): Promise<() => Promise<unknown>> {
  const id = drawn++
  made.set(name, [...(made.get(name) ?? []).slice(-100), id])
  return () => store.append(creation(id))
}

async function change({ name, store }: Log): Promise<() => Promise<unknown>> {
  const ids = made.get(name) ?? []
  const id = ids[randomInt(ids.length)] ?? 0
  const { version, head_hash } = await store.present(taskStreamId(id), 1)
  const made_ = creation(id)
  const row = { ...made_.row, version: version + 1 }
  const events = [{ type: 'TaskRenamed', data: { title: `Title ${version}` } } as const]
  return () => store.append({ ...made_, expected: { version, head_hash }, events, row })
}

/** Each gives what is timed; what comes before is not. `times`: how often a round does it. */
const OPERATIONS: readonly {
  readonly what: string
  readonly times: number
  readonly prepare: (log: Log) => Promise<() => Promise<unknown>>
}[] = [
  { what: 'append, a new task', times: 300, prepare: create },
  { what: 'append, a change', times: 300, prepare: change },
  {
    what: `a page of a stream (${EVENTS_A_TASK} events)`,
    times: 300,
    prepare:
      async ({ store }) =>
      () =>
        store.page(anyTask(), { after: 0 }, 100),
  },
  {
    what: 'one version of a task',
    times: 300,
    prepare:
      async ({ store }) =>
      () =>
        store.inForce(anyTask(), 1 + randomInt(EVENTS_A_TASK)),
  },
  {
    what: `${PAGE} events in log order, from any position`,
    times: 20,
    prepare:
      async ({ store }) =>
      () =>
        store.readAll(randomInt(EVENTS - PAGE), PAGE),
  },
  {
    what: '20 events in log order, at the end',
    times: 300,
    prepare:
      async ({ store }) =>
      () =>
        store.readAll(EVENTS - 20, 20),
  },
  {
    what: "100 of a user's own events, from any position",
    times: 100,
    prepare:
      async ({ store }) =>
      () =>
        store.summariesOfActor(1 + randomInt(3), randomInt(EVENTS), 100),
  },
  {
    what: `${PAGE} events by position, as an export reads them`,
    times: 20,
    prepare:
      async ({ store }) =>
      () =>
        store.readAt(anyPositions(PAGE)),
  },
  {
    what: "the time of the log's last event",
    times: 300,
    prepare:
      async ({ store }) =>
      () =>
        store.now(),
  },
]

type Cost = { readonly ms: number[]; readonly cpu: number[] }

/** Both logs are asked in turn, call by call: what else the machine does changes for both. */
async function round(
  logs: readonly [Log, Log],
  costs: readonly [Cost, Cost],
  { times, prepare }: (typeof OPERATIONS)[number],
): Promise<void> {
  const used = [0, 0]
  const pids = [await logs[0].pid(), await logs[1].pid()] as const
  for (let n = 0; n < times; n++) {
    for (const index of [0, 1] as const) {
      const timed = await prepare(logs[index])
      const [before, began] = [cpuOf(pids[index]), performance.now()]
      await timed()
      costs[index].ms.push(performance.now() - began)
      used[index] = (used[index] ?? 0) + cpuOf(pids[index]) - before
    }
  }
  for (const index of [0, 1] as const) costs[index].cpu.push(((used[index] ?? 0) / times) * 1e6)
}

const refused = (sql: pg.Client, statement: string, values: unknown[] = []): Promise<string> =>
  sql.query(statement, values).then(
    () => 'accepted',
    () => 'refused',
  )

/** What would break the log, tried by the superuser; all of it is rolled back. */
async function tampering({ sql }: Log, table: string): Promise<readonly string[]> {
  const insert = `
    insert into events (position, stream_id, version, event_id, type, schema_version, data, actor_id,
        metadata, occurred_at, hash)
      overriding system value
      select $1, 'task-' || n, 1, $2, 'TaskCreated', 1, '{}', 1, '{}', now(), sha256('')
      from generate_series($3::bigint, $3 + 1) n`
  const [first, id, far] = [drawn, randomUUID(), 10 * FIRST_NEW_TASK]
  const tried: [string, unknown[]][] = [
    // Two streams, with one id of an event; then with one position.
    [insert.replace('$1,', '$1 + n,'), [far, id, first]],
    [insert.replace('$2,', 'gen_random_uuid(),').replaceAll('$3', '$2'), [far, first]],
    [`delete from ${table} where position = 1`, []],
  ]
  const found: string[] = []
  for (const [statement, values] of tried) {
    await sql.query('begin')
    found.push(await refused(sql, statement, values))
    await sql.query('rollback')
  }
  return found
}

async function openLog(name: string, url: string): Promise<Log> {
  const connection = { connectionString: url }
  const sql = new pg.Client(url)
  sql.on('error', () => {}) // What failed before has its own error.
  await sql.connect()
  const db = openDatabase({
    connection,
    poolMax: 1,
    role: 'tasktrail_task',
    settings: PLANNED_ONCE,
    log,
  })
  const close = async () => {
    await db.close()
    await sql.end()
  }
  const pid = async () => {
    const [session] = await db.query<{ pid: number }>(PID, [])
    return session?.pid ?? 0
  }
  const store = postgresEventStore<TaskEvent, TaskView>(db)
  return { name, sql, store, pid, close }
}

const database = await scratchDatabase()
const other = new URL(database.url)
other.pathname = '/partitioned'
try {
  await database.sql.query('create database partitioned template template0')
  const schema = migrations({ connection: { connectionString: other.href }, poolMax: 1 })
  await schema.latest().finally(schema.close)
  const whole = await openLog('one table', database.url)
  const partitioned = await openLog(`${PARTITIONS} partitions`, other.href)
  await partitioned.sql.query(PARTITION)
  for (const { name, sql } of [whole, partitioned]) {
    console.log(`filling ${name} with ${EVENTS} events`)
    await fill(sql, EVENTS, ['events'])
  }
  await database.sql.query('checkpoint')

  console.log(
    `\nmedian ms; CPU of PostgreSQL in µs, median of ${ROUNDS} rounds; its ratio with its spread`,
  )
  for (const operation of OPERATIONS) {
    const empty = (): [Cost, Cost] => [
      { ms: [], cpu: [] },
      { ms: [], cpu: [] },
    ]
    await round([whole, partitioned], empty(), operation)
    const costs = empty()
    for (let n = 0; n < ROUNDS; n++) await round([whole, partitioned], costs, operation)
    const [one, many] = costs
    const ms = [one, many].map((each) => percentile(each.ms, 0.5).toFixed(2).padStart(7))
    const cpu = [one, many].map((each) => percentile(each.cpu, 0.5).toFixed(0).padStart(7))
    const ratios = many.cpu.map((used, n) => used / (one.cpu[n] ?? Number.NaN))
    const [low, ratio, high] = [Math.min(...ratios), percentile(ratios, 0.5), Math.max(...ratios)]
    const spread = `${ratio.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`
    console.log(`${operation.what.padEnd(50)} ${ms.join(' ')}   ${cpu.join(' ')}   ${spread}`)
  }

  console.log('\nof what would break the log, tried by the superuser')
  const tried = [
    'one event id in two streams',
    'one position in two streams',
    'a deletion below the trigger',
  ]
  const [here, there] = [await tampering(whole, 'events'), await tampering(partitioned, 'events_0')]
  for (const [n, what] of tried.entries()) {
    console.log(`${what.padEnd(48)} ${here[n]} by one table, ${there[n]} by partitions`)
  }
  await whole.close()
  await partitioned.close()
} finally {
  await database.drop()
}
