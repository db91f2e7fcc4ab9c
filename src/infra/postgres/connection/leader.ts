import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import type { Log } from '../../../app/ports/process.ts'
import type { DatabaseConfig } from './database.ts'
import { type Statement, singleConnection, transaction } from './database.ts'

/** The session that holds the lock: only the leader can write on it. */
export type LeaderSession = {
  /** One statement in its own transaction, or in the one that `transaction` has open. */
  readonly query: <Row extends pg.QueryResultRow>(
    statement: Statement,
    values?: readonly unknown[],
  ) => Promise<Row[]>
  /** Runs `work` in one transaction. */
  readonly transaction: <T>(work: () => Promise<T>) => Promise<T>
  /** Waits, at most until `wake` or the session's end. */
  readonly rest: (ms: number, wake?: AbortSignal) => Promise<void>
  /** Aborted when the session is lost or has to end. */
  readonly over: AbortSignal
}

export type Leadership = {
  readonly leads: () => boolean
  /** Lets the work finish, and releases the lock. */
  readonly close: () => Promise<void>
}

export type LeadOptions = {
  readonly name: string
  readonly connection: DatabaseConfig['connection']
  readonly role: string
  readonly log: Log
  /** More session settings, as `-c name=value`. */
  readonly settings?: string
  /** What the leader does; starts again when it fails. */
  readonly work: (session: LeaderSession) => Promise<void>
}

// A leader that hangs or is cut off holds the lock until the database ends its session; other processes ask
// for the lock this often. Together that stays below the 10 s in which another takes over. A live leader
// sends heartbeats beside its work, which may read through the pool for longer than that.
const SILENCE_MS = 5_000
const ASK_MS = 1_000
const HEARTBEAT_MS = 1_000
const AGAIN_MS = 1_000

const KEY = '((21589::bigint << 48) | (hashtext($1)::bigint & 4294967295))'
const TRY = { name: 'try_to_lead', text: `select pg_try_advisory_lock${KEY} as leads` }
const HEARTBEAT = { name: 'heartbeat', text: 'select 1' }

// The time limits on idle sessions do not reach one that hangs in the middle of a message: the backend
// waits for the rest of it. Any login of the same user may end it.
const END_STUCK = `
  select pg_terminate_backend(pid) from pg_locks join pg_stat_activity using (pid)
  where locktype = 'advisory' and objsubid = 1 and granted
    and database = (select oid from pg_database where datname = current_database())
    and ((classid::bigint << 32) | objid::bigint) = ${KEY}
    and state = 'active' and wait_event in ('ClientRead', 'ClientWrite')
    and clock_timestamp() - greatest(state_change, query_start) > interval '${SILENCE_MS} ms'`

/**
 * Leader election by advisory lock: works as long as this process is the leader of that name. One of all
 * candidates is, and when it ends, hangs or is cut off, another takes over.
 */
export function lead(options: LeadOptions): Leadership {
  const { name, connection, role, log, settings = '', work } = options
  const closing = new AbortController()
  let leads = false

  const serve = async () => {
    const client = singleConnection({ ...connection, ...limits(role, name, settings) }, role)
    const lost = new AbortController()
    client.on('error', () => lost.abort())
    client.on('end', () => lost.abort())
    const over = AbortSignal.any([lost.signal, closing.signal])
    try {
      await client.connect()
      const session = sessionOf(client, over)
      while (!over.aborted && !(await takesOver(client, session, name))) {
        await session.rest(ASK_MS)
      }
      if (over.aborted) return
      leads = true
      log.info({ name }, 'leads')
      session.beat().catch(() => lost.abort())
      while (!over.aborted) await work(session)
    } finally {
      leads = false
      await client.end().catch(() => {})
    }
  }

  const running = (async () => {
    while (!closing.signal.aborted) {
      await serve().catch((error: Error) => {
        if (!closing.signal.aborted) log.warn({ name, err: error.message }, 'cannot lead')
      })
      await sleep(AGAIN_MS, undefined, { signal: closing.signal }).catch(() => {})
    }
  })()

  return {
    leads: () => leads,
    close: async () => {
      closing.abort()
      await running
    },
  }
}

const limits = (role: string, name: string, settings: string): pg.ClientConfig => ({
  options: `-c idle_session_timeout=${SILENCE_MS} -c lock_timeout=1000 ${settings}`,
  application_name: `${role} ${name}`,
  connectionTimeoutMillis: 1_000,
  statement_timeout: 10_000,
  query_timeout: 12_000,
  idle_in_transaction_session_timeout: SILENCE_MS,
  keepAlive: true,
  keepAliveInitialDelayMillis: 10_000,
})

async function takesOver(
  client: pg.Client,
  session: LeaderSession,
  name: string,
): Promise<boolean> {
  const [answer] = await session.query<{ leads: boolean }>(TRY, [name])
  if (answer?.leads) return true
  await session.transaction(async () => {
    await client.query('set local role none')
    await client.query(END_STUCK, [name])
  })
  return false
}

type BeatingSession = LeaderSession & {
  /** Tells the database that this process lives, until the end. Error: the session is lost. */
  readonly beat: () => Promise<void>
}

function sessionOf(client: pg.Client, over: AbortSignal): BeatingSession {
  let busy = 0
  const use = async <T>(work: () => Promise<T>): Promise<T> => {
    busy++
    try {
      return await work()
    } finally {
      busy--
    }
  }
  const query = <Row extends pg.QueryResultRow>(
    statement: Statement,
    values: readonly unknown[] = [],
  ) => use(async () => (await client.query<Row>({ ...statement, values: [...values] })).rows)
  const rest = (ms: number, signal: AbortSignal) => sleep(ms, undefined, { signal }).catch(() => {})

  return {
    query,
    over,

    transaction: (work) => use(() => transaction(client, work)),

    async beat() {
      while (!over.aborted) {
        await rest(HEARTBEAT_MS, over)
        // A running query tells it too.
        if (busy === 0 && !over.aborted) await query(HEARTBEAT)
      }
    },

    async rest(ms, wake) {
      await rest(ms, wake === undefined ? over : AbortSignal.any([over, wake]))
    },
  }
}
