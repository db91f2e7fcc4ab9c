import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { cpus, loadavg, release, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { commandLine } from '../src/command-line.ts'
import {
  type EmbeddedPostgres,
  SUPERUSER,
  startEmbeddedPostgres,
} from '../src/infra/local/embedded-postgres.ts'
import { raceToCatchUp } from './catch-up-race.ts'
import { pgbenchRate, storeRate } from './compare/append-rate.ts'
import { chart } from './compare/chart.ts'
import { type LoadGenerator, loadGenerator } from './compare/load.ts'
import {
  CONNECTIONS,
  type Data,
  OPERATIONS,
  type Operation,
  prepare,
  requestsOf,
} from './compare/operations.ts'
import { requirePeers } from './compare/peers.ts'
import { report } from './compare/report.ts'
import {
  type Compared,
  type Figures,
  figures,
  misses,
  type Ratio,
  type Results,
  ratio,
} from './compare/results.ts'
import { type Course, type Slot, slot } from './compare/rounds.ts'
import { bareKoa, SYSTEMS, type System } from './compare/systems.ts'
import { peakMemory } from './compare/usage.ts'

const USAGE = `Usage: npm run bench [-- --quick] [--strict] [--output directory]

Compares Tasktrail with the same API written in other ways (bench/peers), side by side on one PostgreSQL
that it starts itself: requests per second, CPU and memory, and times at 70 % of the peak. Prints a table,
and writes JSON and a chart to docs/benchmarks. Takes a quarter of an hour.

  --quick    1 round of 1 s: shows that everything runs and every answer is right, not how fast it is;
             writes nothing unless --output is given
  --strict   exits with 1 if a figure misses its target
  --output   where to write

Exits with 1 if a single answer is wrong, or something cannot run. Linux only: it reads /proc.`

const { values } = commandLine({
  usage: USAGE,
  options: {
    quick: { type: 'boolean' },
    strict: { type: 'boolean' },
    output: { type: 'string' },
  },
})
const QUICK = values.quick === true
const SIZE = QUICK
  ? { rounds: 1, seconds: 1, connections: 8, users: 16, warmUp: 0, events: 6_000, races: 1 }
  : {
      rounds: 5,
      seconds: 4,
      connections: CONNECTIONS,
      users: 128,
      warmUp: 10,
      events: 30_000,
      races: 3,
    }
// Neither warm-up nor waiting in the short form: it is not about speed.
const STEADY_SHARE = 0.7

/** At least so many times as fast as each of these. */
const WANTED: Readonly<Record<string, Readonly<Partial<Record<Operation, number>>>>> = {
  ordinary: { 'read one': 4, list: 4, create: 3, change: 3 },
  tuned: { 'read one': 1, list: 1, create: 1, change: 1 },
  emmett: { create: 5, change: 5 },
}
const WANTED_CATCH_UP = 10
const WANTED_APPEND = 0.6

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))

// Now: what is edited during the run is not what runs.
const COMMIT = existsSync(path('../.git'))
  ? execFileSync('git', ['describe', '--always', '--dirty'], { cwd: path('..') })
      .toString()
      .trim()
  : 'unknown'

const say = (text: string) => console.log(text)

type Prepared = { readonly system: System; readonly data: Data }

/** Round by round, system by system: what changes on the machine meanwhile changes it for all. */
async function compare(course: Course, systems: readonly Prepared[]): Promise<Compared> {
  const operations: Partial<Record<Operation, Record<string, Figures>>> = {}
  for (const operation of Object.keys(OPERATIONS) as Operation[]) {
    say(`${operation} ...`)
    const run = ({ system, data }: Prepared, seconds: number, rate?: number) =>
      slot({ ...course, seconds }, system, requestsOf(operation, data, SIZE.connections), rate)
    if (!QUICK) for (const each of systems) await run(each, SIZE.warmUp)
    const slots = new Map<string, Slot[]>(systems.map(({ system }) => [system.name, []]))
    for (let round = 0; round < SIZE.rounds; round++) {
      for (const each of systems) slots.get(each.system.name)?.push(await run(each, SIZE.seconds))
    }
    const of: Record<string, Figures> = {}
    for (const each of systems) {
      const own = slots.get(each.system.name) ?? []
      const rate = figures(own, null).rate * STEADY_SHARE
      const isShown = !QUICK || each.system.name === 'tasktrail'
      of[each.system.name] = figures(own, isShown ? await run(each, SIZE.seconds, rate) : null)
    }
    operations[operation] = of
  }
  return operations
}

function ratiosOf(operations: Compared): Ratio[] {
  return Object.entries(WANTED).flatMap(([against, wanted]) =>
    Object.entries(operations).map(([operation, figures]) =>
      ratio(
        operation,
        against,
        figures?.tasktrail?.rates ?? [],
        figures?.[against]?.rates ?? [],
        wanted[operation as Operation] ?? null,
      ),
    ),
  )
}

/** The store and pgbench take turns, too. */
async function appends(databaseUrl: string, directory: string): Promise<Ratio | string> {
  const ours: number[] = []
  const theirs: number[] = []
  // On a busy machine a second is over before pgbench has its connections.
  const seconds = Math.max(3, SIZE.seconds)
  for (let round = 0; round < SIZE.rounds; round++) {
    const rate = await pgbenchRate(databaseUrl, seconds, directory)
    if (rate === null) return 'the append next to pgbench: there is no pgbench (postgresql-contrib)'
    theirs.push(rate)
    ours.push(await storeRate(databaseUrl, seconds))
  }
  say(`append: pgbench ${theirs.map(Math.round)}, the store ${ours.map(Math.round)} a second`)
  return ratio('append', 'pgbench', ours, theirs, WANTED_APPEND)
}

async function koa(course: Course, directory: string): Promise<Figures> {
  const system = await bareKoa(directory)
  try {
    const text = await (await fetch(system.url)).text()
    const request = {
      method: 'GET',
      path: '/',
      headers: {},
      expects: { status: 200, text },
    } as const
    const connections = Array.from({ length: SIZE.connections }, () => [request])
    const slots: Slot[] = []
    for (let round = 0; round < SIZE.rounds; round++) {
      slots.push(await slot(course, system, connections))
    }
    return figures(slots, null)
  } finally {
    await system.stop()
  }
}

function versions(postgres: string): Readonly<Record<string, string>> {
  const of = (name: string) =>
    JSON.parse(readFileSync(path(`peers/node_modules/${name}/package.json`), 'utf8')).version
  const names = ['express', 'axios', 'fastify', 'undici', 'koa', 'autocannon']
  return {
    Tasktrail: COMMIT,
    'Node.js': process.versions.node,
    PostgreSQL: postgres,
    ...Object.fromEntries(names.map((name) => [name, of(name)])),
    Emmett: of('@event-driven-io/emmett'),
  }
}

type Stage = {
  readonly postgres: EmbeddedPostgres
  readonly admin: pg.Client
  readonly urlOf: (database: string) => string
  readonly directory: string
  readonly generator: LoadGenerator
  /** Those that have started. */
  readonly systems: System[]
}

async function measure(stage: Stage): Promise<Results> {
  const { postgres, admin, urlOf, directory, generator, systems } = stage
  const course = { generator, postgres: postgres.pid, seconds: SIZE.seconds, calms: !QUICK }
  const loadBefore = loadavg()[0] ?? 0
  const prepared: Prepared[] = []
  for (const [name, start] of Object.entries(SYSTEMS)) {
    say(`starting ${name} ...`)
    await admin.query(`create database ${name}`)
    const system = await start({ databaseUrl: urlOf(name), directory, users: SIZE.users })
    systems.push(system)
    prepared.push({ system, data: await prepare(system) })
  }
  await admin.query('vacuum analyze')
  await admin.query('checkpoint')
  const operations = await compare(course, prepared)
  const memory = Object.fromEntries(
    systems.map(({ name, services, background }) => [
      name,
      Object.fromEntries(
        Object.entries({ ...services, ...background }).map(([each, pid]) => [
          each,
          peakMemory(pid),
        ]),
      ),
    ]),
  )
  const limit = await koa(course, directory)
  const append = await appends(urlOf('tasktrail'), directory)
  await admin.query('create database catch_up')
  const race = await raceToCatchUp({
    connectionString: urlOf('catch_up'),
    events: SIZE.events,
    rounds: SIZE.races,
  })
  const { rows } = await admin.query('show server_version')
  return {
    date: new Date().toISOString(),
    versions: versions(rows[0].server_version),
    machine: {
      cpu: cpus()[0]?.model ?? '',
      cores: cpus().length,
      'memory GiB': Math.round(totalmem() / 2 ** 30),
      linux: release(),
      'load average before': Number(loadBefore.toFixed(2)),
    },
    settings: SIZE,
    systems: {
      ...Object.fromEntries(systems.map(({ name, what }) => [name, what])),
      koa: 'bare Koa, asks nobody',
    },
    operations: { ...operations, 'read one': { ...operations['read one'], koa: limit } },
    ratios: [
      ...ratiosOf(operations),
      ratio('catch-up', 'emmett', race.ours, race.emmetts, WANTED_CATCH_UP),
      ...(typeof append === 'string' ? [] : [append]),
    ],
    memory,
    skipped: typeof append === 'string' ? [append] : [],
  }
}

async function publish(results: Results, directory: string): Promise<void> {
  const name = results.date.slice(0, 10)
  await mkdir(directory, { recursive: true })
  await writeFile(join(directory, `${name}.json`), `${JSON.stringify(results, null, 2)}\n`)
  await writeFile(join(directory, `${name}.svg`), chart(results))
  say(`written: ${join(directory, name)}.json and .svg`)
}

requirePeers()
const directory = await mkdtemp(join(tmpdir(), 'tasktrail-bench-'))
const password = randomUUID()
// PostgreSQL's own settings, and so fsync: every write is on the disk before it is answered.
const postgres = await startEmbeddedPostgres({
  dataDir: join(directory, 'postgres'),
  password,
  settings: { max_connections: '200' },
})
const urlOf = (database: string) =>
  `postgres://${SUPERUSER}:${password}@127.0.0.1:${postgres.port}/${database}`
const admin = new pg.Client(urlOf('postgres'))
await admin.connect()
const stage = {
  postgres,
  admin,
  urlOf,
  directory,
  generator: loadGenerator(),
  systems: [] as System[],
}
try {
  const results = await measure(stage)
  for (const line of report(results)) say(line)
  const output = values.output ?? (QUICK ? undefined : path('../docs/benchmarks'))
  if (output !== undefined) await publish(results, output)
  if (values.strict && results.ratios.some(misses)) process.exitCode = 1
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
} finally {
  stage.generator.stop()
  for (const { background, stop } of stage.systems) {
    for (const pid of Object.values(background)) process.kill(pid, 'SIGCONT')
    await stop()
  }
  await admin.end()
  await postgres.stop()
  await rm(directory, { recursive: true, force: true })
}
