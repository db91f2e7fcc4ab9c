import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { commandLine } from '../src/command-line.ts'
import { BASE } from '../src/http/edge.ts'
import { SUPERUSER, startEmbeddedPostgres } from '../src/infra/local/embedded-postgres.ts'
import { freePorts } from '../src/infra/local/free-ports.ts'
import { MEMORY_FLAGS } from '../src/infra/local/service-process.ts'
import { loadGenerator } from './compare/load.ts'
import { type Data, OPERATIONS, type Operation, prepare, requestsOf } from './compare/operations.ts'
import { requirePeers } from './compare/peers.ts'
import { startProgram } from './compare/processes.ts'
import { median } from './compare/results.ts'

const USAGE = `Usage: npm run bench:single [-- --against directory]

How long a client waits for its answer if it is alone, and sends the next request when it has it: the median
for each operation over nine rounds of 2 s. With --against also in another checkout with its packages, in turn,
and the ratio to it. Fails if an answer is wrong.`

const { values } = commandLine({ usage: USAGE, options: { against: { type: 'string' } } })
const ROUNDS = 9
const SECONDS = 2
const WARM_UP = 5
// One who reads, one who writes: only the first connection is used.
const USERS = 2

type Checkout = { readonly root: string; readonly url: string; readonly data: Data }

/** Starts a checkout's services on an empty database, all with the options of this one. */
async function started(
  root: string,
  databaseUrl: string,
  directory: string,
  stops: (() => Promise<void>)[],
): Promise<Checkout> {
  const [auth = 0, task = 0, worker = 0] = await freePorts(3)
  const local = (port: number) => `http://127.0.0.1:${port}`
  const env = {
    DATABASE_URL: databaseUrl,
    HOST: '127.0.0.1',
    AUTH_SERVICE_URL: local(auth),
    JWT_SECRET: randomUUID() + randomUUID(),
    INTERNAL_API_KEY: randomUUID(),
    PASSWORD_PEPPER: randomUUID(),
    TEXT_KEY: randomUUID(),
    LOG_KEY: randomUUID(),
    // What an older checkout's worker signed with.
    SEAL_KEY: randomUUID(),
    BCRYPT_COST: '10',
    RATE_LIMIT_PER_SECOND: '0',
    LOGIN_LIMIT_PER_MINUTE: '0',
    DRAIN_SECONDS: '0',
  }
  const { PATH } = process.env
  const migrate = [join(root, 'src/migrate.ts'), 'latest']
  await promisify(execFile)(process.execPath, migrate, { env: { PATH, ...env } })
  for (const [name, port, path] of [
    ['auth-service', auth, '/auth/health'],
    ['task-service', task, '/tasks/health'],
    ['worker', worker, '/worker/health'],
  ] as const) {
    const { stop } = await startProgram({
      name,
      flags: MEMORY_FLAGS,
      script: join(root, `src/${name}.ts`),
      env: { ...env, PORT: String(port) },
      healthUrl: local(port) + path,
      directory,
    })
    stops.unshift(stop)
  }
  const users = await Promise.all(Array.from({ length: USERS }, (_, n) => user(local(auth), n)))
  const url = local(task)
  // An older checkout knows no base path.
  const { ok } = await fetch(`${url}${BASE}/tasks/health`)
  return { root, url, data: await prepare({ url, base: ok ? BASE : '', users }) }
}

async function user(url: string, n: number) {
  const [username, password] = [`user${n}`, randomUUID()]
  const post = async (path: string, body: object) => {
    const headers = { 'content-type': 'application/json' }
    const response = await fetch(url + path, {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
    })
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`)
    return (await response.json()) as { token: string; user: { id: number } }
  }
  const { user } = await post('/auth/register', {
    username,
    password,
    email: `${username}@example.com`,
  })
  const { token } = await post('/auth/login', { username, password })
  return { id: user.id, token }
}

requirePeers()
const directory = await mkdtemp(join(tmpdir(), 'tasktrail-single-'))
const [password, database] = [randomUUID(), 'postgres']
const dataDir = join(directory, 'postgres')
const postgres = await startEmbeddedPostgres({ dataDir, password, database })
const urlOf = (name: string) =>
  `postgres://${SUPERUSER}:${password}@127.0.0.1:${postgres.port}/${name}`
const generator = loadGenerator()
const stops: (() => Promise<void>)[] = []
try {
  const admin = new pg.Client(urlOf(database))
  await admin.connect()
  const checkouts: Checkout[] = []
  const roots = [resolve(import.meta.dirname, '..'), values.against].filter(
    (root) => root !== undefined,
  )
  for (const [n, root] of roots.entries()) {
    await admin.query(`create database checkout_${n}`)
    const place = join(directory, String(n))
    await mkdir(place)
    checkouts.push(await started(resolve(root), urlOf(`checkout_${n}`), place, stops))
  }
  await admin.end()
  for (const operation of Object.keys(OPERATIONS) as Operation[]) {
    const run = async ({ url, data }: Checkout, seconds: number) => {
      const connections = requestsOf(operation, data).slice(0, 1)
      return (await generator.run({ url, seconds, connections })).median
    }
    const times = new Map<Checkout, number[]>(checkouts.map((each) => [each, []]))
    for (const each of checkouts) await run(each, WARM_UP)
    for (let round = 0; round < ROUNDS; round++) {
      for (const each of checkouts) times.get(each)?.push(await run(each, SECONDS))
    }
    const [own = 0, other] = checkouts.map((each) => median(times.get(each) ?? []))
    const ratio =
      other === undefined ? '' : `, ${other.toFixed(2)} there: ${(own / other).toFixed(2)}`
    console.log(`${operation.padEnd(10)} ${own.toFixed(2)} ms${ratio}`)
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
} finally {
  for (const stop of stops) await stop()
  generator.stop()
  await postgres.stop()
  await rm(directory, { recursive: true, force: true })
}
