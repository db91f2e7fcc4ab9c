import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import type {
  LoggedEvent,
  LoggedRecords,
  PublishedCheckpoint,
  RecordsCovered,
  TransparencyLog,
} from '../../../app/ports/transparency-log.ts'
import { type ReadTiles, tileProofs } from '../../../transparency-log/tile-proofs.ts'
import { TILE_WIDTH, widthAt } from '../../../transparency-log/tiles.ts'
import { HASH_BYTES, nodesBetween } from '../../../transparency-log/tree.ts'
import { eventEntry, recordsEntry } from '../../../verifier/entries.ts'
import type { Database } from '../connection/database.ts'
import { sharedStatement } from '../connection/shared-statements.ts'
import { keyOf, tileRows } from './tiles.ts'

const CHECKPOINT = {
  name: 'published_checkpoint',
  text: `
    select published_size as size, published_position as position, published_note as note
    from log_checkpoint where published_note is not null`,
}

const VERIFIER_KEYS = { name: 'verifier_keys', text: 'select verifier_keys from log_checkpoint' }

const ENTRIES = {
  name: 'entries_of_bundle',
  text: `
    select e.position, p.place ->> 1 as stream_id, (p.place ->> 2)::bigint as version,
      encode(e.hash, 'hex') as hash, r.audit_accesses, r.digest, r.security_events
    from log_bundles b
      cross join lateral jsonb_array_elements(b.places) with ordinality as p (place, at)
      left join lateral (
        select position, hash from events where position = (p.place ->> 0)::bigint limit 1) e on true
      left join lateral (
        select access_id as audit_accesses, encode(digest, 'hex') as digest,
          security_event_id as security_events
        from log_records where leaf = b.n * ${TILE_WIDTH} + p.at - 1 limit 1) r on true
    where b.n = $1 and p.at <= $2
    order by p.at`,
}

// The owner by the row, or by the stream's first event when the row is gone. All in one statement: a proof needs no
// other but the one for its tiles.
const EVENT = {
  name: 'event_in_log',
  text: `
    select case
      when stream_id ~ '^user-[0-9]{1,18}$' then substr(stream_id, 6)::bigint
      when stream_id ~ '^task-[0-9]{1,18}$' then coalesce(
        (select user_id from tasks where id = substr(stream_id, 6)::bigint),
        (select (data ->> 'user_id')::bigint from events first
          where first.stream_id = events.stream_id and version = 1)) end as owner_id,
      stream_id, version, encode(hash, 'hex') as hash, leaf, c.*
    from events
      left join lateral (
        select n * ${TILE_WIDTH} + at - 1 as leaf
        from (
            select n, places from log_bundles
            where first_position <= $1 order by first_position desc limit 1) bundle
          cross join lateral jsonb_array_elements(places) with ordinality as each (place, at)
        where (place ->> 0)::bigint = $1) place on true
      left join (${CHECKPOINT.text}) c on true
    where events.position = $1`,
}

// Each bundle is taken apart once, and "is true" keeps the planner from comparing each of its places with each
// position.
const LEAVES = {
  name: 'leaves_of_events',
  text: `
    with wanted as materialized (
      select position, n
      from unnest($1::bigint[]) as asked (position)
        cross join lateral (
          select n from log_bundles
          where first_position <= asked.position order by first_position desc limit 1) bundle)
    select (p.place ->> 0)::bigint as position, b.n * ${TILE_WIDTH} + p.at - 1 as leaf
    from (select distinct n from wanted) b
      cross join lateral (select places from log_bundles where n = b.n limit 1) bundle
      cross join lateral jsonb_array_elements(bundle.places) with ordinality as p (place, at)
    where ((p.place ->> 0)::bigint in (select position from wanted)) is true`,
}

const RECORDS = {
  name: 'records_in_log',
  text: `
    select leaf, access_id as audit_accesses, encode(digest, 'hex') as digest,
      security_event_id as security_events
    from log_records where leaf >= $1 and leaf < $2 order by leaf limit 1000`,
}

const ENDS = { audit_accesses: 'access_id', security_events: 'security_event_id' } as const

const leavesOfRecords = (table: keyof RecordsCovered) => ({
  name: `leaves_of_${table}`,
  text: `
    select id, leaf from unnest($1::bigint[]) as asked (id)
      cross join lateral (
        select leaf from log_records where ${ENDS[table]} >= asked.id
        order by ${ENDS[table]}, leaf limit 1) first`,
})

const MARKED_RECORDS = {
  name: 'marked_records',
  text: `
    select leaf, access_id as audit_accesses, encode(digest, 'hex') as digest,
      security_event_id as security_events, marks
    from log_records where leaf = any ($1) order by leaf`,
}

const RECORDS_COVERED = {
  name: 'records_covered',
  text: `
    select access_id as audit_accesses, security_event_id as security_events
    from log_records where leaf < $1 order by leaf desc limit 1`,
}

const POLL_MS = 50
const CACHE_BYTES = 8 * 1024 * 1024
const FULL = TILE_WIDTH * HASH_BYTES
/** Events that may all be in different bundles, which takes the database a third of a millisecond each. */
const LEAVES_AT_ONCE = 500
/** Ranges whose hashes are made in one turn of the event loop: half a millisecond each if they are long. */
const RANGES_AT_ONCE = 50

type EntryRow = {
  /** Null: accesses and security events. */
  readonly stream_id: string | null
  readonly version: number
  /** Null: the event is not there any more. */
  readonly position: number | null
  readonly hash: string
} & LoggedRecords
type EventRow = {
  readonly owner_id: number | null
  readonly stream_id: string
  readonly version: number
  readonly hash: string
  /** Null: it is none yet. */
  readonly leaf: number | null
} & (PublishedCheckpoint | Record<keyof PublishedCheckpoint, null>)

/** What the worker has written of the log, as far as it is published. Full tiles are kept in memory. */
export function postgresTransparencyLog(db: Database): TransparencyLog {
  const full = new LRUCache<string, Buffer>({
    maxSize: CACHE_BYTES,
    sizeCalculation: ({ length }) => length,
  })
  const read = tileReader(db, full)
  const proofs = tileProofs(read)

  const checkpoint = sharedStatement<void, PublishedCheckpoint | null>(async (asked) => {
    const [row] = await db.query<PublishedCheckpoint>(CHECKPOINT, [])
    return asked.map(() => row ?? null)
  })
  const publishedSize = async () => (await checkpoint())?.size ?? 0

  const covered = async (size: number): Promise<RecordsCovered> => {
    const [row] = await db.query<RecordsCovered>(RECORDS_COVERED, [size])
    return row ?? { audit_accesses: 0, security_events: 0 }
  }

  /** The first that is enough, or after `ms` the last that there is. */
  async function checkpointWhen(
    isEnough: (found: PublishedCheckpoint) => boolean | Promise<boolean>,
    ms: number,
  ): Promise<PublishedCheckpoint | null> {
    const deadline = performance.now() + ms
    for (;;) {
      const found = await checkpoint()
      if (found === null || (await isEnough(found)) || performance.now() >= deadline) return found
      await sleep(POLL_MS)
    }
  }

  return {
    checkpoint,

    checkpointAt: (position, ms) => checkpointWhen((found) => found.position >= position, ms),

    checkpointOfRecord: ({ table, id }, ms) =>
      checkpointWhen(async ({ size }) => (await covered(size))[table] >= id, ms),

    async verifierKeys() {
      const [row] = await db.query<{ verifier_keys: string | null }>(VERIFIER_KEYS, [])
      return row?.verifier_keys ?? null
    },

    async tile({ level, n, width }) {
      if (width > widthAt(await publishedSize(), level, n)) return null
      const [hashes] = await read([{ level, n }])
      return hashes?.subarray(0, width * HASH_BYTES) ?? null
    },

    async entries({ n, width }) {
      if (width > widthAt(await publishedSize(), 0, n)) return null
      const rows = await db.query<EntryRow>(ENTRIES, [n, width])
      return rows.map(entryOf)
    },

    async consistency(from, to) {
      return to > (await publishedSize()) ? null : proofs.consistency(from, to)
    },

    async eventAt(position) {
      const [row] = await db.query<EventRow>(EVENT, [position])
      if (row === undefined || row.owner_id === null) return null
      return { owner_id: row.owner_id, logged: loggedEvent(position, row) }
    },

    inclusion: proofs.inclusion,

    async leavesOf(positions, size) {
      const found = new Map<number, number>()
      for (let at = 0; at < positions.length; at += LEAVES_AT_ONCE) {
        const some = positions.slice(at, at + LEAVES_AT_ONCE)
        const rows = await db.query<{ position: number; leaf: number }>(LEAVES, [some])
        for (const { position, leaf } of rows) found.set(position, leaf)
      }
      return positions.map((position) => {
        const leaf = found.get(position)
        return leaf === undefined || leaf >= size ? null : leaf
      })
    },

    async recordsIn([from, to]) {
      const rows = await db.query<LoggedRecords & { leaf: number }>(RECORDS, [from, to])
      return rows.map(({ leaf, ...records }) => ({ leaf, records }))
    },

    async leavesOfRecords(table, ids, size) {
      const rows = await db.query<{ id: number; leaf: number }>(leavesOfRecords(table), [ids])
      const found = new Map(rows.map(({ id, leaf }) => [id, leaf]))
      return ids.map((id) => {
        const leaf = found.get(id)
        return leaf === undefined || leaf >= size ? null : leaf
      })
    },

    async markedRecords(leaves) {
      type Row = LoggedRecords & { readonly leaf: number; readonly marks: Buffer }
      const rows = await db.query<Row>(MARKED_RECORDS, [leaves])
      return rows.map(({ leaf, marks, ...records }) => ({ leaf, records, marks }))
    },

    recordsCovered: covered,

    async hashesOf(ranges) {
      // One that still grows is in no cache.
      const growing = new Map<string, Buffer>()
      const { nodes } = tileProofs(tileReader(db, full, growing))
      const found: (readonly Buffer[])[] = []
      for (let at = 0; at < ranges.length; at += RANGES_AT_ONCE) {
        if (at > 0) await turn()
        const wanted = ranges.slice(at, at + RANGES_AT_ONCE).map((range) => nodesBetween(...range))
        const hashes = await nodes(wanted.flat())
        let end = 0
        for (const { length } of wanted) {
          end += length
          found.push(hashes.slice(end - length, end))
        }
      }
      return found
    },
  }
}

function loggedEvent(at: number, row: EventRow): LoggedEvent | null {
  const { leaf, stream_id, version, hash } = row
  if (leaf === null || row.size === null || leaf >= row.size) return null
  const { size, position, note } = row
  const entry = eventEntry({ position: at, stream_id, version, hash })
  return { index: leaf, entry, checkpoint: { size, position, note } }
}

function entryOf(row: EntryRow): string {
  const { stream_id, position, version, hash, audit_accesses, digest, security_events } = row
  if (stream_id === null) return recordsEntry({ audit_accesses, digest, security_events })
  if (position === null)
    throw new Error(`${stream_id} version ${version} is not in the log any more`)
  return eventEntry({ hash, position, stream_id, version })
}

type Known = {
  get(key: string): Buffer | undefined
  set(key: string, hashes: Buffer): unknown
}

/** A full tile never changes. `growing`: where the others are kept meanwhile. */
function tileReader(db: Database, full: Known, growing?: Known): ReadTiles {
  return async (tiles) => {
    const found = new Map<string, Buffer>()
    for (const key of tiles.map(keyOf)) {
      const known = full.get(key) ?? growing?.get(key)
      if (known !== undefined) found.set(key, known)
    }
    const wanted = tiles.filter((tile) => !found.has(keyOf(tile)))
    const rows = wanted.length === 0 ? [] : await tileRows(db.query, wanted)
    for (const row of rows) {
      found.set(keyOf(row), row.hashes)
      const kept = row.hashes.length === FULL ? full : growing
      kept?.set(keyOf(row), row.hashes)
    }
    return tiles.map((tile) => {
      const hashes = found.get(keyOf(tile))
      if (hashes === undefined) throw new Error(`tile ${keyOf(tile)} of the log is missing`)
      return hashes
    })
  }
}
