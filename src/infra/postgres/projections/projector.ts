import type { Log } from '../../../app/ports/process.ts'
import type { DatabaseConfig } from '../connection/database.ts'
import { type Database, isFaultOfRows } from '../connection/database.ts'
import { type LeaderSession, type Leadership, lead } from '../connection/leader.ts'
import type { Wake } from '../event-store/append-notifier.ts'
import { safePosition } from '../event-store/safe-position.ts'
import { resume } from './parking.ts'
import {
  BadEvent,
  type EventLocation,
  isKnown,
  type LogEvent,
  NOT_KNOWN,
  type Projecting,
  type Projection,
  type TypedEvent,
  type Write,
} from './projection.ts'

export type ProjectorOptions = {
  readonly projection: Projection
  readonly connection: DatabaseConfig['connection']
  readonly role: string
  /** Reads the log, while the leader's session writes. */
  readonly db: Database
  readonly wake: Wake
  readonly log: Log
  /** Called after a batch is committed, with its events. */
  readonly onBatch?: (events: readonly LogEvent[], seconds: number) => void
  readonly batchSize?: number
}

const BATCH_SIZE = 2_000
const BATCH_BYTES = 4_000_000
const POLL_MS = 500
// After a batch that was not full: what comes meanwhile goes together. Most of what a batch costs does not depend
// on how many events it has.
const GATHER_MS = 50
// Checkpoint and rows are lost together or not at all, and the log is not: a crash of the database costs a
// moment's work, and no batch waits for the disk.
const SETTINGS = '-c synchronous_commit=off'
const MAX_TRIES = 5
const RETRY_MS = 100

const READ = {
  name: 'read_to_project',
  text: `
    select position, stream_id, version, type, schema_version, data from (
      select position, stream_id, version, type, schema_version, data,
        sum(pg_column_size(data)) over (order by position rows unbounded preceding)
          - pg_column_size(data) as bytes_before
      from events where position > $1 and position <= $2 order by position limit $3
    ) e where bytes_before < ${BATCH_BYTES} order by position`,
}

// `mark` changes with every change of the row, whoever makes it.
const FIND_CHECKPOINT = {
  name: 'find_checkpoint',
  text: `
    select position, state, xmin::text as mark,
      (select coalesce(jsonb_object_agg(stream_id, position), '{}') from parked_streams
        where projection = name) as parked
    from projections where name = $1`,
}

const MOVE_CHECKPOINT = {
  name: 'move_checkpoint',
  text: `
    update projections set position = $2, updated_at = clock_timestamp()
    where name = $1 and xmin::text = $3 and state <> 'parked'
    returning xmin::text as mark`,
}

const PARKED_BY_OLDER = {
  name: 'parked_by_older_version',
  text: `
    select stream_id, type, schema_version from parked_streams join events using (stream_id, version)
    where projection = $1 and strpos(error, $2) > 0`,
}

const PARK_STREAM = {
  name: 'park_stream',
  text: `
    insert into parked_streams (projection, stream_id, position, version, error)
    values ($1, $2, $3, $4, $5)`,
}

type Checkpoint = {
  readonly position: number
  readonly state: string
  readonly mark: string
  /** The position from which each parked stream is skipped. Grows while batches are read. */
  readonly parked: Map<string, number>
}

/** Read and projected, except for the streams that bad events park. */
type Batch = {
  readonly events: readonly LogEvent[]
  readonly writes: readonly Write[]
  readonly bad: readonly BadEvent[]
}

/** A batch with rows that the database refuses. */
class BadBatch extends Error {
  readonly after: Checkpoint
  readonly events: readonly LogEvent[]
  constructor(after: Checkpoint, events: readonly LogEvent[], cause: unknown) {
    super('bad batch', { cause })
    this.after = after
    this.events = events
  }
}

/** Keeps a projection up to date while this process leads it; each event once, in order. */
export function projector(options: ProjectorOptions): Leadership {
  const { projection, connection, role, log } = options
  const patience = { size: options.batchSize ?? BATCH_SIZE, tries: 0 }
  const work = async (session: LeaderSession) => {
    try {
      await projectFromCheckpoint(session, options, patience)
    } catch (error) {
      if (!(error instanceof BadBatch)) throw error
      await isolate(session, options, patience, error)
    }
  }
  return lead({ name: projection.name, connection, role, log, settings: SETTINGS, work })
}

type Patience = {
  /** Of the next batch: halved when one is bad, until the bad event is alone. */
  size: number
  /** How often it was attempted alone. */
  tries: number
}

/** Projects from the checkpoint on; returns when somebody else has changed it, or at the end. */
async function projectFromCheckpoint(
  session: LeaderSession,
  options: ProjectorOptions,
  patience: Patience,
): Promise<void> {
  const { projection, db, wake, onBatch, batchSize = BATCH_SIZE } = options
  await resumeKnown(options)
  let checkpoint = await findCheckpoint(session, projection.name)
  if (checkpoint.state === 'parked') return session.rest(POLL_MS)
  let woken = new AbortController()
  const unsubscribe = wake.subscribe(() => woken.abort())
  const projecting = projection.begin(db.query)
  const read = (after: number) => {
    woken = new AbortController()
    return readBatch(db, projecting, after, patience.size, checkpoint.parked)
  }
  const pull = (after: number, isFull = true) => {
    const batch = isFull ? read(after) : session.rest(GATHER_MS).then(() => read(after))
    batch.catch(() => {}) // Awaited later; until then a rejection must not be unhandled.
    return batch
  }
  try {
    let pulled = pull(checkpoint.position)
    while (!session.over.aborted) {
      const { events, writes, bad } = await pulled
      const last = events.at(-1)
      if (last === undefined) {
        await session.rest(POLL_MS, woken.signal)
        const now = await findCheckpoint(session, projection.name)
        if (now.mark !== checkpoint.mark) return
        pulled = pull(checkpoint.position)
        continue
      }
      const began = performance.now()
      pulled = pull(last.position, events.length === patience.size)
      const parks = bad.map(({ place, message }) => park(projection, place, message))
      const mark = await write(session, projection, checkpoint, events, [...parks, ...writes])
      if (mark === null) return
      for (const { place, message } of bad) noteParked(options, place, message)
      checkpoint = { ...checkpoint, position: last.position, mark }
      patience.size = Math.min(batchSize, patience.size * 2)
      patience.tries = 0
      onBatch?.(events, (performance.now() - began) / 1000)
    }
  } finally {
    unsubscribe()
  }
}

/** Resumes streams that an older version has parked at events that this version knows. */
async function resumeKnown({ projection, connection, db, log }: ProjectorOptions): Promise<void> {
  const { name } = projection
  const parked = await db.query<TypedEvent>(PARKED_BY_OLDER, [name, NOT_KNOWN])
  for (const { stream_id } of parked.filter(isKnown)) {
    try {
      log.info({ resumed: await resume({ connection }, projection, stream_id) }, 'stream resumed')
    } catch (error) {
      const { message: err } = error as Error
      log.warn({ projection: name, stream_id, err }, 'a parked stream cannot be resumed')
    }
  }
}

async function findCheckpoint(session: LeaderSession, name: string): Promise<Checkpoint> {
  const [row] = await session.query<{
    position: number
    state: string
    mark: string
    parked: Record<string, number>
  }>(FIND_CHECKPOINT, [name])
  if (row === undefined) throw new Error(`there is no projection "${name}" in the database`)
  return { ...row, parked: new Map(Object.entries(row.parked)) }
}

/** A bad event stays bad, so its stream is parked at once, and the batch is projected without it. */
async function readBatch(
  db: Database,
  projecting: Projecting,
  after: number,
  limit: number,
  parked: Checkpoint['parked'],
): Promise<Batch> {
  const bad: BadEvent[] = []
  const upTo = await safePosition(db.query)
  if (upTo <= after) return { events: [], writes: [], bad }
  const events = await db.query<LogEvent>(READ, [after, upTo, limit])
  for (;;) {
    const wanted = events.filter(({ stream_id, position }) => {
      return position < (parked.get(stream_id) ?? Number.POSITIVE_INFINITY)
    })
    if (wanted.length === 0) return { events, writes: [], bad }
    try {
      return { events, writes: await projecting.project(wanted), bad }
    } catch (error) {
      if (!(error instanceof BadEvent)) throw error
      bad.push(error)
      parked.set(error.place.stream_id, error.place.position)
    }
  }
}

/** Writes checkpoint and rows, or neither; null if somebody else has moved the checkpoint. */
async function write(
  session: LeaderSession,
  { name }: Projection,
  after: Checkpoint,
  events: readonly LogEvent[],
  writes: readonly Write[],
): Promise<string | null> {
  const position = events.at(-1)?.position
  try {
    return await session.transaction(async () => {
      // First: it excludes everyone who would write the same rows or resume a stream.
      const [moved] = await session.query<{ mark: string }>(MOVE_CHECKPOINT, [
        name,
        position,
        after.mark,
      ])
      if (moved === undefined) return null
      for (const { statement, values } of writes) await session.query(statement, values)
      return moved.mark
    })
  } catch (error) {
    if (isFaultOfRows(error)) throw new BadBatch(after, events, error)
    throw error
  }
}

/** Narrows a bad batch down to its first bad event; parks that event's stream if it stays bad. */
async function isolate(
  session: LeaderSession,
  options: ProjectorOptions,
  patience: Patience,
  { after, events, cause }: BadBatch,
): Promise<void> {
  const [event] = events
  if (event === undefined) return
  if (events.length > 1) {
    patience.size = Math.max(1, Math.floor(events.length / 2))
    return
  }
  patience.tries++
  const why = cause instanceof Error ? cause.message : String(cause)
  const { projection, log } = options
  const { position, stream_id, version } = event
  const { tries } = patience
  const facts = { projection: projection.name, stream_id, version, position, err: why, tries }
  log.warn(facts, 'an event cannot be projected')
  if (tries < MAX_TRIES) return session.rest(RETRY_MS * 2 ** tries)
  const mark = await write(session, projection, after, events, [park(projection, event, why)])
  patience.tries = 0
  if (mark !== null) noteParked(options, event, why)
}

const park = (
  { name }: Projection,
  { stream_id, position, version }: EventLocation,
  why: string,
): Write => ({
  statement: PARK_STREAM,
  values: [name, stream_id, position, version, why],
})

function noteParked(
  { projection, log }: ProjectorOptions,
  { stream_id, version, position }: EventLocation,
  err: string,
): void {
  log.error({ projection: projection.name, stream_id, version, position, err }, 'stream parked')
}
