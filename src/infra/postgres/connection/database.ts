import pg from 'pg'
import { AppError } from '../../../app/errors.ts'
import type { Log } from '../../../app/ports/process.ts'

/** How to reach PostgreSQL, in pg's form. */
export type DatabaseConfig = {
  readonly connection: {
    readonly host?: string
    readonly port?: number
    readonly database?: string
    readonly user?: string
    readonly password?: string
    readonly connectionString?: string
    readonly ssl?: { readonly rejectUnauthorized: boolean }
  }
  readonly poolMax: number
}

/** One SQL text; the name lets PostgreSQL parse and plan it once per connection. */
export type Statement = { readonly name: string; readonly text: string }

export type Database = {
  /**
   * One statement in its own transaction. Errors: `database_unavailable` if the database is unreachable,
   * too slow or too busy; every other database error is passed on as it is.
   */
  readonly query: <Row extends pg.QueryResultRow>(
    statement: Statement,
    values: readonly unknown[],
  ) => Promise<Row[]>
  /** Whether the database answers; never rejects. */
  readonly ping: () => Promise<boolean>
  readonly close: () => Promise<void>
}

export type DatabaseOptions = {
  readonly connection: pg.ClientConfig
  readonly poolMax: number
  /** The role to take on connecting; it limits what the connection may do. */
  readonly role: string
  /** More session settings, such as `{ jit: 'off' }`. */
  readonly settings?: Readonly<Record<string, string>>
  readonly log: Log
}

/**
 * For those who answer requests: each statement is planned once for a connection. Left to itself PostgreSQL
 * plans `= any ($1)` and the pages of a list anew for each call, which costs more than the call: a task takes
 * 0.4 ms instead of 0.7, a page of 20 takes 0.9 instead of 1.4. No statement may need a plan for its values.
 */
export const PLANNED_ONCE = { plan_cache_mode: 'force_generic_plan' }

const { INT8, TIMESTAMPTZ } = pg.types.builtins
const INT8_ARRAY = 1016
const XID_ARRAY = 1011

const TIME = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,3})\d*)?\+00$/

/** As the API and the events write times. A page of a list has dozens, and making a Date of each takes long. */
function instant(text: string): string {
  const found = TIME.exec(text)
  if (found === null) return new Date(text.replace(' ', 'T').replace('+00', 'Z')).toISOString()
  const [, day, time, fraction = ''] = found
  return `${day}T${time}.${fraction.padEnd(3, '0')}Z`
}

const elements = (text: string): string[] => text.slice(1, -1).split(',')

// Numbers here stay below 2^53 (ids and positions come from sequences).
const PARSERS: Record<number, (text: string) => unknown> = {
  [INT8]: Number,
  [INT8_ARRAY]: (text) => elements(text).map(Number),
  [XID_ARRAY]: elements,
  [TIMESTAMPTZ]: instant,
}

/** How values leave the database, on every connection. */
export const types: pg.CustomTypesConfig = {
  getTypeParser: (oid, format) =>
    (format !== 'binary' && PARSERS[oid]) || pg.types.getTypeParser(oid, format),
}

const WAITING_PER_CONNECTION = 50

const session = (role: string) => `-c role=${role} -c timezone=UTC -c datestyle=ISO`

/** A connection outside any pool, for work that needs one session; not yet connected. */
export const singleConnection = (
  { options = '', ...config }: pg.ClientConfig,
  role: string,
): pg.Client => new pg.Client({ ...config, types, options: `${session(role)} ${options}` })

/** Runs `work` on this connection in one transaction. */
export async function transaction<T>(client: pg.Client, work: () => Promise<T>): Promise<T> {
  await client.query('begin')
  try {
    const result = await work()
    await client.query('commit')
    return result
  } catch (error) {
    // If that fails too, the connection is lost, and the transaction with it.
    await client.query('rollback').catch(() => {})
    throw error
  }
}

/** Connections that take the role, with limits on all that could last. */
export function openPool({
  connection,
  poolMax,
  role,
  settings = {},
  log,
}: DatabaseOptions): pg.Pool {
  const more = Object.entries(settings).map(([name, value]) => ` -c ${name}=${value}`)
  const pool = new pg.Pool({
    connectionTimeoutMillis: 1_000,
    ...connection,
    types,
    options: session(role) + more.join(''),
    application_name: role,
    max: poolMax,
    idleTimeoutMillis: 10_000,
    // Random, so that processes do not all renew their connections at the same moment.
    maxLifetimeSeconds: Math.round(300 * (0.9 + 0.2 * Math.random())),
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    statement_timeout: 2_000,
    lock_timeout: 1_000,
    idle_in_transaction_session_timeout: 5_000,
    // Without a limit on this side too, a half-open connection would never be given back.
    query_timeout: 2_500,
  })
  const note = (error: Error) => log.warn({ err: error.message }, 'lost a database connection')
  pool.on('error', note)
  // The pool listens only to idle clients: an error of one in use would end the process.
  pool.on('connect', (client) => client.on('error', note))
  return pool
}

export function openDatabase(database: DatabaseOptions): Database {
  const { poolMax } = database
  const pool = openPool(database)

  return {
    async query<Row extends pg.QueryResultRow>(statement: Statement, values: readonly unknown[]) {
      if (pool.waitingCount >= poolMax * WAITING_PER_CONNECTION) {
        throw new AppError('database_unavailable', { retryAfter: 1 })
      }
      try {
        const { rows } = await pool.query<Row>({ ...statement, values: [...values] })
        return rows
      } catch (error) {
        throw translate(error)
      }
    },
    ping: () =>
      pool.query('select 1').then(
        () => true,
        () => false,
      ),
    close: () => pool.end(),
  }
}

// By SQLSTATE: connection lost (08), cannot log in (28), no such database (3D), out of resources (53),
// accepts no connections now (55000), lock not available in time (55P03), stopped by an operator or a time
// limit (57), standby (25006).
const UNAVAILABLE = /^(08|28|3D|53|55000|55P03|57|25006)/

// Without an SQLSTATE: what Node reports for a connection or a name that fails…
const UNREACHABLE: readonly unknown[] = [
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'ETIMEDOUT',
  'EPIPE',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
]

// …and what pg and pg-pool report for a connection that ended or timed out, without a code.
const LOST: readonly string[] = [
  'Connection terminated',
  'Connection terminated unexpectedly',
  'Connection terminated due to connection timeout',
  'Query read timeout',
  'timeout expired',
  'timeout exceeded when trying to connect',
  'Client was closed and is not queryable',
  'Client has encountered a connection error and is not queryable',
  'There was an error establishing an SSL connection',
]

/**
 * Whether the database is unavailable, which passes. Any other error would persist: it is a fault of ours.
 */
export function isAway(error: unknown): boolean {
  if (error instanceof pg.DatabaseError) return UNAVAILABLE.test(error.code ?? '')
  if (!(error instanceof Error)) return false
  return ('code' in error && UNREACHABLE.includes(error.code)) || LOST.includes(error.message)
}

function translate(error: unknown): unknown {
  return isAway(error)
    ? new AppError('database_unavailable', { retryAfter: 1, cause: error })
    : error
}

/** Whether the error is a violation of this constraint. */
export const violates = (error: unknown, constraint: string): boolean =>
  error instanceof pg.DatabaseError && error.code === '23505' && error.constraint === constraint

/** Whether an event has a photo that is gone (db/migrations/…_photos.ts). */
export const isPhotoGone = (error: unknown): boolean =>
  error instanceof pg.DatabaseError && error.code === 'TTPHO'

/** Whether the statement was rolled back for a reason that passes: deadlock, failed serialization. */
export const mayRepeat = (error: unknown): boolean =>
  error instanceof pg.DatabaseError && (error.code === '40P01' || error.code === '40001')

// By SQLSTATE: no such value (22), constraint (23), too large (54), raised by a trigger (P0001).
const OF_ROWS = /^(22|23|54|P0001)/

/** Whether the rows to be written are at fault: they would be refused again. */
export const isFaultOfRows = (error: unknown): boolean =>
  error instanceof pg.DatabaseError && OF_ROWS.test(error.code ?? '')
