import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { DatabaseConfig } from '../../config.ts'
import { taskId } from '../../domain/task/view.ts'
import { auditProjection } from './audit-projection.ts'
import { type Database, singleConnection } from './database.ts'
import { type Drift, driftOfTasks } from './drift.ts'
import { BadEvent, type Query, type Write } from './projection.ts'
import { createShadows, dropRemains, shadowOf, swapStatements } from './shadow-tables.ts'
import { type TimedEvent, taskRowsProjection } from './task-rows-projection.ts'
import type { UserKeys } from './user-keys.ts'

export const REBUILDABLE = ['tasks', 'audit'] as const
export type Rebuildable = (typeof REBUILDABLE)[number]

export type Progress =
  | {
      readonly step: 'folding'
      readonly position: number
      readonly end: number
      readonly perSecond: number
    }
  | { readonly step: 'comparing' }
  | { readonly step: 'swapping' }

export type Rebuilt = {
  readonly events: number
  readonly seconds: number
  /** Rows of the table that was replaced that were not as the log says; the first of them. */
  readonly differences: number
  readonly first: readonly Drift[]
  /** How often the table was asked for before nobody used it, and for how long writers then waited. */
  readonly asked: number
  readonly fencedMs: number
  /** Streams that wait at an event that cannot be projected. */
  readonly parked: readonly string[]
}

export type RebuildOptions = {
  readonly name: Rebuildable
  /** Of the owner of the tables. */
  readonly connection: DatabaseConfig['connection']
  readonly db: Database
  readonly keys: UserKeys
  readonly signal?: AbortSignal
  /** Waited for, except while writers wait. */
  readonly onProgress?: (progress: Progress) => unknown
  readonly batchSize?: number
  /** How long to rest after a batch, as a multiple of what it took. */
  readonly rest?: number
}

const BATCH_SIZE = 500
const COMPARED_AT_ONCE = 5_000
/** What may be left to do while writers wait. */
const LEFT_AT_MOST = 200
const FIRST = 10

// Asked for without waiting at first: whoever waits makes all wait that come after. If the table is
// never free for a moment, waiting becomes longer and longer.
const ASKS_WITHOUT_WAITING = 200
const PATIENCE_MS = 120_000

type Plan = {
  readonly tables: readonly string[]
  /** What a batch of events is to write into the shadows. */
  readonly project: (events: readonly TimedEvent[], read: Query) => Promise<readonly Write[]>
  /** Whether a bad event parks its stream; otherwise it ends the rebuild. */
  readonly parks: boolean
  /** Compares what both tables have, while the old one is written on. */
  readonly compare: (run: Run) => Promise<void>
  /** In a transaction, after which nothing may be missing; false when too much is left to do. */
  readonly finish: (run: Run, lock: () => Promise<void>) => Promise<boolean>
}

/** A rebuild under way. */
type Run = {
  readonly options: RebuildOptions
  readonly plan: Plan
  readonly sql: pg.Client
  readonly query: Query
  readonly shadow: string
  position: number
  events: number
  readonly parked: Set<string>
  differences: number
  readonly first: Drift[]
}

const KEY = '((21590::bigint << 48) | (hashtext($1)::bigint & 4294967295))'
const TRY = { name: 'try_to_rebuild', text: `select pg_try_advisory_lock${KEY} as alone` }
const SAFE_POSITION = { name: 'safe_position', text: 'select safe_position() as position' }
const READ = {
  name: 'read_to_rebuild',
  text: `
    select position, stream_id, version, type, data, occurred_at from events
    where position > $1 and position <= $2 order by position limit $3`,
}
// Also those above the safe position: for who knows that what they write goes to the new table.
const READ_VISIBLE = {
  name: 'read_visible',
  text: `
    select position, stream_id, version, type, data, occurred_at from events
    where position > $1 order by position limit $2`,
}
const MOVE = {
  name: 'move_rebuild',
  text: `update projections set position = $2, updated_at = clock_timestamp() where name = $1`,
}
const END = { name: 'end_rebuild', text: 'delete from projections where name = $1' }
const PARK = {
  name: 'park_in_rebuild',
  text: `
    insert into parked_streams (projection, stream_id, position, version, error)
    values ($1, $2, $3, $4, $5)`,
}

/**
 * Makes a projection anew from the whole log, aside, while reads and writes go on; then puts it in the
 * place of the old one. Until then nothing of the old one changes. Error: one sentence.
 */
export async function rebuild(options: RebuildOptions): Promise<Rebuilt> {
  const { name, connection } = options
  const sql = singleConnection(
    {
      ...connection,
      application_name: `rebuild ${name}`,
      connectionTimeoutMillis: 5_000,
      // What a crash takes of a shadow is made again.
      options: '-c synchronous_commit=off',
      // One that is frozen gives the table back.
      idle_in_transaction_session_timeout: 2_000,
      keepAlive: true,
    },
    'none',
  )
  // It ends with the database; the next statement then fails and says so.
  sql.on('error', () => {})
  await sql.connect()
  try {
    const query: Query = async ({ name, text }, values) =>
      (await sql.query({ name, text, values: [...values] })).rows
    const [lock] = await query<{ alone: boolean }>(TRY, [name])
    if (!lock?.alone) throw new Error(`A rebuild of ${name} is under way already.`)
    return await alone(options, sql, query)
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
    for (const table of plan.tables) await sql.query(`vacuum analyze ${shadowOf(table)}`)
    await options.onProgress?.({ step: 'comparing' })
    await plan.compare(run)
    await foldAll(run, began)
    await options.onProgress?.({ step: 'swapping' })
    const fence = await swap(run, began)
    await dropRemains(sql, plan.tables)
    const { events, differences, first, parked } = run
    const seconds = (performance.now() - began) / 1000
    return { events, seconds, differences, first, parked: [...parked], ...fence }
  } catch (error) {
    // If this fails too, the next rebuild does it.
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

/** Folds until little is left of what may be read yet: under steady writes there is always some. */
async function foldAll(run: Run, began: number): Promise<void> {
  const { signal, onProgress, rest = 1, batchSize = BATCH_SIZE } = run.options
  let size = batchSize
  for (;;) {
    signal?.throwIfAborted()
    const batchBegan = performance.now()
    const [safe] = await run.query<{ position: number }>(SAFE_POSITION, [])
    const end = safe?.position ?? 0
    if (end - run.position <= LEFT_AT_MOST / 2 && run.events > 0) return
    const events = await run.query<TimedEvent>(READ, [run.position, end, size])
    try {
      await inTransaction(run, () => take(run, events, events.at(-1)?.position ?? end))
      size = Math.min(batchSize, size * 2)
    } catch (error) {
      if (!isFaultOfEvents(error)) throw error
      if (events.length === 1) await leaveOut(run, events[0] as TimedEvent, error)
      else size = Math.max(1, Math.floor(events.length / 2))
    }
    const perSecond = (run.events / (performance.now() - began)) * 1000
    await onProgress?.({ step: 'folding', position: run.position, end, perSecond })
    await sleep((performance.now() - batchBegan) * rest)
  }
}

/** In a transaction: what the events write, and how far that goes. */
async function take(run: Run, events: readonly TimedEvent[], position: number): Promise<void> {
  const wanted = events.filter(({ stream_id }) => !run.parked.has(stream_id))
  const writes = wanted.length === 0 ? [] : await run.plan.project(wanted, run.query)
  for (const { statement, values } of writes) await run.query(statement, values)
  await run.query(MOVE, [run.shadow, position])
  run.position = position
  run.events += events.length
}

const isFaultOfEvents = (error: unknown): boolean =>
  error instanceof BadEvent ||
  (error instanceof pg.DatabaseError && /^(22|23|54|P0001)/.test(error.code ?? ''))

async function leaveOut(run: Run, event: TimedEvent, error: unknown): Promise<void> {
  const { position, stream_id, version } = event
  const { message } = error instanceof BadEvent ? error : new BadEvent(event, error)
  if (!run.plan.parks) throw new Error(`The rebuild ended at ${message}.`, { cause: error })
  await run.query(PARK, [run.shadow, stream_id, position, version, message])
  run.parked.add(stream_id)
}

async function inTransaction<T>({ sql }: Run, work: () => Promise<T>): Promise<T> {
  await sql.query('begin')
  try {
    const result = await work()
    await sql.query('commit')
    return result
  } catch (error) {
    // When that fails too the connection is gone, and the transaction with it.
    await sql.query('rollback').catch(() => {})
    throw error
  }
}

// --------------------------------------------------------------------------------------- comparing

function note(run: Run, drifts: readonly Drift[]): void {
  run.differences += drifts.length
  run.first.push(...drifts.slice(0, FIRST - run.first.length))
}

const restAfter = async ({ options: { rest = 1, signal } }: Run, began: number): Promise<void> => {
  signal?.throwIfAborted()
  await sleep((performance.now() - began) * rest)
}

// ---------------------------------------------------------------------------------------- swapping

/** Asks for a moment in which nobody uses the tables until there is one. */
async function swap(
  run: Run,
  began: number,
): Promise<{ readonly asked: number; readonly fencedMs: number }> {
  const { sql, plan, options } = run
  const rename = await swapStatements(sql, plan.tables)
  const until = performance.now() + PATIENCE_MS
  for (let asked = 1; ; asked++) {
    options.signal?.throwIfAborted()
    let fenced = 0
    const lock = async () => {
      const waitMs = Math.min(200, Math.max(0, asked - ASKS_WITHOUT_WAITING))
      if (waitMs > 0) await sql.query(`set local lock_timeout = ${waitMs}`)
      fenced = performance.now()
      const tables = plan.tables.join(', ')
      await sql.query(`lock table ${tables} in access exclusive mode${waitMs > 0 ? '' : ' nowait'}`)
    }
    const done = await attempt(run, async () => {
      await sql.query('set local synchronous_commit = on')
      if (!(await plan.finish(run, lock))) return false
      await sql.query(rename)
      await run.query(END, [run.shadow])
      return true
    })
    if (done) return { asked, fencedMs: performance.now() - fenced }
    if (performance.now() > until) {
      throw new Error(`The tables of ${options.name} were in use all the time.`)
    }
    await sleep(2 + Math.random() * 10)
    await foldAll(run, began)
  }
}

/** Whether it was done; if not, all is as it was before. */
async function attempt(run: Run, work: () => Promise<boolean>): Promise<boolean> {
  const { position, events } = run
  const notDone = new Error('not done')
  try {
    await inTransaction(run, async () => {
      if (!(await work())) throw notDone
    })
    return true
  } catch (error) {
    Object.assign(run, { position, events })
    // A bad event is dealt with outside; a table that is in use is asked for again.
    if (error === notDone || isFaultOfEvents(error) || isInUse(error)) return false
    throw error
  }
}

const isInUse = (error: unknown): boolean =>
  error instanceof pg.DatabaseError && error.code === '55P03'

// ------------------------------------------------------------------------------------------- tasks

// From the last id of the chunk before to the first that is beyond the chunk in both tables.
const CHUNK_OF_TASKS = {
  name: 'chunk_of_tasks',
  text: `
    select max(id) as last from (
      (select id from tasks where id > $1 order by id limit ${COMPARED_AT_ONCE})
      union all
      (select id from tasks_rebuild where id > $1 order by id limit ${COMPARED_AT_ONCE})) ids`,
}
const UNEQUAL_TASKS = {
  name: 'unequal_tasks',
  text: `
    select id, coalesce(l.version = s.version, false) as at_same_version
    from (select * from tasks where id > $1 and id <= $2) l
      full join (select * from tasks_rebuild where id > $1 and id <= $2) s using (id)
    where l is distinct from s order by id`,
}
const UNEQUAL_STILL = {
  name: 'unequal_still',
  text: `
    select l.id from tasks l join tasks_rebuild s using (id, version)
    where l.id = any ($1) and l is distinct from s`,
}
const REMOVE_ERASED = {
  name: 'remove_erased_in_rebuild',
  text: `
    delete from tasks_rebuild t using user_keys k
    where k.user_id = t.user_id and k.destroyed_at is not null`,
}

/** Written in the transaction that writes the events: it ends where the log ends, at any moment. */
function tasksPlan({ db, keys }: RebuildOptions): Plan {
  return {
    tables: ['tasks'],
    project: taskRowsProjection('tasks_rebuild', keys),
    parks: false,

    async compare(run) {
      for (let from = 0; ; ) {
        const began = performance.now()
        const [chunk] = await run.query<{ last: number | null }>(CHUNK_OF_TASKS, [from])
        if (chunk === undefined || chunk.last === null) return
        const unequal = await run.query<Unequal>(UNEQUAL_TASKS, [from, chunk.last])
        await explain(run, { db, keys }, unequal)
        from = chunk.last
        await restAfter(run, began)
      }
    },

    // Who has written to the table has ended once the lock is there, so what they appended is visible
    // to the statement that follows; who has appended and not yet written there waits for the lock and
    // then finds the new table under the name. Events of both are read: those that are visible.
    async finish(run, lock) {
      await lock()
      const events = await run.query<TimedEvent>(READ_VISIBLE, [run.position, LEFT_AT_MOST + 1])
      if (events.length > LEFT_AT_MOST) return false
      await take(run, events, events.at(-1)?.position ?? run.position)
      await run.query(REMOVE_ERASED, [])
      return true
    },
  }
}

type Unequal = { readonly id: number; readonly at_same_version: boolean }

const EXPLAINED_AT_ONCE = 200

/** Of rows that are unequal some have only been written since: the log tells which are wrong. */
async function explain(
  run: Run,
  ports: { readonly db: Database; readonly keys: UserKeys },
  unequal: readonly Unequal[],
): Promise<void> {
  for (let from = 0; from < unequal.length; from += EXPLAINED_AT_ONCE) {
    const some = unequal.slice(from, from + EXPLAINED_AT_ONCE)
    const drifts = await driftOfTasks(
      ports,
      some.map(({ id }) => id),
    )
    note(run, drifts)
    const wrong = new Set(drifts.map(({ stream_id }) => taskId(stream_id)))
    const doubtful = some.filter(({ id, at_same_version }) => at_same_version && !wrong.has(id))
    const [still] = await run.query<{ id: number }>(UNEQUAL_STILL, [doubtful.map(({ id }) => id)])
    if (still !== undefined) throw new Error(`The rebuild made another row of task ${still.id}.`)
  }
}

// ------------------------------------------------------------------------------------------- audit

const LIVE_POSITION = {
  name: 'live_position',
  text: `select position from projections where name = 'audit'`,
}
/** The worker's batches wait from here on. */
const HOLD_LIVE_POSITION = { name: 'hold_position', text: `${LIVE_POSITION.text} for update` }
const UNEQUAL_EVENTS = {
  name: 'unequal_events',
  text: `
    select position, coalesce(l.version, s.version) as version,
      coalesce('task-' || coalesce(l.task_id, s.task_id),
        'user-' || coalesce(l.user_id, s.user_id)) as stream_id,
      case when l.version is null then 'missing' when s.version is null then 'extra'
        else 'different' end as kind
    from (select * from audit_events where position > $1 and position <= $2) l
      full join (select * from audit_events_rebuild where position > $1 and position <= $2) s
        using (position)
    where l is distinct from s and not exists (
      select from parked_streams where projection in ('audit', 'audit_rebuild')
        and stream_id = 'task-' || coalesce(l.task_id, s.task_id))
    order by position`,
}
// The worker sees that the row has changed, and begins again from it.
const TAKE_OVER = {
  name: 'take_over',
  text: `
    update projections set position = greatest(position, $1), updated_at = clock_timestamp()
    where name = 'audit'`,
}
const UNPARK = { name: 'unpark_all', text: `delete from parked_streams where projection = 'audit'` }
const KEEP_PARKED = {
  name: 'keep_parked',
  text: `update parked_streams set projection = 'audit' where projection = 'audit_rebuild'`,
}

/** Written by the worker behind the log: it ends at its checkpoint. */
function auditPlan(): Plan {
  const tables = { events: 'audit_events_rebuild', facts: 'audit_facts_rebuild' }
  const projection = auditProjection(tables)
  let compared = 0
  const compare = async (run: Run, upTo: number) => {
    while (compared < Math.min(upTo, run.position)) {
      const began = performance.now()
      const end = Math.min(compared + COMPARED_AT_ONCE, upTo, run.position)
      const rows = await run.query<UnequalEvent>(UNEQUAL_EVENTS, [compared, end])
      note(run, rows.map(driftOf))
      compared = end
      await restAfter(run, began)
    }
  }
  return {
    tables: ['audit_events', 'audit_facts'],
    // Each batch by itself: what a projection keeps in memory would outlive a batch that failed.
    project: (events, read) => projection.begin(read).project(events),
    parks: true,

    async compare(run) {
      const [live] = await run.query<{ position: number }>(LIVE_POSITION, [])
      await compare(run, live?.position ?? 0)
    },

    async finish(run, lock) {
      await run.sql.query('set local lock_timeout = 1000')
      const [live] = await run.query<{ position: number }>(HOLD_LIVE_POSITION, [])
      if (live === undefined) throw new Error('There is no projection audit in the database.')
      if (live.position > run.position) {
        const values = [run.position, live.position, LEFT_AT_MOST + 1]
        const events = await run.query<TimedEvent>(READ, values)
        if (events.length > LEFT_AT_MOST) return false
        await take(run, events, live.position)
      }
      await compare(run, live.position)
      await lock()
      await run.query(TAKE_OVER, [run.position])
      await run.query(UNPARK, [])
      await run.query(KEEP_PARKED, [])
      return true
    },
  }
}

type UnequalEvent = Pick<Drift, 'kind' | 'stream_id'> & { readonly version: number }

const driftOf = ({ kind, stream_id, version }: UnequalEvent): Drift => ({
  projection: 'audit',
  stream_id,
  kind,
  fields: [String(version)],
})
