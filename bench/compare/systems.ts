import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import jwt from 'jsonwebtoken'
import pg from 'pg'
import packageJson from '../../package.json' with { type: 'json' }
import { authService } from '../../src/auth-service.ts'
import { authServiceConfig } from '../../src/config.ts'
import { BASE } from '../../src/http/edge.ts'
import { freePorts } from '../../src/infra/local/free-ports.ts'
import { migrations } from '../../src/infra/postgres/connection/migrations.ts'
import { type Program, type Started, startProgram } from './processes.ts'

export type User = { readonly id: number; readonly token: string }

/** One of those that are compared, running, with its users. */
export type System = {
  readonly name: string
  readonly what: string
  /** Where tasks are asked for. */
  readonly url: string
  /** What stands before the paths there. @default nothing */
  readonly base?: string
  readonly users: readonly User[]
  /** By process, who is on the path of a request. */
  readonly services: Readonly<Record<string, number>>
  /** Who works in the background: stopped (SIGSTOP) while another system is measured. */
  readonly background: Readonly<Record<string, number>>
  readonly stop: () => Promise<void>
}

export type Place = {
  /** Of the superuser, in a database of this system's own. */
  readonly databaseUrl: string
  /** For the output of its processes. */
  readonly directory: string
  readonly users: number
}

export type TasktrailPlace = Place & {
  /** More options of Node's for its processes. @default none */
  readonly flags?: (name: string) => readonly string[]
  /** Task-services beside the first. @default 0 */
  readonly more?: number
}

export type Tasktrail = System & {
  readonly more: readonly { readonly url: string; readonly pid: number }[]
}

type Start = (place: Place) => Promise<System>

const SECRET = randomUUID() + randomUUID()
const local = (port: number) => `http://127.0.0.1:${port}`

/** Starts them one after the other; those that have started are stopped if one cannot. */
async function startAll(programs: readonly Program[]) {
  const started: Started[] = []
  const stop = async () => {
    for (const each of started.toReversed()) await each.stop()
  }
  try {
    for (const program of programs) started.push(await startProgram(program))
  } catch (error) {
    await stop()
    throw error
  }
  return { pids: started.map(({ pid }) => pid) as [number, number, number, ...number[]], stop }
}

// ---------------------------------------------------------------------------------- Tasktrail

/** As `npm run start:…` runs it. */
const flagsOf = (script: 'start:auth' | 'start:task' | 'start:worker') =>
  packageJson.scripts[script].split(' ').filter((word) => word.startsWith('--'))

export const tasktrail = async ({
  databaseUrl,
  directory,
  users,
  flags: moreFlags = () => [],
  more = 0,
}: TasktrailPlace): Promise<Tasktrail> => {
  const schema = migrations({ connection: { connectionString: databaseUrl }, poolMax: 1 })
  await schema.latest().finally(schema.close)
  const [authPort = 0, taskPort = 0, workerPort = 0, ...morePorts] = await freePorts(3 + more)
  // Nobody is refused, whatever else runs on this machine; everything else is as by default.
  const limits = { RATE_LIMIT_PER_SECOND: '0', LOGIN_LIMIT_PER_MINUTE: '0' }
  const env = {
    ...limits,
    MAX_EVENT_LOOP_DELAY_MS: '0',
    DRAIN_SECONDS: '0',
    DATABASE_URL: databaseUrl,
    HOST: '127.0.0.1',
    JWT_SECRET: SECRET,
    INTERNAL_API_KEY: randomUUID(),
    PASSWORD_PEPPER: randomUUID(),
    TEXT_KEY: randomUUID(),
    LOG_KEY: randomUUID(),
    AUTH_SERVICE_URL: local(authPort),
  }
  const program = (
    service: string,
    port: number,
    path: string,
    flags: readonly string[],
    name = service,
  ) => ({
    name,
    flags: [...flags, ...moreFlags(name)],
    script: `src/${service}.ts`,
    env: { ...env, PORT: String(port) },
    healthUrl: `${local(port)}${path}`,
    directory,
  })
  const known = await registered(env, users)
  const taskService = (port: number, name: string) =>
    program('task-service', port, '/tasks/health', flagsOf('start:task'), name)
  const { pids, stop } = await startAll([
    program('auth-service', authPort, '/auth/health', flagsOf('start:auth')),
    taskService(taskPort, 'task-service'),
    program('worker', workerPort, '/worker/health', flagsOf('start:worker')),
    ...morePorts.map((port, n) => taskService(port, `task-service-${n + 2}`)),
  ])
  const [auth, task, worker, ...morePids] = pids
  return {
    name: 'tasktrail',
    what: 'Tasktrail',
    url: local(taskPort),
    base: BASE,
    users: known,
    services: { 'task-service': task, 'auth-service': auth },
    background: { worker },
    more: morePids.map((pid, n) => ({ pid, url: local(morePorts[n] ?? 0) })),
    stop,
  }
}

/** Registers and logs in through the service's own routes; only its passwords cost less than elsewhere. */
async function registered(env: Readonly<Record<string, string>>, count: number): Promise<User[]> {
  const quiet = { info: () => {}, warn: () => {}, error: () => {} }
  const config = { ...authServiceConfig(env), BCRYPT_COST: 4 }
  const { service, dispose } = authService(config, quiet, () => new Date())
  const { port } = await service.listen(0, '127.0.0.1')
  const post = async (path: string, body: object) => {
    const headers = { 'content-type': 'application/json' }
    const init = { method: 'POST', headers, body: JSON.stringify(body) }
    return (await (await fetch(local(port) + path, init)).json()) as {
      token: string
      user: { id: number }
    }
  }
  const users: User[] = []
  const password = randomUUID()
  for (let n = 1; n <= count; n++) {
    const username = `user${n}`
    await post('/auth/register', { username, password, email: `${username}@example.com` })
    const { token, user } = await post('/auth/login', { username, password })
    users.push({ id: user.id, token })
  }
  await service.close(1_000)
  await dispose()
  return users
}

// ---------------------------------------------------------------------------------- the peers

const INSERT_USERS = `
  insert into users (username, email, password_hash)
    select 'user' || n, 'user' || n || '@example.com', '' from generate_series(1, $1::int) n`
const INSERT_SESSIONS = `
  insert into sessions (id, user_id, expires_at)
    select gen_random_uuid(), id, now() + interval '1 day' from users returning id, user_id`

/** A schema of plain tables with its users. */
async function plainTables(
  peer: string,
  { databaseUrl, users }: Place,
  hasSessions: boolean,
): Promise<User[]> {
  const sql = new pg.Client(databaseUrl)
  await sql.connect()
  const execute = async (name: string) =>
    sql.query(await readFile(new URL(`../peers/${name}/schema.sql`, import.meta.url), 'utf8'))
  // Emmett's application has the tuned auth-service beside it, and a read table of its own.
  if (peer === 'emmett') {
    await execute('tuned')
    await sql.query('drop table tasks')
  }
  await execute(peer)
  await sql.query(INSERT_USERS, [users])
  const sessions = hasSessions ? (await sql.query(INSERT_SESSIONS)).rows : []
  await sql.end()
  const sids = new Map(sessions.map(({ id, user_id }) => [user_id, id]))
  return Array.from({ length: users }, (_, n) => {
    const id = n + 1
    const username = `user${id}`
    const claims = { user_id: id, username, email: `${username}@example.com`, sid: sids.get(id) }
    return { id, token: jwt.sign(claims, SECRET, { expiresIn: '1 day' }) }
  })
}

type Peer = {
  readonly name: string
  readonly what: string
  readonly auth: string
  readonly task: string
  readonly hasSessions: boolean
}

const peer =
  ({ name, what, auth, task, hasSessions }: Peer): Start =>
  async (place) => {
    const users = await plainTables(name, place, hasSessions)
    const [authPort = 0, taskPort = 0] = await freePorts(2)
    const { hostname, port, pathname, username, password } = new URL(place.databaseUrl)
    const env = {
      DATABASE_URL: place.databaseUrl,
      DB_HOST: hostname,
      DB_PORT: port,
      DB_NAME: pathname.slice(1),
      DB_USER: username,
      DB_PASSWORD: password,
      JWT_SECRET: SECRET,
      AUTH_SERVICE_URL: local(authPort),
    }
    const program = (script: string, port: number, path: string) => ({
      name: `${name}-${path.split('/')[1]}`,
      script: `bench/peers/${script}`,
      env: { ...env, PORT: String(port) },
      healthUrl: `${local(port)}${path}`,
      directory: place.directory,
    })
    const { pids, stop } = await startAll([
      program(auth, authPort, '/auth/health'),
      program(task, taskPort, '/tasks/health'),
    ])
    const services = { 'task-service': pids[1], 'auth-service': pids[0] }
    return { name, what, url: local(taskPort), users, services, background: {}, stop }
  }

/** Ours first. */
export const SYSTEMS: Readonly<Record<string, Start>> = {
  tasktrail,
  ordinary: peer({
    name: 'ordinary',
    what: 'Express 4, axios, plain tables',
    auth: 'ordinary/auth-service.cjs',
    task: 'ordinary/task-service.cjs',
    hasSessions: false,
  }),
  tuned: peer({
    name: 'tuned',
    what: 'Fastify, undici, prepared statements, sessions',
    auth: 'tuned/auth-service.js',
    task: 'tuned/task-service.js',
    hasSessions: true,
  }),
  emmett: peer({
    name: 'emmett',
    what: 'Emmett, inline projection',
    auth: 'tuned/auth-service.js',
    task: 'emmett/task-service.js',
    hasSessions: true,
  }),
}

/** What the framework alone can do. */
export async function bareKoa(directory: string): Promise<System> {
  const [port = 0] = await freePorts(1)
  const { pids, stop } = await startAll([
    {
      name: 'koa',
      script: 'bench/peers/limits/koa.js',
      env: { PORT: String(port) },
      healthUrl: local(port),
      directory,
    },
  ])
  const services = { koa: pids[0] }
  return {
    name: 'koa',
    what: 'bare Koa',
    url: local(port),
    users: [],
    services,
    background: {},
    stop,
  }
}
