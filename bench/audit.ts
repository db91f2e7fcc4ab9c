import type { AuditQuery, AuditTrail } from '../src/app/ports/audit.ts'
import { wholeNumbers } from '../src/command-line.ts'
import { INDEX_ORDER_SETTINGS } from '../src/infra/postgres/audit/audit-query.ts'
import { postgresAuditTrail } from '../src/infra/postgres/audit/audit-trail.ts'
import { openDatabase } from '../src/infra/postgres/connection/database.ts'
import { BEGAN, BIG_USERS, EVENTS_A_TASK, fill, MS_APART } from './audit-rows.ts'
import { percentile } from './percentile.ts'
import { scratchDatabase } from './scratch-database.ts'

const USAGE = `Usage: npm run bench:audit [-- rows]

Measures audit queries. Fills audit_events of a private PostgreSQL (10,000,000 rows need 8 GB of disk) and
runs each kind of query through the adapter, in both orders, from the end and from random cursors. Fails
if a p99 is above 20 ms.`

const [ROWS = 10_000_000] = wholeNumbers({ usage: USAGE, takes: [0, 1] })
const ASKED = 200
const LIMIT_MS = 20
const LIMITS = [50, 200]

const any = (below: number): number => Math.floor(Math.random() * below)
const one = <T>(values: readonly T[]): T => values[any(values.length)] as T
const big = () => one(BIG_USERS)
const timeAt = (position: number) => new Date(BEGAN + position * MS_APART).toISOString()
const HOUR = 3_600_000 / MS_APART
const span = (rows: number) => {
  const from = any(Math.max(1, ROWS - rows))
  return { from: timeAt(from), to: timeAt(from + rows) }
}
const all = { user_id: null }
const NOBODY = 999

/** A user with some events, a task and a request, as in the table. */
type Sample = {
  readonly user_id: number
  readonly task_id: number
  readonly request_id: string
}

type Kind = (sample: Sample) => AuditQuery

const KINDS: Readonly<Record<string, Kind>> = {
  everything: () => all,
  'own, many': () => ({ user_id: big() }),
  'own, few': ({ user_id }) => ({ user_id }),
  'own, none': () => ({ user_id: NOBODY }),
  'actor, many': () => ({ ...all, actor_id: big() }),
  'actor, few': ({ user_id }) => ({ ...all, actor_id: user_id }),
  'actor, none': () => ({ ...all, actor_id: NOBODY }),
  task: ({ task_id }) => ({ ...all, task_id }),
  'task, none': () => ({ ...all, task_id: ROWS + any(ROWS) }),
  request: ({ request_id }) => ({ ...all, request_id }),
  'request, none': () => ({ ...all, request_id: `r-${any(ROWS)}` }),
  'type, common': () => ({ ...all, type: ['TaskCompleted'] }),
  'type, rare': () => ({ ...all, type: ['TaskRestored'] }),
  'type, none': () => ({ ...all, type: ['UserErased'] }),
  'types, common and rare': () => ({
    ...all,
    type: ['TaskRestored', 'TaskDeleted', 'TaskRenamed'],
  }),
  'an hour': () => ({ ...all, ...span(HOUR) }),
  'a month': () => ({ ...all, ...span(720 * HOUR) }),
  'since a time': () => ({ ...all, from: timeAt(any(ROWS)) }),
  'until a time': () => ({ ...all, to: timeAt(any(ROWS)) }),
  'before all': () => ({ ...all, to: timeAt(-HOUR) }),
  'after all': () => ({ ...all, from: timeAt(ROWS + HOUR) }),
  'own, many, an hour': () => ({ user_id: big(), ...span(HOUR) }),
  'own, many, since a time': () => ({ user_id: big(), from: timeAt(any(ROWS)) }),
  'own, many, rare type': () => ({ user_id: big(), type: ['TaskRestored'] }),
  'own, many, type, a month': () => ({
    user_id: big(),
    type: ['TaskDeleted'],
    ...span(720 * HOUR),
  }),
  'own, many, by another': ({ user_id }) => ({ user_id: big(), actor_id: user_id }),
  'own, many, by themselves': () => ({ user_id: 1, actor_id: 1 }),
  'own, many, a task': ({ task_id }) => ({ user_id: big(), task_id }),
  'own, many, a request': ({ request_id }) => ({ user_id: big(), request_id }),
  'actor, type, an hour': () => ({
    ...all,
    actor_id: big(),
    type: ['TaskRenamed', 'TaskDeleted'],
    ...span(HOUR),
  }),
  'type, an hour': () => ({ ...all, type: ['TaskRestored'], ...span(HOUR) }),
  'types, a month': () => ({
    ...all,
    type: ['TaskCompleted', 'TaskRestored'],
    ...span(720 * HOUR),
  }),
  'task, type, since a time': ({ task_id }) => ({
    ...all,
    task_id,
    type: ['TaskCompleted'],
    from: timeAt(any(ROWS)),
  }),
}

async function timesOf(count: number, work: (n: number) => Promise<unknown>): Promise<number[]> {
  const times: number[] = []
  for (let n = 0; n < count; n++) {
    const began = performance.now()
    await work(n)
    times.push(performance.now() - began)
  }
  return times
}

const figureOf = (times: readonly number[]): string =>
  `${percentile(times, 0.5).toFixed(1)}/${percentile(times, 0.99).toFixed(1)}`.padStart(11)

async function measure(trail: AuditTrail, samples: readonly Sample[]): Promise<number> {
  let slowest = 0
  for (const [name, kind] of Object.entries(KINDS)) {
    const figures: string[] = []
    for (const [order, deep] of PLACES) {
      const times = await timesOf(ASKED, (n) =>
        trail.find(kind(one(samples)), {
          descending: order === 'desc',
          limit: LIMITS[n % LIMITS.length] ?? 50,
          after: deep ? any(ROWS) : undefined,
        }),
      )
      slowest = Math.max(slowest, percentile(times, 0.99))
      figures.push(figureOf(times))
    }
    console.log(name.padEnd(28), ...figures)
  }
  return slowest
}

const PLACES = [
  ['desc', false],
  ['desc', true],
  ['asc', false],
  ['asc', true],
] as const

const database = await scratchDatabase()
try {
  console.log(`filling in ${ROWS} rows of ${EVENTS_A_TASK} events a task`)
  await fill(database.sql, ROWS, ['audit_events'])
  const { rows: samples } = await database.sql.query<Sample>(
    `select user_id::int, task_id::int, request_id from audit_events
     where position = any ($1) and user_id > 10`,
    [Array.from({ length: 500 }, () => any(ROWS))],
  )
  const quiet = () => {}
  const log = { info: quiet, warn: quiet, error: quiet }
  const connection = { connectionString: database.url }
  const db = openDatabase({
    connection,
    poolMax: 2,
    role: 'tasktrail_task',
    settings: INDEX_ORDER_SETTINGS,
    log,
  })
  const keys = { findEach: async () => new Map() }
  const trail = postgresAuditTrail(db, keys, log)
  console.log('ms, p50/p99'.padEnd(28), 'desc, deep desc, asc, deep asc')
  // The share of the machine itself: a statement that does nothing.
  const idle = await timesOf(ASKED, () => db.ping())
  console.log('select 1'.padEnd(28), figureOf(idle))
  const slowest = await measure(trail, samples)
  await db.close()
  const verdict = slowest <= LIMIT_MS ? 'within' : 'OVER'
  console.log(`slowest p99: ${slowest.toFixed(1)} ms, ${verdict} ${LIMIT_MS} ms`)
  if (slowest > LIMIT_MS) process.exitCode = 1
} finally {
  await database.drop()
}
