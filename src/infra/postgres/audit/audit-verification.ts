import { Broken, placeOf } from '../../../verifier/failures.ts'
import type { KeptSeals, Seal, SealKey, TrailEvent } from '../../../verifier/formats.ts'
import { follow, type Report, type StreamState, type Trail } from '../../../verifier/trail.ts'
import { walk } from '../../../verifier/walk.ts'
import type { Query } from '../projections/projection.ts'
import { eventsAfter, instant } from './exact-rows.ts'
import { type RecordsReport, verifyRecords } from './sealed-records.ts'

const EVENTS_A_PAGE = 500
const SEALS_A_PAGE = 10
const ROWS_A_PAGE = 5_000
const STREAMS_A_PAGE = 5_000

const READ_SEALS = {
  name: 'read_seals_to_verify',
  text: `
    select number, position, events, encode(events_digest, 'hex') as events_digest,
      events_marks as marks, heads, encode(heads_digest, 'hex') as heads_digest,
      ${instant('sealed_at', 'US', '000ZAD')}, encode(previous, 'hex') as previous,
      encode(hash, 'hex') as hash, key_id, encode(signature, 'hex') as signature,
      encode(records_digest, 'hex') as records_digest
    from seals where number > $1 and number <= ${Number.MAX_SAFE_INTEGER}
    order by number limit ${SEALS_A_PAGE}`,
}

const READ_STREAMS = {
  name: 'read_streams_to_verify',
  text: `
    select stream_id, stream_type, version, encode(head_hash, 'hex') as head_hash from streams
    where $1::text is null or stream_id > $1 order by stream_id limit ${STREAMS_A_PAGE}`,
}

const COUNT = {
  name: 'count_to_verify',
  text: `
    select (select count(*) from events) as events, (select count(*) from seals) as seals,
      (select count(*) from streams) as streams`,
}

// Up to the projection's checkpoint, without parked streams. The changes of a task's events are not compared.
const UNEQUAL_ROWS = {
  name: 'unequal_audit_rows',
  text: `
    select coalesce(e.position, a.position) as position, coalesce(e.stream_id, a.stream_id) as stream_id,
      coalesce(e.version, a.version) as version
    from (
        select *, coalesce('task-' || task_id, 'user-' || user_id) as stream_id from audit_events
        where position > $1 and position <= $2) a
      full join (
        select * from events where position > $1 and position <= least($2, (
          select position from projections where name = 'audit'))) e
        using (position)
    where (a.stream_id, a.version, a.type, a.actor_id, a.occurred_at, a.recorded_at, a.request_id, a.hash,
        a.task_id is not null or (a.changes = '{}' and a.undoes is null))
      is distinct from (e.stream_id, e.version, e.type, e.actor_id, e.occurred_at, e.recorded_at,
        e.metadata->>'request_id', e.hash, true)
      and not (a.position is null and exists (
        select from parked_streams p where p.projection = 'audit' and p.stream_id = e.stream_id
          and p.version <= e.version))
    order by 1 limit 1`,
}

type StreamRow = {
  readonly stream_id: string
  readonly stream_type: string
  readonly version: number
  readonly head_hash: string
}

/**
 * Checks every event, every seal and every stream's head, the audit trail's rows, and the records of accesses
 * and security events. Call it in one repeatable-read transaction, so that everything is from one moment. Keeps
 * a little for each stream in memory. `kept`: seals recorded elsewhere, which must be present. Error: `Broken`,
 * at the first event by position that is not as it was.
 */
export async function verifyLog(
  query: Query,
  keys: readonly SealKey[],
  kept: KeptSeals = new Map(),
): Promise<Report & { readonly records: RecordsReport }> {
  const trail = follow({ keys, kept, leftOut: new Set(), whole: true })
  await walk(trail, readEvents(query), readSeals(query))
  await requireStreams(query, trail.streams)
  const report = trail.report()
  await requireAllRead(query, report)
  await requireShown(query, report)
  return { ...report, records: await verifyRecords(query) }
}

async function* readEvents(query: Query): AsyncGenerator<readonly TrailEvent[]> {
  let after = Number.MIN_SAFE_INTEGER
  for (;;) {
    const events = await eventsAfter(query, after, Number.MAX_SAFE_INTEGER, EVENTS_A_PAGE)
    const last = events.at(-1)
    if (last === undefined) return
    yield events
    after = last.position
  }
}

async function* readSeals(query: Query): AsyncGenerator<Seal> {
  let after = 0
  for (;;) {
    const seals = await query<Seal>(READ_SEALS, [after])
    yield* seals
    const last = seals.at(-1)
    if (last === undefined) return
    after = last.number
  }
}

/** Checks that the heads for the next events are the ends of the chains. */
async function requireStreams(query: Query, streams: Trail['streams']): Promise<void> {
  let after: string | null = null
  let found = 0
  for (;;) {
    const rows: readonly StreamRow[] = await query<StreamRow>(READ_STREAMS, [after])
    for (const row of rows) requireStream(row, streams.get(row.stream_id))
    found += rows.length
    const last = rows.at(-1)
    if (last === undefined) break
    after = last.stream_id
  }
  if (found === streams.size) return
  const known = await query<{ stream_id: string }>(
    { name: 'find_streams_to_verify', text: 'select stream_id from streams' },
    [],
  )
  const ids = new Set(known.map(({ stream_id }) => stream_id))
  const [lost] = [...streams].filter(([stream_id]) => !ids.has(stream_id))
  if (lost !== undefined)
    throw new Broken({ stream_id: lost[0] }, 'has events, but no row in streams.')
}

/**
 * Detects rows without a key of their own, or with one that the log never gives: other programs read them.
 */
async function requireAllRead(query: Query, report: Report): Promise<void> {
  const [rows] = await query<Record<'events' | 'seals' | 'streams', number>>(COUNT, [])
  for (const table of ['events', 'seals', 'streams'] as const) {
    const lost = (rows?.[table] ?? 0) - report[table]
    if (lost !== 0) throw new Broken({ table }, `has rows that cannot be read in order: ${lost}.`)
  }
}

/** Checks that the rows that auditors search match the log. */
async function requireShown(query: Query, { position }: Report): Promise<void> {
  let after = Number.MIN_SAFE_INTEGER
  while (after < Number.MAX_SAFE_INTEGER) {
    const next = Math.max(after, 0) + ROWS_A_PAGE
    const upTo = next <= position ? next : Number.MAX_SAFE_INTEGER
    const [row] = await query<Pick<TrailEvent, 'position' | 'stream_id' | 'version'>>(
      UNEQUAL_ROWS,
      [after, upTo],
    )
    if (row !== undefined) {
      throw new Broken(
        placeOf(row),
        'is not in the audit trail as it is in the log: rebuild the trail.',
      )
    }
    after = upTo
  }
}

function requireStream(
  { stream_id, stream_type, version, head_hash }: StreamRow,
  end: Pick<StreamState, 'version' | 'hash'> | undefined,
): void {
  const next = (end?.version ?? 0) + 1
  if (version >= next) {
    const why = `is missing: streams says that the stream ends with version ${version}.`
    throw new Broken({ stream_id, version: next }, why)
  }
  if (version !== end?.version || head_hash !== end.hash) {
    throw new Broken({ stream_id }, 'has another head in streams than its events have.')
  }
  if (!stream_id.startsWith(`${stream_type}-`)) {
    throw new Broken({ stream_id }, `has the type ${stream_type} in streams.`)
  }
}
