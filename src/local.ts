import { randomBytes } from 'node:crypto'
import { isIPv6 } from 'node:net'
import { fileURLToPath } from 'node:url'
import { commandLine } from './command-line.ts'
import {
  type AuthServiceConfig,
  authServiceConfig,
  databaseConfig,
  environmentOf,
  namesDatabase,
  taskServiceConfig,
  witnessConfig,
  workerConfig,
} from './config.ts'
import { OBJECTS_PATH, startGateway } from './http/gateway.ts'
import { signedObjects } from './http/signed-objects.ts'
import { secretLogSigner, secretWitnessSigner } from './infra/credentials/note-signers.ts'
import { jwtTokens } from './infra/credentials/tokens.ts'
import {
  EMBEDDED_DATABASE,
  embeddedEnv,
  keepSecrets,
  logDirectory,
  mailsDirectory,
  photosDirectory,
  postgresDirectory,
  secretsFile,
  witnessDirectory,
} from './infra/local/data-dir.ts'
import { startEmbeddedPostgres } from './infra/local/embedded-postgres.ts'
import { freePorts, requireFree } from './infra/local/free-ports.ts'
import { type KeptRunning, keepRunning, type Running } from './infra/local/keep-running.ts'
import { keptMail } from './infra/local/kept-mail.ts'
import { whenLauncherDies } from './infra/local/launchers.ts'
import { type LogFiles, openLogFiles } from './infra/local/log-files.ts'
import { localStorage } from './infra/local/objects/local-storage.ts'
import { startService } from './infra/local/service-process.ts'
import { shortLine } from './infra/local/short-line.ts'
import { singleConnection } from './infra/postgres/connection/database.ts'
import { setLogins } from './infra/postgres/connection/logins.ts'
import { migrations } from './infra/postgres/connection/migrations.ts'
import { requireReachable } from './infra/postgres/connection/reachable.ts'
import { requireKey } from './infra/postgres/keys/required-key.ts'
import { logKey, passwordPepper, textKey } from './infra/postgres/keys/stored-keys.ts'
import type { Query } from './infra/postgres/projections/projection.ts'
import { ConfigError, type Env } from './settings.ts'

const USAGE = `Usage: npm start

Runs all of Tasktrail on this machine until Ctrl-C: PostgreSQL, both services, the worker, a
witness of its log and a gateway. DATA_DIR says where data and secrets are kept (.data), HOST and PORT where the gateway listens
(127.0.0.1, 8080). Every other setting is an environment variable too.`

commandLine({ usage: USAGE })

/** The environment without its empty variables. */
const env: Env = Object.fromEntries(Object.entries(process.env).filter(([, value]) => value !== ''))
const say = (line: string): void => console.log(line)
const stopping = new AbortController()
/** The full logs of all processes; the console shows what a person needs. */
let logs: LogFiles | undefined
/** How to stop what has been started; the last started stops first. */
const stops: (() => Promise<unknown>)[] = []

async function start(): Promise<void> {
  const [host, port] = [env.HOST ?? '127.0.0.1', gatewayPort(env.PORT)]
  await requireFree(port, host)
  const { DB_PASSWORD, ...secrets } = await keepSecrets(env)
  const [authPort = 0, taskPort = 0, workerPort = 0, witnessPort = 0] = await freePorts(4)
  const AUTH_SERVICE_URL = `http://127.0.0.1:${authPort}`
  const WITNESS_DIR = witnessDirectory(env)
  const url = `http://${reachable(host)}:${port}`
  const { PHOTOS_KEY, ...others } = secrets
  const photos = env.PHOTOS_BUCKET === undefined ? localPhotos(url, PHOTOS_KEY) : null
  const own = {
    DRAIN_SECONDS: '0',
    WITNESS_DIR,
    MAIL_DIR: mailsDirectory(env),
    PUBLIC_URL: url,
    ...others,
    ...env,
    ...photos?.env,
  }
  const settings = {
    ...introduced(own, witnessPort),
    ...own,
    HOST: '127.0.0.1',
    AUTH_SERVICE_URL,
  }
  const auth = environmentOf('auth-service', { ...settings, PORT: String(authPort) })
  const task = environmentOf('task-service', { ...settings, PORT: String(taskPort) })
  const worker = environmentOf('worker', { ...settings, PORT: String(workerPort) })
  const witness = environmentOf('witness', { ...settings, PORT: String(witnessPort) })
  const {
    JWT_SECRET,
    JWT_SECRET_PREVIOUS,
    CORS_ORIGINS: origins,
  } = sound(auth, task, worker, witness)
  if (env.REDIS_URL === undefined) say('No REDIS_URL: each process counts its requests in memory.')

  logs = await openLogFiles(logDirectory(env))
  stops.push(logs.close)
  const isOurs = !namesDatabase(env)
  // First: whoever else runs on the same data is named by it.
  const database = isOurs ? await embeddedDatabase(DB_PASSWORD) : {}
  stopping.signal.throwIfAborted()
  // Stopped after the worker, which asks it until its end.
  await services([{ name: 'witness', health: '/witness/health', env: witness }])
  stopping.signal.throwIfAborted()
  await migrate({ ...env, ...database })
  await checkKeys({ ...env, ...database }, settings)
  const logins = isOurs ? await newLogins(database) : NO_LOGINS
  stopping.signal.throwIfAborted()
  await services([
    { name: 'auth-service', health: '/auth/health', env: { ...auth, ...database, ...logins.auth } },
    {
      name: 'task-service',
      health: '/tasks/health',
      env: { ...task, ...database, ...logins.task },
    },
    { name: 'worker', health: '/worker/health', env: { ...worker, ...database, ...logins.worker } },
  ])
  stopping.signal.throwIfAborted()

  const upstream = (port: number) => ({ host: '127.0.0.1', port })
  const upstreams = { 'auth-service': upstream(authPort), 'task-service': upstream(taskPort) }
  const tokens = jwtTokens(JWT_SECRET, JWT_SECRET_PREVIOUS)
  const gateway = await startGateway({
    ...{ host, port, upstreams, origins, objects: photos?.answer },
    verify: (token) => void tokens.verify(token, new Date()),
    log: (line) => logs?.write('gateway', line),
  })
  // Open connections end with the services, or with this process.
  stops.push(async () => void gateway.close())
  stopping.signal.throwIfAborted()
  introduce('gateway', process.pid, url)
  say(`\nTasktrail is ready: ${url}`)
  say(`Documents: ${url}/v1/tasks/docs, ${url}/v1/auth/docs`)
  say(`Logs: ${logDirectory(env)}\n\n${examples(url)}\n\nCtrl-C stops it.`)
}

/** Photos in the data directory, served by the gateway; a bucket that the environment names takes their place. */
function localPhotos(gateway: string, key: string) {
  const directory = env.PHOTOS_DIR ?? photosDirectory(env)
  const url = env.PHOTOS_URL ?? gateway + OBJECTS_PATH
  const secret = env.PHOTOS_KEY ?? key
  return {
    env: { PHOTOS_DIR: directory, PHOTOS_URL: url, PHOTOS_KEY: secret },
    answer: signedObjects(OBJECTS_PATH, localStorage({ directory, url, secret })),
  }
}

/** A host as a URL writes it. */
function reachable(host: string): string {
  if (host === '0.0.0.0' || host === '::') return '127.0.0.1'
  return isIPv6(host) ? `[${host}]` : host
}

function gatewayPort(text = '8080'): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (port >= 1 && port <= 65_535) return port
  throw new ConfigError(`PORT must be a whole number from 1 to 65535, not "${text}".`)
}

/** Reports what is wrong with the settings before anything runs. Returns those that the gateway shares. */
function sound(auth: Env, task: Env, worker: Env, witness: Env): AuthServiceConfig {
  const shared = authServiceConfig({ ...auth, ...anyDatabase() })
  taskServiceConfig({ ...task, ...anyDatabase() })
  workerConfig({ ...worker, ...anyDatabase() })
  witnessConfig(witness)
  return shared
}

const anyDatabase = (): Env => (namesDatabase(env) ? {} : embeddedEnv(1, 'not known yet'))

/** What the log and its witness need to know of each other: the keys that their secrets become. */
function introduced(settings: Env, port: number): Env {
  const { LOG_ORIGIN, LOG_KEY, LOG_KEY_PREVIOUS } = workerConfig({ ...settings, ...anyDatabase() })
  const { WITNESS_NAME, WITNESS_KEY } = witnessConfig(settings)
  const logSecrets = LOG_KEY_PREVIOUS === undefined ? [LOG_KEY] : [LOG_KEY, LOG_KEY_PREVIOUS]
  const logKeys = logSecrets.map((secret) => secretLogSigner(LOG_ORIGIN, secret).key.text)
  const { text } = secretWitnessSigner(WITNESS_NAME, WITNESS_KEY, Date.now).key
  return {
    WITNESS_LOGS: logKeys.join(','),
    WITNESSES: `witness local ${text} http://127.0.0.1:${port}; quorum local`,
  }
}

// ------------------------------------------------------------------------------------- processes

async function embeddedDatabase(password: string): Promise<Env> {
  const dataDir = postgresDirectory(env)
  const log = (line: string) => {
    logs?.write('postgres', line)
    if (/ (WARNING|FATAL|PANIC): /.test(line)) console.error(`postgres: ${line}`)
  }
  let place = {}
  let port = 0
  const begin = async () => {
    const server = { dataDir, password, database: EMBEDDED_DATABASE, log, ...place }
    const running = await startEmbeddedPostgres(server)
    port = running.port
    place = { port } // Chosen once: the services rely on it from then on.
    return running
  }
  const postgres = await keep('postgres', begin, () => `127.0.0.1:${port}`)
  stops.push(postgres.stop)
  return embeddedEnv(port, password)
}

async function migrate(env: Env): Promise<void> {
  const config = databaseConfig(env)
  await requireReachable(config)
  const schema = migrations(config)
  await schema.latest().finally(schema.close)
}

const NO_LOGINS = { auth: {}, task: {}, worker: {} }

/** Each service's own login to our server, with a password of this start: none holds the superuser's. */
async function newLogins(database: Env) {
  const login = (DB_USER: string) => {
    return { DB_USER, DB_PASSWORD: randomBytes(32).toString('base64url') }
  }
  const made = { auth: login('auth_service'), task: login('task_service'), worker: login('worker') }
  await setLogins(
    databaseConfig(database),
    (['auth', 'task', 'worker'] as const).map((name) => {
      const { DB_USER: user, DB_PASSWORD: password } = made[name]
      return { user, password, role: `tasktrail_${name}` as const }
    }),
  )
  return made
}

/** Nothing writes until the keys are known to match the data. */
async function checkKeys(database: Env, settings: Env): Promise<void> {
  const { PASSWORD_PEPPER = '', TEXT_KEY = '', TEXT_KEY_PREVIOUS, LOG_KEY = '' } = settings
  const client = singleConnection(databaseConfig(database).connection, 'none')
  await client.connect()
  const query: Query = async (statement, values) =>
    (await client.query({ ...statement, values: [...values] })).rows
  try {
    for (const key of [
      passwordPepper(PASSWORD_PEPPER),
      textKey(TEXT_KEY, TEXT_KEY_PREVIOUS),
      logKey(LOG_KEY),
    ]) {
      const isGiven = env[key.name] !== undefined
      await requireKey(
        query,
        key,
        isGiven ? `the environment variable ${key.name}` : secretsFile(env),
      )
    }
  } finally {
    await client.end()
  }
}

type Service = { readonly name: string; readonly health: string; readonly env: Env }

async function services(all: readonly Service[]): Promise<void> {
  const starts = await Promise.allSettled(all.map(service))
  const started = starts.flatMap((start) => (start.status === 'fulfilled' ? [start.value] : []))
  stops.push(() => Promise.all(started.map(({ stop }) => stop())))
  for (const start of starts) if (start.status === 'rejected') throw start.reason
}

function service({ name, health, env }: Service): Promise<KeptRunning> {
  const url = `http://127.0.0.1:${env.PORT}`
  const script = fileURLToPath(new URL(`./${name}.ts`, import.meta.url))
  const { signal } = stopping
  const log = (line: string) => {
    logs?.write(name, line)
    const mail = keptMail(line)
    if (mail !== null) return void mail.then(say)
    const short = shortLine(name, line)
    if (short !== null) (short.isWarning ? console.error : console.log)(short.text)
  }
  const begin = () => startService({ name, script, env, healthUrl: url + health, signal, log })
  return keep(name, begin, () => url)
}

async function keep(
  name: string,
  start: () => Promise<Running>,
  address: () => string,
): Promise<KeptRunning> {
  const running = await keepRunning({
    start,
    startedAgain: (how, { pid }) =>
      say(`${name} died (${how}), started again: pid ${pid}, ${address()}`),
    cannotStart: ({ message }, retryMs) =>
      say(`${name} cannot be started again, next try in ${retryMs / 1000} s: ${message}`),
  })
  introduce(name, running.pid, address())
  return running
}

// ---------------------------------------------------------------------------------- console output

const introduce = (name: string, pid: number, address: string): void =>
  say(`${name.padEnd(12)}  pid ${String(pid).padEnd(7)}  ${address}`)

const examples = (url: string): string => `Try it:

  curl -X POST ${url}/v1/auth/register -H 'Content-Type: application/json' \\
    -d '{"username":"ada","email":"ada@example.com","password":"engines-of-analysis"}'

  TOKEN=$(curl -s -X POST ${url}/v1/auth/login -H 'Content-Type: application/json' \\
    -d '{"username":"ada","password":"engines-of-analysis"}' | sed 's/.*"token":"\\([^"]*\\)".*/\\1/')

  curl -X POST ${url}/v1/tasks -H "Authorization: Bearer $TOKEN" \\
    -H 'Content-Type: application/json' -d '{"title":"Write the first program"}'

  curl ${url}/v1/tasks -H "Authorization: Bearer $TOKEN"`

// ---------------------------------------------------------------------------------- start and stop

/** The first signal stops everything; later ones are ignored. */
const stop = (): void => {
  if (!stopping.signal.aborted) say('Tasktrail is stopping.')
  stopping.abort()
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, stop)
whenLauncherDies(stop)
// Whoever reads our output may exit before us.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})

let code = 0
try {
  await start()
  await new Promise((resolve) => stopping.signal.addEventListener('abort', resolve))
} catch (error) {
  if (!stopping.signal.aborted) {
    console.error(error instanceof Error ? error.message : error)
    code = 1
  }
}
for (const stop of stops.reverse()) await stop()
process.exit(code)
