import { once } from 'node:events'
import { mkdir, readdir, readFile, rename, rm, unlink, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { freePorts } from './ports.ts'
import { type Binaries, postgresBinaries, realPlace } from './postgres-binaries.ts'
import { livePostmaster, readPostmaster } from './postmaster.ts'

export type EmbeddedPostgresOptions = {
  /** Made when it is not there; holds nothing but the server's files. */
  readonly dataDir: string
  /** Of the superuser `tasktrail`. */
  readonly password: string
  /** @default a free one */
  readonly port?: number
  /** Made when it is not there. @default only PostgreSQL's own */
  readonly database?: string
  /** More server settings, such as `{ fsync: 'off' }`. */
  readonly settings?: Readonly<Record<string, string>>
  /** Receives what the server writes, line by line. */
  readonly log?: (line: string) => void
}

export type EmbeddedPostgres = {
  /** On 127.0.0.1. */
  readonly port: number
  readonly pid: number
  /** How the server ended, whoever ended it: `code 1`, `signal SIGKILL`. Never rejects. */
  readonly exited: Promise<string>
  /** Ends the connections and the server; resolves when it is gone. May be called twice. */
  readonly stop: () => Promise<void>
}

export const SUPERUSER = 'tasktrail'
const MAJOR = '15'

// One that was just killed, or lost its parent, still has backends to end and a checkpoint to write.
const PREDECESSOR_MS = { running: 3_000, stopping: 30_000 }
const READY_MS = 60_000
const STOP_MS = 20_000

/** Starts a PostgreSQL of its own. Every rejection is an Error with one clear sentence. */
export async function startEmbeddedPostgres(
  options: EmbeddedPostgresOptions,
): Promise<EmbeddedPostgres> {
  const { dataDir, password, port, settings = {} } = options
  await mkdir(dirname(dataDir), { recursive: true })
  await predecessorIsGone(dataDir)
  const binaries = await postgresBinaries(dataDir)
  const syncs = settings.fsync !== 'off'
  if (await isNew(dataDir)) await initialise(binaries, dataDir, password, syncs)
  const deadline = Date.now() + READY_MS
  for (;;) {
    await predecessorIsGone(dataDir)
    // Through a link the server could not get at its data, see postgres-binaries.
    const place = { ...options, dataDir: await realPlace(dataDir) }
    const server = launch(binaries, place, port ?? (await freePorts(1))[0] ?? 0)
    const failure = await readyOrFailure(server, options)
    if (failure === null) return server
    await server.stop()
    if (!passes(failure, port) || Date.now() > deadline) throw failure
    await sleep(200)
  }
}

/** Whether a second try may go better: backends of a killed server, or a free port just taken. */
const passes = ({ message }: Error, port: number | undefined): boolean =>
  /xx/.test(message) ||
  (port === undefined && /could not create any TCP\/IP sockets/.test(message))

// ------------------------------------------------------------------------------- data directory

async function isNew(dataDir: string): Promise<boolean> {
  const entries = await readdir(dataDir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  if (entries.length === 0) return true
  const major = await readFile(join(dataDir, 'PG_VERSION'), 'utf8').catch(() => null)
  if (major === null) throw new Error(`${dataDir} is not empty and holds no PostgreSQL data.`)
  if (major.trim() === MAJOR) return false
  throw new Error(
    `${dataDir} was made by PostgreSQL ${major.trim()} and this is PostgreSQL ${MAJOR}: ` +
      'move it away, or set DATA_DIR to another directory.',
  )
}

/** In a directory beside it that is renamed when all is done, so that a kill leaves nothing half. */
async function initialise(
  binaries: Binaries,
  dataDir: string,
  password: string,
  syncs: boolean,
): Promise<void> {
  const real = await realPlace(dataDir)
  await removeLeftovers(real)
  const staging = `${real}.initdb-${process.pid}`
  const [made, passwordFile] = [join(staging, 'data'), join(staging, 'password')]
  try {
    await mkdir(staging, { mode: 0o700 })
    await writeFile(passwordFile, password, { mode: 0o600 })
    await binaries.own(staging)
    const args = [`--pgdata=${made}`, `--username=${SUPERUSER}`, `--pwfile=${passwordFile}`]
    args.push('--auth=scram-sha-256', '--encoding=UTF8', '--locale=C.UTF-8')
    const initdb = binaries.run('initdb', syncs ? args : [...args, '--no-sync'])
    const lines = collectLines(initdb)
    if ((await ended(initdb)) !== 'code 0')
      throw new Error(`initdb failed in ${dataDir}: ${reason(lines)}`)
    await rename(made, real)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOTEMPTY') throw alreadyRunning(dataDir)
    throw error
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
}

/** Of starts that were killed while they made a data directory. */
async function removeLeftovers(real: string): Promise<void> {
  for (const name of await readdir(dirname(real))) {
    const [, pid] = name.match(/\.initdb-(\d+)$/) ?? []
    if (pid === undefined || !name.startsWith(`${basename(real)}.`) || isAlive(Number(pid)))
      continue
    await rm(join(dirname(real), name), { recursive: true, force: true })
  }
}

function isAlive(pid: number): boolean {
  if (pid === process.pid) return false // A number used again: this process has made nothing yet.
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

async function predecessorIsGone(dataDir: string): Promise<void> {
  const start = Date.now()
  for (;;) {
    const server = await livePostmaster(dataDir)
    if (server === null) break
    const patience = server.status === 'stopping' ? 'stopping' : 'running'
    if (Date.now() - start > PREDECESSOR_MS[patience]) throw alreadyRunning(dataDir, server.pid)
    await sleep(50)
  }
  // PostgreSQL would take any live process with the stale number for another server.
  if ((await readPostmaster(dataDir)) !== null) await unlink(join(dataDir, 'postmaster.pid'))
}

const alreadyRunning = (dataDir: string, pid?: number): Error =>
  new Error(
    `Another Tasktrail already runs on ${dataDir}${pid === undefined ? '' : ` (PostgreSQL, pid ${pid})`}: ` +
      'stop it, or set DATA_DIR to another directory.',
  )

// --------------------------------------------------------------------------------------- server

type Launched = EmbeddedPostgres & {
  readonly lines: readonly string[]
  readonly hasExited: () => boolean
}

function launch(binaries: Binaries, options: EmbeddedPostgresOptions, port: number): Launched {
  const settings: Record<string, string> = {
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: '',
    timezone: 'UTC',
    log_timezone: 'UTC',
    log_checkpoints: 'off',
    // Statements can carry what people wrote.
    log_min_error_statement: 'panic',
    ...options.settings,
  }
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const child = binaries.run('postgres', ['-D', options.dataDir, ...flags])
  const lines = collectLines(child, options.log)
  let hasExited = false
  const exited = ended(child).finally(() => {
    hasExited = true
  })
  const stop = async () => {
    if (hasExited) return
    child.kill('SIGINT')
    // Immediate shutdown: the write-ahead log loses nothing.
    const overdue = setTimeout(() => child.kill('SIGQUIT'), STOP_MS)
    await exited
    clearTimeout(overdue)
  }
  return { port, pid: child.pid ?? -1, exited, stop, lines, hasExited: () => hasExited }
}

/** Waits until the server takes connections; null, or why it does not. */
async function readyOrFailure(
  server: Launched,
  { dataDir, password, database }: EmbeddedPostgresOptions,
): Promise<Error | null> {
  const deadline = Date.now() + READY_MS
  while (!server.hasExited()) {
    const postmaster = await readPostmaster(dataDir)
    if (postmaster?.pid === server.pid && postmaster.status === 'ready') {
      return connectOnce(server.port, password, database).catch((error: Error) =>
        refusal(error, dataDir),
      )
    }
    if (Date.now() > deadline) return new Error(`PostgreSQL was not ready in ${READY_MS / 1000} s.`)
    await sleep(10)
  }
  return new Error(`PostgreSQL did not start in ${dataDir}: ${reason(server.lines)}`)
}

async function connectOnce(port: number, password: string, database?: string): Promise<null> {
  const connection = { host: '127.0.0.1', port, user: SUPERUSER, password, database: 'postgres' }
  const client = new pg.Client({ ...connection, connectionTimeoutMillis: 10_000 })
  client.on('error', () => {}) // A server that dies now is reported by the call that waits for it.
  await client.connect()
  try {
    if (database === undefined) return null
    const found = await client.query('select from pg_database where datname = $1', [database])
    if (found.rowCount === 0) await client.query(`create database ${pg.escapeIdentifier(database)}`)
    return null
  } finally {
    await client.end()
  }
}

const refusal = (error: Error, dataDir: string): Error =>
  (error as { code?: string }).code === '28P01'
    ? new Error(`${dataDir} was made with another password than the one that is kept beside it.`)
    : new Error(`PostgreSQL in ${dataDir} does not answer: ${error.message}.`)

/** The newest lines that the program wrote. */
function collectLines(
  child: ReturnType<Binaries['run']>,
  log?: (line: string) => void,
): readonly string[] {
  const lines: string[] = []
  for (const input of [child.stdout, child.stderr]) {
    createInterface({ input }).on('line', (line) => {
      lines.push(line)
      if (lines.length > 50) lines.shift()
      log?.(line)
    })
  }
  return lines
}

/** The line that says what went wrong. */
const reason = (lines: readonly string[]): string =>
  (
    lines.findLast((line) => /FATAL|PANIC|error:/.test(line)) ??
    lines.at(-1) ??
    'it said nothing'
  ).trim()

/** How the program ended: `code 1`, `signal SIGKILL`, or why it did not begin. */
async function ended(child: ReturnType<Binaries['run']>): Promise<string> {
  const closed = once(child, 'close').catch(() => {})
  try {
    const [code, signal] = await once(child, 'exit')
    // Its last lines arrive with the closing; but what a killed server leaves behind holds them open.
    await Promise.race([closed, sleep(200)])
    return signal === null ? `code ${code}` : `signal ${signal}`
  } catch (error) {
    return (error as Error).message
  }
}
