import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { singleConnection, transaction } from '../../connection/database.ts'
import { safePosition } from '../../event-store/safe-position.ts'
import type { TimedEvent } from '../../tasks/task-rows-projection.ts'
import type { Drift } from '../drift/drift.ts'
import { BadEvent, type Query } from '../projection.ts'
import { auditPlan } from './rebuild-audit.ts'
import {
  LEFT_AT_MOST,
  READ,
  type RebuildOptions,
  type Run,
  restAfter,
  take,
} from './rebuild-run.ts'
import { tasksPlan } from './rebuild-tasks.ts'
import {
  createShadows,
  dropRemains,
  indexShadows,
  shadowOf,
  swapStatements,
} from './shadow-tables.ts'

export type Rebuilt = {
  readonly events: number
  readonly seconds: number
  /** Rows of the replaced table that differed from the log; the first of them. */
  readonly differences: number
  readonly first: readonly Drift[]
  /** How often the table was locked before nobody used it, and how long writers then waited. */
  readonly asked: number
  readonly fencedMs: number
  /** Streams parked at an event that cannot be projected. */
  readonly parked: readonly string[]
  /** Why the replaced tables still exist. The next rebuild drops them. */
  readonly remains: string | null
}

const BATCH_SIZE = 100

// At first the lock is tried without waiting: a waiter makes everyone behind it wait too. If the table is
// never free for a moment, the waits become longer, and rarer.
const ASKS_WITHOUT_WAITING = 200
const WAIT_AT_MOST_MS = 200
const PATIENCE_MS = 600_000

// A rebuild that hangs or is slow in that moment gives the table back before a write gives up.
const IN_THE_MOMENT = `
  set local statement_timeout = 500; set local idle_in_transaction_session_timeout = 500`

// db/migrations/…_erasure.ts drops what a rebuild left behind if it can get this lock.
const KEY = '((21590::bigint << 48) | (hashtext($1)::bigint & 4294967295))'
const TRY = { name: 'try_to_rebuild', text: `select pg_try_advisory_lock${KEY} as alone` }
const OWNER = {
  name: 'owner',
  text: `
    select pg_get_userbyid(relowner) as owner, pg_has_role(relowner, 'usage') as owns
    from pg_class where oid = 'events'::regclass`,
}
const END = { name: 'end_rebuild', text: 'delete from projections where name = $1' }
const PARK = {
  name: 'park_in_rebuild',
  text: `
    insert into parked_streams (projection, stream_id, position, version, error)
    values ($1, $2, $3, $4, $5)`,
}

/**
 * Rebuilds a projection from the whole log, in a table of its own, while reads and writes continue; then
 * swaps it in for the old one. Until then the old one does not change. Error: one sentence.
 */
export async function rebuild(options: RebuildOptions): Promise<Rebuilt> {
  const { name, connection } = options
  const sql = singleConnection(
    {
      ...connection,
      application_name: `rebuild ${name}`,
      connectionTimeoutMillis: 5_000,
      // What a crash loses of a shadow table is rebuilt. The swap is safe all the same: a later commit that
      // is kept keeps the swap too. A plan made while the shadow was empty would read all of it for each
      // batch, so plans are made each time.
      options:
        '-c synchronous_commit=off -c plan_cache_mode=force_custom_plan ' +
        '-c vacuum_cost_delay=2ms -c max_parallel_maintenance_workers=0',
      idle_in_transaction_session_timeout: 10_000,
      keepAlive: true,
    },
    'none',
  )
  let lost: Error | undefined
  sql.on('error', (error) => {
    lost ??= error
  })
  await sql.connect()
  try {
    const query: Query = async ({ name, text }, values) =>
      (await sql.query({ name, text, values: [...values] })).rows
    const [lock] = await query<{ alone: boolean }>(TRY, [name])
    if (!lock?.alone) throw new Error(`A rebuild of ${name} is already running.`)
    const [login] = await query<{ owner: string; owns: boolean }>(OWNER, [])
    if (!login?.owns) throw new Error(`Only the owner of the tables, ${login?.owner}, can rebuild.`)
    return await alone(options, sql, query)
  } catch (error) {
    if (lost === undefined) throw error
    throw new Error(`The connection to the database was lost: ${lost.message}.`, { cause: lost })
  } finally {
    await sql.end().catch(() => {})
  }
}

async function alone(options: RebuildOptions, sql: pg.Client, query: Query): Promise<Rebuilt> {
  const plan = options.name === 'tasks' ? tasksPlan(options) : auditPlan()
  const shadow = `${options.name}_rebuild`
  const facts = { options, plan, sql, query, shadow, position: 0, events: 0 }
  const run: Run = { ...facts, parked: new Set(), differences: 0, first: [] }
  const began = performance.now()
  await clear(run)
  try {
    await createShadows(sql, plan.tables)
    await sql.query(`insert into projections (name, state) values ($1, 'rebuilding')`, [shadow])
    await foldAll(run, began)
    await options.onProgress?.({ step: 'indexing' })
    await indexShadows(sql, plan.tables)
    await foldAll(run, began)
    await options.onProgress?.({ step: 'comparing' })
    await plan.compare(run)
    await foldAll(run, began)
    await options.onProgress?.({ step: 'swapping' })
    const fence = await swap(run, began)
    const remains = await dropRemains(sql, plan.tables).then(
      () => null,
      (error: Error) => error.message,
    )
    const { events, differences, first, parked } = run
    const seconds = (performance.now() - began) / 1000
    return { events, seconds, differences, first, parked: [...parked], remains, ...fence }
  } catch (error) {
    // If this fails too, the next rebuild drops them.
    await clear(run).catch(() => {})
    throw error
  }
}

async function clear({ sql, plan, shadow }: Run): Promise<void> {
  await dropRemains(sql, plan.tables)
  await sql.query('delete from parked_streams where projection = $1', [shadow])
  await sql.query('delete from projections where name = $1', [shadow])
}

// ----------------------------------------------------------------------------------------- folding

/** Folds until little has come since the last look: under steady writes there is always some. */
async function foldAll(run: Run, began: number): Promise<void> {
  do await foldUpTo(run, await safePosition(run.query), began)
  while ((await safePosition(run.query)) - run.position > LEFT_AT_MOST / 2)
}

async function foldUpTo(run: Run, end: number, began: number): Promise<void> {
  const { onProgress, batchSize = BATCH_SIZE } = run.options
  let size = batchSize
  while (run.position < end) {
    const batchBegan = performance.now()
    const events = await run.query<TimedEvent>(READ, [run.position, end, size])
    try {
      await transaction(run.sql, () => take(run, events, events.at(-1)?.position ?? end))
      size = Math.min(batchSize, size * 2)
    } catch (error) {
      if (!(error instanceof BadEvent)) throw error
      if (events.length === 1) await leaveOut(run, events[0] as TimedEvent, error)
      else size = Math.max(1, Math.floor(events.length / 2))
    }
    const perSecond = (run.events / (performance.now() - began)) * 1000
    await onProgress?.({ step: 'folding', position: run.position, end, perSecond })
    await restAfter(run, batchBegan)
  }
}

async function leaveOut(run: Run, event: TimedEvent, error: BadEvent): Promise<void> {
  const { position, stream_id, version } = event
  const { message } = error
  if (!run.plan.parks) throw new Error(`The rebuild ended at ${message}.`, { cause: error })
  await run.query(PARK, [run.shadow, stream_id, position, version, message])
  run.parked.add(stream_id)
}

// ---------------------------------------------------------------------------------------- swapping

/** Tries to get the tables in a moment when nobody uses them, until there is one. */
async function swap(run: Run, began: number): Promise<Pick<Rebuilt, 'asked' | 'fencedMs'>> {
  const { sql, plan, options } = run
  const rename = await swapStatements(sql, plan.tables)
  const until = performance.now() + PATIENCE_MS
  for (let asked = 1; performance.now() < until; asked++) {
    options.signal?.throwIfAborted()
    const waitMs = Math.min(WAIT_AT_MOST_MS, Math.max(0, asked - ASKS_WITHOUT_WAITING))
    let fenced = 0
    const lock = async () => {
      if (waitMs > 0) await sql.query(`set local lock_timeout = ${waitMs}`)
      fenced = performance.now()
      await sql.query(lockStatement(plan.tables, waitMs > 0))
    }
    const done = await attempt(run, async () => {
      await sql.query(IN_THE_MOMENT)
      if (!(await plan.finish(run, lock))) return false
      await sql.query(rename)
      await run.query(END, [run.shadow])
      return true
    })
    if (done) return { asked, fencedMs: performance.now() - fenced }
    await sleep((1 + 5 * waitMs) * (2 + Math.random() * 5))
    await foldAll(run, began)
  }
  throw new Error(`The tables of ${options.name} were in use all the time.`)
}

// The shadows first: only autovacuum may be using them.
const lockStatement = (tables: readonly string[], waits: boolean): string =>
  `lock table ${[...tables.map(shadowOf), ...tables].join(', ')} in access exclusive mode` +
  (waits ? '' : ' nowait')

/** Whether it was done; if not, everything is as before. */
async function attempt(run: Run, work: () => Promise<boolean>): Promise<boolean> {
  const { position, events } = run
  const notDone = new Error('not done')
  try {
    await transaction(run.sql, async () => {
      if (!(await work())) throw notDone
    })
    return true
  } catch (error) {
    Object.assign(run, { position, events })
    // A bad event is handled outside; if a table was in use or it took too long, it is tried again.
    if (error === notDone || error instanceof BadEvent || isBusy(error)) return false
    throw error
  }
}

const isBusy = (error: unknown): boolean =>
  error instanceof pg.DatabaseError && (error.code === '55P03' || error.code === '57014')
