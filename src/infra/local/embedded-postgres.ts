import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { freePorts } from './free-ports.ts'
import { type Binaries, postgresBinaries, realPlace } from './postgres-binaries.ts'
import { predecessorIsGone, prepareData, SUPERUSER } from './postgres-data.ts'
import { readPostmaster } from './postmaster.ts'
import type { Program } from './program.ts'

export type EmbeddedPostgresOptions = {
  /** Created if missing; holds only the server's files. */
  readonly dataDir: string
  /** Of the superuser `tasktrail`. */
  readonly password: string
  /** @default a free one */
  readonly port?: number
  /** Created if missing. @default only PostgreSQL's own */
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
  /** Ends the connections and the server; resolves when it has ended. May be called twice. */
  readonly stop: () => Promise<void>
}

export { SUPERUSER }

const READY_MS = 60_000
const STOP_MS = 20_000

/** Starts a private PostgreSQL server. Every rejection is an Error with one clear sentence. */
export async function startEmbeddedPostgres(
  options: EmbeddedPostgresOptions,
): Promise<EmbeddedPostgres> {
  const { dataDir, password, port, settings = {} } = options
  await mkdir(dirname(dataDir), { recursive: true })
  await predecessorIsGone(dataDir)
  const binaries = await postgresBinaries(dataDir)
  await prepareData(binaries, dataDir, password, settings.fsync !== 'off')
  const deadline = Date.now() + READY_MS
  for (;;) {
    await predecessorIsGone(dataDir)
    // The server could not reach its data through a link, see postgres-binaries.
    const place = { ...options, dataDir: await realPlace(dataDir) }
    const server = launch(binaries, place, port ?? (await freePorts(1))[0] ?? 0)
    const failure = await readyOrFailure(server, options)
    if (failure === null) return server
    await server.stop()
    if (!passes(failure, port) || Date.now() > deadline) throw failure
    await sleep(200)
  }
}

/** Whether a second attempt may succeed: backends of a killed server, or a free port just taken. */
const passes = ({ message }: Error, port: number | undefined): boolean =>
  /shared memory block|lock file .* already exists/.test(message) ||
  (port === undefined && /could not create any TCP\/IP sockets/.test(message))

type Launched = EmbeddedPostgres & Pick<Program, 'hasExited' | 'reason'>

function launch(binaries: Binaries, options: EmbeddedPostgresOptions, port: number): Launched {
  const settings: Record<string, string> = {
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: '',
    timezone: 'UTC',
    log_timezone: 'UTC',
    log_checkpoints: 'off',
    // Statements, their parameters and the details of errors can contain what people wrote.
    log_min_error_statement: 'panic',
    log_parameter_max_length: '0',
    log_parameter_max_length_on_error: '0',
    log_error_verbosity: 'terse',
    ...options.settings,
  }
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const program = binaries.run('postgres', ['-D', options.dataDir, ...flags], options.log)
  const { pid, kill, exited, hasExited, reason } = program
  const stop = async () => {
    if (hasExited()) return
    kill('SIGINT')
    // Immediate shutdown: the write-ahead log loses nothing.
    const overdue = setTimeout(() => kill('SIGQUIT'), STOP_MS)
    await exited
    clearTimeout(overdue)
  }
  return { port, pid, exited, stop, hasExited, reason }
}

/** Waits until the server accepts connections; null, or why it does not. */
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
  return new Error(`PostgreSQL did not start in ${dataDir}: ${server.reason()}`)
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
    ? new Error(`${dataDir} was created with a password other than the one stored beside it.`)
    : new Error(`PostgreSQL in ${dataDir} does not answer: ${error.message}.`)
