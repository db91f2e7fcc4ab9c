import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { AppError } from '../../../app/errors.ts'
import type { Log } from '../../../app/ports/process.ts'
import { batches } from '../../batching/batches.ts'
import { type Database, type DatabaseConfig, isAway, openPool, type Statement } from './database.ts'
import { repeat } from './repeat.ts'

/** A copy of the primary that follows it, a moment behind. */
export type Replica = {
  /**
   * Reads as the primary does: a statement sees whatever was committed before it was sent. The replica
   * answers it once it has replayed that much; if that takes too long, or it fails, the primary does.
   */
  readonly orElse: (primary: Database, pool: PoolOptions) => Database
  readonly state: () => 'used' | 'away'
  readonly close: () => Promise<void>
}

type PoolOptions = {
  readonly settings?: Readonly<Record<string, string>>
  /** @default that of the replica */
  readonly poolMax?: number
}

export type ReplicaOptions = DatabaseConfig & {
  readonly role: string
  /** The primary; each mark is one small write there. */
  readonly primary: Pick<Database, 'query'>
  readonly log: Log
  /** How long a statement waits for the replica before it goes to the primary. @default 100 ms */
  readonly patienceMs?: number
  /** How often a replica that is away is asked whether it is back. @default 1 s */
  readonly askMs?: number
}

const PATIENCE_MS = 100
const CONNECT_MS = 500
const MARK_MS = 1_000
const ASK_MS = 1_000
/** How often the log says that it is away. */
const SAY_MS = 60_000

// The rows are this process's own: they are nowhere but on the primary and on what follows it.
const MARK = {
  name: 'mark',
  text: 'insert into replica_marks (process, number) values ($1, $2)',
}

const REPLAYED = {
  name: 'replayed_mark',
  text: `
    select pg_is_in_recovery() as follows,
      exists (select from replica_marks where process = $1 and number >= $2) as shows`,
}

const FORGET = {
  name: 'forget_marks',
  text: 'delete from replica_marks where process = $1 and number < $2',
}
/** At most twice as many are kept. */
const KEPT = 1_000

const LEFT_BEHIND = {
  name: 'remove_old_marks',
  text: `delete from replica_marks where marked_at < clock_timestamp() - interval '1 day'`,
}

export function followReplica({ primary, ...options }: ReplicaOptions): Replica {
  const { log, patienceMs = PATIENCE_MS, askMs = ASK_MS } = options
  const process = randomUUID()
  const pools: pg.Pool[] = []
  const open = (own: PoolOptions) => {
    const connection = { connectionTimeoutMillis: CONNECT_MS, ...options.connection }
    const pool = openPool({ ...options, ...own, connection })
    pools.push(pool)
    return pool
  }

  let number = 0
  const mark = batches<null, number>({
    call: async (waiting) => {
      const next = ++number
      await primary.query(MARK, [process, next])
      if (next % KEPT === 0) primary.query(FORGET, [process, next]).catch(() => {}) // The next time does.
      return waiting.map(() => next)
    },
    sizeOf: () => 0,
    limits: {
      items: 1_000,
      bytes: 0,
      waiting: 1_000,
      calls: 2,
      patience: patienceMs,
      total: MARK_MS,
    },
    now: () => performance.now(),
    refusal: (cause) => new AppError('database_unavailable', { retryAfter: 1, cause }),
  })

  const probing = open({ poolMax: 1 })
  let state: ReturnType<Replica['state']> = 'away'
  let closed = false
  let said = Number.NEGATIVE_INFINITY
  const say = ({ message: err }: Error) => {
    if (performance.now() - said < SAY_MS) return
    said = performance.now()
    log.warn({ err }, 'the replica is not used')
  }
  const comeBack = async () => {
    const wanted = await mark(null).catch(() => null)
    if (wanted === null) return 'again' as const
    try {
      const client = await caughtUp(probing, process, wanted, patienceMs)
      client.release()
      state = 'used'
      log.info({}, 'the replica is used')
      return 'done' as const
    } catch (error) {
      say(error as Error)
      return 'again' as const
    }
  }
  let asking = repeat(askMs, comeBack)
  const leave = (error: Error) => {
    if (state === 'away' || closed) return
    state = 'away'
    said = Number.NEGATIVE_INFINITY
    say(error)
    asking = repeat(askMs, comeBack)
  }
  primary.query(LEFT_BEHIND, []).catch(() => {}) // The next process tries again.

  /** Null: the primary has to answer. */
  const read = async <Row extends pg.QueryResultRow>(
    pool: pg.Pool,
    statement: Statement,
    values: readonly unknown[],
  ): Promise<Row[] | null> => {
    const wanted = await mark(null).catch(() => null)
    if (wanted === null) return null
    const client = await caughtUp(pool, process, wanted, patienceMs).catch((error: Error) => {
      if (error.message !== ALL_BUSY) leave(error)
    })
    if (client === undefined) return null
    try {
      const { rows } = await client.query<Row>({ ...statement, values: [...values] })
      client.release()
      return rows
    } catch (error) {
      client.release(error as Error)
      if (isLost(error)) leave(error as Error)
      return null
    }
  }

  return {
    orElse(database, own) {
      const pool = open(own)
      return {
        ...database,
        query: async <Row extends pg.QueryResultRow>(
          statement: Statement,
          values: readonly unknown[],
        ) => {
          const rows = state === 'used' ? await read<Row>(pool, statement, values) : null
          return rows ?? database.query<Row>(statement, values)
        },
      }
    },
    state: () => state,
    async close() {
      closed = true
      await asking.close()
      await Promise.all(pools.map((pool) => pool.end()))
    },
  }
}

/** What pg-pool says when all of its connections stay in use. */
const ALL_BUSY = 'timeout exceeded when trying to connect'

/** Stopped for its own sake: it took too long, or was in the way of what the replica replays. */
const isStopped = (error: unknown): boolean =>
  error instanceof pg.DatabaseError && error.code === '57014'

const isLost = (error: unknown): boolean => isAway(error) && !isStopped(error)

/**
 * A connection to a replica that has replayed this mark, and so everything that was committed before it. One
 * address may stand for several replicas, so it is the connection that counts.
 */
async function caughtUp(
  pool: pg.Pool,
  process: string,
  wanted: number,
  patienceMs: number,
): Promise<pg.PoolClient> {
  const client = await pool.connect()
  const deadline = performance.now() + patienceMs
  try {
    for (let pause = 1; ; pause = Math.min(pause * 2, 16)) {
      const asked = { ...REPLAYED, values: [process, wanted], query_timeout: patienceMs }
      const { rows } = await client.query<{ follows: boolean; shows: boolean }>(asked)
      if (!rows[0]?.follows) throw new Error('it is no replica, but a primary')
      if (rows[0].shows) return client
      if (performance.now() > deadline) {
        throw new Error(`it is more than ${patienceMs} ms behind the primary`)
      }
      await sleep(pause)
    }
  } catch (error) {
    client.release(error as Error)
    throw error
  }
}
