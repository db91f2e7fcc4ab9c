import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { commandLine, wholeNumbers } from '../src/command-line.ts'
import { fillChained } from './audit-rows.ts'
import { type Scene, scene } from './growth/scene.ts'
import { roundCosts } from './log-rounds.ts'
import { logAll, logStandIns, VERIFIER_KEY } from './log-rows.ts'
import { percentile } from './percentile.ts'
import { scratchDatabase } from './scratch-database.ts'
import { startTaskService } from './task-service.ts'

const LINE = {
  usage: `Usage: npm run bench:log [-- [--quick] [events]]

Measures the transparency log on a private PostgreSQL:
- how fast its writer catches up with 1,000,000 events, and what tiles and bundles take on disk for each;
- what a round of the worker's costs in statements and CPU, with 60 and 125 new events, and without any;
- with 10,000,000 leaves (of which only some are of events that exist) how long a proof file is, how long it takes
  over HTTP, and how long verify-audit.mjs takes for it from a cold start;
- with services and worker running, at 500 events/s for 20 s, how long after the answer of a write the proof of
  its event is answered.

  --quick    few of everything: shows that it runs and the answers are right

Exits with 1 if an answer is wrong, or a figure misses its bound. Needs 8 GB of disk and ten minutes.`,
  options: { quick: { type: 'boolean' } },
  takes: [0, 1],
} as const

const { values } = commandLine(LINE)
const QUICK = values.quick === true
const [EVENTS = QUICK ? 8_000 : 1_000_000] = wholeNumbers(LINE)
const LEAVES = QUICK ? 20_000 : 10_000_000
const REAL_EVENTS = QUICK ? 400 : 8_000
const PROOFS = QUICK ? 50 : 2_000
const WARM_UP = QUICK ? 5 : 200
const STARTS = QUICK ? 2 : 15
const COURSE = QUICK ? { rate: 20, seconds: 3 } : { rate: 500, seconds: 20 }
const USERS = QUICK ? 5 : 100
const WARM_UP_SECONDS = QUICK ? 1 : 5
/** Writes, as from so many clients. */
const AT_ONCE = 32
/** Of how many events one is proven. */
const PROVEN = QUICK ? 5 : 25

type Bound = { readonly least: number } | { readonly most: number }

const missed: string[] = []

/** Prints a figure, and notes if it misses its bound. */
function figure(what: string, value: number, unit: string, bound: Bound): void {
  const [isMet, words] =
    'least' in bound
      ? [value >= bound.least, `at least ${bound.least}`]
      : [value <= bound.most, `at most ${bound.most}`]
  console.log(`${what}: ${shown(value)} ${unit}; ${isMet ? 'met' : 'MISSED'}: ${words}`)
  if (!isMet) missed.push(what)
}

const shown = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(1)

// ------------------------------------------------------------------------------------ the writer

async function bytesOf(sql: pg.Client, table: string): Promise<number> {
  const { rows } = await sql.query('select pg_total_relation_size($1) as bytes', [table])
  return Number(rows[0].bytes)
}

async function catchingUp(): Promise<void> {
  const database = await scratchDatabase()
  try {
    await fillChained(database.sql, EVENTS)
    const { events, seconds, cpu } = await logAll(database.url)
    if (events !== EVENTS) throw new Error(`${events} of ${EVENTS} events are in the log`)
    figure(`the writer, catching up with ${EVENTS} events`, events / seconds, 'events/s', {
      least: 20_000,
    })
    console.log(`CPU: ${shown(cpu.own)} s of the writer, ${shown(cpu.database)} s of PostgreSQL`)
    for (const table of ['log_tiles', 'log_bundles']) {
      const bytes = (await bytesOf(database.sql, table)) / events
      console.log(`${table}: ${bytes.toFixed(1)} bytes for each event, with its indexes`)
    }
  } finally {
    await database.drop()
  }
}

async function rounds(): Promise<void> {
  // The last: as long as events above the safe position wait, there is something new.
  for (const cost of await roundCosts(QUICK ? 400 : 100_000, QUICK ? 5 : 300, [60, 125, 0])) {
    const { events, statements, worker, database } = cost
    console.log(
      `a round with ${events} new events: ${shown(statements)} statements, CPU ${shown(worker)} ms of the worker, ` +
        `${shown(database)} ms of PostgreSQL`,
    )
  }
}

// -------------------------------------------------------------------------------------- proofs

/** Gives the events positions among those of a log of so many leaves, as far apart as possible. */
async function spread(sql: pg.Client): Promise<number> {
  const apart = Math.floor(LEAVES / REAL_EVENTS)
  await sql.query('alter table events disable trigger user')
  await sql.query('alter table events alter column position drop identity')
  await sql.query('update events set position = position + 1000000000')
  await sql.query('update events set position = (position - 1000000000) * $1', [apart])
  await sql.query('vacuum analyze events')
  return apart
}

async function timesOf(count: number, work: (n: number) => Promise<void>): Promise<number[]> {
  const times: number[] = []
  for (let n = 0; n < count; n++) {
    const began = performance.now()
    await work(n)
    times.push(performance.now() - began)
  }
  return times
}

async function node(args: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] })
  const [code] = await once(child, 'exit')
  if (code !== 0) throw new Error(`node ${args.join(' ')} ends with ${code}`)
}

/** The times of a program of Node's that does nothing, and of the verifier, in turn. */
async function coldStarts(proof: string): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'tasktrail-log-'))
  try {
    const file = join(directory, 'event.tlog-proof')
    await writeFile(file, proof)
    const script = fileURLToPath(new URL('../verify-audit.mjs', import.meta.url))
    const times = { nothing: [] as number[], verifier: [] as number[] }
    for (let n = 0; n < STARTS; n++) {
      times.nothing.push(...(await timesOf(1, () => node(['-e', '0']))))
      times.verifier.push(...(await timesOf(1, () => node([script, file, '--key', VERIFIER_KEY]))))
    }
    const [nothing, verifier] = [percentile(times.nothing, 0.5), percentile(times.verifier, 0.5)]
    console.log(
      `node -e 0: ${shown(nothing)} ms; verify-audit.mjs of a proof: ${shown(verifier)} ms`,
    )
    figure("verify-audit.mjs of a proof, without node's own start", verifier - nothing, 'ms', {
      most: 50,
    })
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

async function proving(): Promise<void> {
  const database = await scratchDatabase()
  try {
    await fillChained(database.sql, REAL_EVENTS)
    const apart = await spread(database.sql)
    await logStandIns(database.url, LEAVES)
    await database.sql.query('vacuum analyze')
    await database.sql.query('checkpoint')
    const { port, stop } = await startTaskService(database.url, randomUUID())
    try {
      await coldStarts(await proofs(port, apart))
    } finally {
      await stop()
    }
  } finally {
    await database.drop()
  }
}

/** Asks for proofs one after the other. The last of them. */
async function proofs(port: number, apart: number): Promise<string> {
  const headers = { authorization: 'Bearer of-anyone' }
  let [proof, most] = ['', 0]
  const prove = async () => {
    const position = apart * (1 + Math.floor(Math.random() * REAL_EVENTS))
    const url = `http://127.0.0.1:${port}/audit/events/${position}/proof`
    const answer = await fetch(url, { headers })
    proof = await answer.text()
    if (answer.status !== 200) throw new Error(`${position}: ${answer.status} ${proof}`)
    most = Math.max(most, Buffer.byteLength(proof))
  }
  await timesOf(WARM_UP, prove)
  const times = await timesOf(PROOFS, prove)
  const log = `a proof from ${LEAVES} leaves`
  figure(`${log}, the longest file`, most, 'bytes', { most: 2_048 })
  figure(`${log}, median`, percentile(times, 0.5), 'ms', { most: 10 })
  figure(`${log}, p99`, percentile(times, 0.99), 'ms', { most: 10 })
  return proof
}

// ------------------------------------------------------------------------- from write to proof

const POSITION = {
  name: 'position_of_version',
  text: 'select position from events where stream_id = $1 and version = $2',
}

/** Milliseconds until the proof of a task's version is answered. */
async function untilProven(
  place: Scene,
  sql: pg.Pool,
  user: Scene['users'][number],
  task: Written,
) {
  const began = performance.now()
  const { rows } = await sql.query({ ...POSITION, values: [`task-${task.id}`, task.version] })
  const path = `/audit/events/${rows[0].position}/proof`
  for (;;) {
    const { status, text } = await place.textOf(user, path)
    if (status === 200) return performance.now() - began
    if (status !== 503) throw new Error(`${path}: ${status} ${text}`)
  }
}

// Whoever awaits it gets the error; unnoted until then, it would end the process and leave others running.
const noted = () => {}

/** Begins one piece of work after the other, at that rate unless too many are under way. How many in a second. */
async function paced(rate: number, seconds: number, work: (n: number) => Promise<void>) {
  const began = performance.now()
  const running = new Set<Promise<void>>()
  const all: Promise<void>[] = []
  for (let n = 0; n < rate * seconds; n++) {
    const early = began + (n * 1_000) / rate - performance.now()
    if (early > 1) await sleep(early)
    if (running.size >= AT_ONCE) await Promise.race(running)
    const one = work(n)
    running.add(one)
    one.finally(() => running.delete(one)).catch(noted)
    all.push(one)
  }
  await Promise.all(all)
  return all.length / ((performance.now() - began) / 1_000)
}

type Written = { readonly id: number; readonly version: number }

async function provingNewEvents(): Promise<void> {
  const place = await scene(USERS)
  const sql = new pg.Pool({ connectionString: place.databaseUrl, max: 4 })
  try {
    const tasks: number[] = []
    for (const user of place.users) {
      tasks.push((await place.call(user, 'POST', '/tasks', { title: 'A task' })).body.task.id)
    }
    const times: number[] = []
    const probes: Promise<unknown>[] = []
    const write = async (n: number, isProven: boolean) => {
      const [user, id] = [place.users[n % USERS], tasks[n % USERS]]
      if (user === undefined) throw new Error('there are no users')
      const { status, body } = await place.call(user, 'PUT', `/tasks/${id}`, {
        title: randomUUID(),
      })
      if (status !== 200) throw new Error(`PUT: ${status} ${JSON.stringify(body)}`)
      if (!isProven) return
      const probe = untilProven(place, sql, user, body.task).then((ms) => times.push(ms))
      probe.catch(noted)
      probes.push(probe)
    }
    const { rate, seconds } = COURSE
    await paced(rate / 2, WARM_UP_SECONDS, (n) => write(n, false))
    const reached = await paced(rate, seconds, (n) => write(n, n % PROVEN === 0))
    await Promise.all(probes)
    figure('writes beside which proofs are made', reached, 'events/s', { least: 0.95 * rate })
    const what = 'from the answer of a write to the proof of its event'
    figure(`${what}, median`, percentile(times, 0.5), 'ms', { most: 1_000 })
    figure(`${what}, p99`, percentile(times, 0.99), 'ms', { most: 1_000 })
  } finally {
    await sql.end()
    await place.stop()
  }
}

await catchingUp()
await rounds()
await proving()
await provingNewEvents()
if (missed.length > 0) console.log(`MISSED: ${missed.join('; ')}`)
if (missed.length > 0 && !QUICK) process.exitCode = 1
