import { TILE_WIDTH } from '../../../transparency-log/tiles.ts'
import { openCheckpoint, type SignedCheckpoint } from '../../../verifier/checkpoints.ts'
import { Broken, placeOf } from '../../../verifier/failures.ts'
import type { TrailEvent } from '../../../verifier/formats.ts'
import { follow, type Report, type StreamState, type Trail } from '../../../verifier/trail.ts'
import type { Trust } from '../../../verifier/trust.ts'
import type { Query } from '../projections/projection.ts'
import { eventsAfter } from './exact-rows.ts'
import { verifyLeaves } from './leaf-verification.ts'
import { type RecordsReport, verifyRecords } from './logged-records.ts'
import { requireRoles } from './role-verification.ts'
import { requireAllRead, requireStreams } from './stream-verification.ts'
import { type SignedTree, verifyTree } from './tree-verification.ts'

const EVENTS_A_PAGE = 500
const ROWS_A_PAGE = 5_000

const READ_CHECKPOINT = {
  name: 'read_checkpoint_to_verify',
  text: 'select size, root, position, note, published_size, published_note from log_checkpoint',
}

const READ_HEADS = {
  name: 'read_heads_to_verify',
  text: `
    select stream_id, version, position, encode(hash, 'hex') as hash
    from unnest($1::text[], $2::bigint[]) as wanted (stream_id, version)
      join events using (stream_id, version)`,
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
        a.task_id is not null or (a.undoes is null and a.changes
          = case e.type when 'UserRoleChanged' then jsonb_build_object('role', e.data) else '{}' end))
      is distinct from (e.stream_id, e.version, e.type, e.actor_id, e.occurred_at, e.recorded_at,
        e.metadata->>'request_id', e.hash, true)
      and not (a.position is null and exists (
        select from parked_streams p where p.projection = 'audit' and p.stream_id = e.stream_id
          and p.version <= e.version))
    order by 1 limit 1`,
}

type CheckpointRow = {
  readonly size: number
  readonly root: Buffer
  readonly position: number
  readonly note: string | null
  readonly published_size: number
  readonly published_note: string | null
}

export type VerifyOptions = {
  /** Who may sign for the log, and who has to cosign what is published. */
  readonly trust: Trust
  /** The log must extend all of these, which were right when they were kept. */
  readonly kept?: readonly SignedTree[]
  /** What has been verified before, and is not read again. @default nothing */
  readonly since?: SignedTree | undefined
}

export type LogReport = Report & {
  /** As it is signed; null if nothing is yet. */
  readonly checkpoint: { readonly note: string; readonly log: SignedCheckpoint } | null
  /** As it is shown to others. */
  readonly published: SignedCheckpoint | null
  /** Leaves in all, and those of them that were verified before. */
  readonly size: number
  readonly before: number
  /** Of the events those that are not in the log yet. */
  readonly unlogged: number
  readonly records: RecordsReport
}

/**
 * Checks the log in the database: its checkpoint, its tiles, every event and its place in the log, every stream's
 * head, the audit trail's rows, users' roles, and the records of accesses and security events. Call it in one repeatable-read
 * transaction, so that everything is from one moment. Keeps a little for each stream in memory. Error: `Broken`, at
 * the first event by position that is not as it was.
 */
export async function verifyLog(query: Query, options: VerifyOptions): Promise<LogReport> {
  const { trust, kept = [], since } = options
  const [row] = await query<CheckpointRow>(READ_CHECKPOINT, [])
  if (row === undefined) throw broken('is missing.')
  const signed = checkSigned(row, trust)
  const published = checkPublished(row, trust)
  const all = since === undefined ? kept : [since, ...kept]
  const shown = published === null ? [] : [published]
  const tree = await verifyTree(query, row, [...all, ...shown], since)
  const trail = follow()
  const after =
    since === undefined ? Number.MIN_SAFE_INTEGER : await positionBefore(query, since.size)
  const events = readEvents(query, trail, after)
  const { unlogged } = await verifyLeaves({ query, trail, events, tree, checkpoint: row })
  await requireStreams(query, trail.streams, since !== undefined)
  if (since === undefined) await requireAllRead(query, trail.report())
  await requireShown(query, trail.report(), after)
  await requireRoles(query)
  const records = await verifyRecords(query, since?.size)
  const checkpoint = signed && { note: row.note ?? '', log: signed }
  const before = since?.size ?? 0
  return { ...trail.report(), checkpoint, published, size: row.size, before, unlogged, records }
}

const broken = (why: string) => new Broken({ thing: 'The checkpoint' }, why)

/** The log's own signature: witnesses sign what is published. */
function checkSigned({ note, size, root }: CheckpointRow, trust: Trust): SignedCheckpoint | null {
  if (note === null && size === 0) return null
  if (note === null) throw broken(`of ${size} leaves is not signed.`)
  const log = openCheckpoint(note, { ...trust, witnesses: [], quorum: 0 })
  if (log.size !== size || !log.root.equals(root)) {
    throw broken(`is changed: its note is of ${log.size} leaves, or of another root.`)
  }
  return log
}

function checkPublished(row: CheckpointRow, trust: Trust): SignedCheckpoint | null {
  const { published_note: note, published_size: size } = row
  if (note === null && size === 0) return null
  if (note === null) throw broken(`was published with ${size} leaves, but no note.`)
  const log = openCheckpoint(note, trust)
  if (log.size !== size)
    throw broken(`is changed: it was published with ${log.size} leaves, not ${size}.`)
  if (size > row.size) throw broken(`was published with ${size} leaves, and has ${row.size}.`)
  return log
}

const POSITION_BEFORE = {
  name: 'position_before_leaf',
  text: `
    select (place->>0)::bigint as position
    from log_bundles, jsonb_array_elements(places) with ordinality as each (place, at)
    where n <= ($1 - 1) / ${TILE_WIDTH} and first_position is not null and place <> 'null' and n * ${TILE_WIDTH} + at <= $1
    order by n desc, at desc limit 1`,
}

/** The position of the last event among the first leaves. */
async function positionBefore(query: Query, size: number): Promise<number> {
  const [row] = await query<{ position: number }>(POSITION_BEFORE, [size])
  return row?.position ?? 0
}

async function* readEvents(
  query: Query,
  trail: Trail,
  from: number,
): AsyncGenerator<readonly TrailEvent[]> {
  const isWhole = from === Number.MIN_SAFE_INTEGER
  for (let after = from; ; ) {
    const events = await eventsAfter(query, after, Number.MAX_SAFE_INTEGER, EVENTS_A_PAGE)
    const last = events.at(-1)
    if (last === undefined) return
    if (!isWhole) await begin(query, trail, events)
    yield events
    after = last.position
  }
}

/** For streams whose beginnings were verified before: what their first event here must be chained to. */
async function begin(query: Query, trail: Trail, events: readonly TrailEvent[]): Promise<void> {
  const first = new Map<string, number>()
  for (const { stream_id, version } of events) {
    if (!trail.streams.has(stream_id) && !first.has(stream_id)) first.set(stream_id, version)
  }
  const later = [...first].filter(([, version]) => version > 1)
  if (later.length === 0) return
  type Head = Pick<StreamState, 'version' | 'position'> & {
    readonly stream_id: string
    readonly hash: string
  }
  const heads = await query<Head>(READ_HEADS, [
    later.map(([stream_id]) => stream_id),
    later.map(([, version]) => version - 1),
  ])
  for (const { stream_id, ...head } of heads) trail.begin(stream_id, head)
}

/** Checks that the rows that auditors search match the log. */
async function requireShown(query: Query, { position }: Report, from: number): Promise<void> {
  let after = from
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
