import { parseCheckpoint } from '../../../transparency-log/checkpoint.ts'
import type { VerifierKey } from '../../../transparency-log/keys.ts'
import { readNote, verifiedBy } from '../../../transparency-log/signed-note.ts'
import { type TileProofs, tileProofs } from '../../../transparency-log/tile-proofs.ts'
import { TILE_WIDTH } from '../../../transparency-log/tiles.ts'
import { HASH_BYTES, isConsistent, leafHash } from '../../../transparency-log/tree.ts'
import { eventEntry, recordsEntry } from '../../../verifier/entries.ts'
import type { RecordEnds } from '../../../verifier/records.ts'
import type { Query } from '../projections/projection.ts'
import { LogChanged } from './checkpoint-refused.ts'
import { readTiles } from './tiles.ts'

export type CheckpointRow = RecordEnds & {
  readonly size: number
  readonly root: Buffer
  readonly position: number
  readonly note: string | null
}
/** What a process has seen stored. */
export type Known = Pick<CheckpointRow, 'size' | 'root'>

/** A checkpoint that is locked. `safe`: no event will be added at or below that position any more. */
export type Locked = CheckpointRow & { readonly safe: number }

// The greatest ids, because `exists` with a bound that the planner does not know scans tables from their beginning.
const LOOK = {
  name: 'look_at_log',
  text: `
    select size, root, note,
      coalesce((select max(position) from events) > position, false) as events,
      coalesce((select max(id) from audit_accesses) > access_id, false)
        or coalesce((select max(id) from security_events) > security_event_id, false) as records
    from log_checkpoint`,
}

// No other writer, and no other hand, changes it until this transaction ends. Events are read after the safe position,
// by a statement of their own.
const LOCK = {
  name: 'lock_checkpoint',
  text: `
    select size, root, position, access_id as audit_accesses, security_event_id as security_events, note,
      safe_position() as safe
    from log_checkpoint for update`,
}

const hashOf = (leaf: string) => `
  (select substr(hashes, (${leaf} % ${TILE_WIDTH})::int * ${HASH_BYTES} + 1, ${HASH_BYTES}) from log_tiles
    where level = 0 and n = ${leaf} / ${TILE_WIDTH})`

// The last leaf of an event, and the last one of records.
const ENDS = {
  name: 'ends_of_log',
  text: `
    with bundle as (
        select n, places from log_bundles where first_position is not null
        order by first_position desc limit 1),
      place as (
        select n * ${TILE_WIDTH} + at - 1 as leaf, (place->>0)::bigint as position, place->>1 as stream_id,
          (place->>2)::bigint as version
        from bundle, jsonb_array_elements(places) with ordinality as each (place, at)
        where place <> 'null' order by at desc limit 1),
      records as (select * from log_records order by leaf desc limit 1)
    select p.leaf, coalesce(p.position, 0) as position, p.stream_id, p.version, encode(e.hash, 'hex') as hash,
      ${hashOf('p.leaf')} as leaf_hash, r.leaf as records_leaf, ${hashOf('r.leaf')} as records_hash, coalesce(r.access_id, 0) as audit_accesses,
      coalesce(r.security_event_id, 0) as security_events, encode(r.digest, 'hex') as digest
    from (select) one left join place p on true left join events e using (position) left join records r on true`,
}

type Ends = RecordEnds & {
  readonly leaf: number | null
  readonly position: number
  readonly stream_id: string
  readonly version: number
  readonly hash: string | null
  /** As the tile has it; shorter or null: it has none. */
  readonly leaf_hash: Buffer | null
  readonly records_leaf: number | null
  readonly records_hash: Buffer | null
  readonly digest: string
}

export type StoredCheckpoints = {
  /** Without a lock: what its leaves may not have, which is everything if it is not the known one. */
  readonly look: (query: Query, known: Known | undefined) => Promise<News>
  /**
   * Locks it until the transaction ends, and compares it with all that it can be compared with: what is known, its
   * note, its tiles, and what its last leaves stand for. Error: `LogChanged`.
   */
  readonly lock: (query: Query, known: Known | undefined) => Promise<Locked>
}

export type News = { readonly events: boolean; readonly records: boolean }

/** The row of the last checkpoint that was signed, of the log of that name. `keys`: those that may have signed it. */
export const storedCheckpoints = (
  origin: string,
  keys: readonly VerifierKey[],
): StoredCheckpoints => ({
  async look(query, known) {
    const [row] = await query<Pick<CheckpointRow, 'size' | 'root' | 'note'> & News>(LOOK, [])
    const isKnown = row !== undefined && known?.size === row.size && known.root.equals(row.root)
    return isKnown && row.note !== null ? row : { events: true, records: true }
  },

  async lock(query, known) {
    const [row] = await query<Locked>(LOCK, [])
    if (row === undefined) throw new LogChanged('the checkpoint is missing')
    if (known !== undefined) await requireExtends(query, row, known)
    requireSigned(row, origin, keys)
    await requireEnds(query, row)
    return row
  },
})

async function requireExtends(
  query: Query,
  row: CheckpointRow,
  { size, root }: Known,
): Promise<void> {
  const seen = root.toString('base64')
  if (row.size < size) {
    throw new LogChanged(`it has ${row.size} leaves, but had ${size}: ${seen}`)
  }
  const proof = row.size === size ? [] : await storedProofs(query).consistency(size, row.size)
  if (!isConsistent({ from: size, fromRoot: root, to: row.size, toRoot: row.root, proof })) {
    throw new LogChanged(`it does not extend ${size} leaves with the root ${seen}`)
  }
}

function requireSigned(
  { size, root, note }: CheckpointRow,
  origin: string,
  keys: readonly VerifierKey[],
): void {
  if (note === null && size === 0) return
  const read = readNote(note ?? '')
  const checkpoint = read && parseCheckpoint(read.text)
  if (!checkpoint) throw new LogChanged('its note is damaged')
  if (checkpoint.origin !== origin) {
    throw new LogChanged(`it is of the log ${checkpoint.origin}, not of ${origin} (LOG_ORIGIN)`)
  }
  if (checkpoint.size !== size || !checkpoint.root.equals(root)) {
    throw new LogChanged(
      `its note is not of ${size} leaves with the root ${root.toString('base64')}`,
    )
  }
  if (!verifiedBy(read, keys)?.length) throw new LogChanged('its note is not signed by our key')
}

/** Otherwise what is in the log already would be added again, or what is not would be left out. */
async function requireEnds(query: Query, row: CheckpointRow): Promise<void> {
  const [ends] = await query<Ends>(ENDS, [])
  const names = ['position', 'audit_accesses', 'security_events'] as const
  const other = names.find((name) => ends?.[name] !== row[name])
  if (ends === undefined || other !== undefined) {
    throw new LogChanged(`its leaves do not end where it says (${other})`)
  }
  const { leaf, leaf_hash, records_leaf, records_hash } = ends
  if (leaf !== null) requireLeaf(leaf, leaf_hash, eventEntry({ ...ends, hash: ends.hash ?? '' }))
  if (records_leaf !== null) requireLeaf(records_leaf, records_hash, recordsEntry(ends))
}

function requireLeaf(leaf: number, hash: Buffer | null, entry: string): void {
  if (hash?.length !== HASH_BYTES)
    throw new LogChanged(`the tile of leaf ${leaf} has no hash of it`)
  if (hash.equals(leafHash(entry))) return
  throw new LogChanged(`leaf ${leaf} is not the hash of what is stored for it`)
}

/** Proofs from the stored tiles. Error: `LogChanged`, if one is too short. */
export function storedProofs(query: Query): Pick<TileProofs, 'consistency'> {
  const { consistency } = tileProofs(readTiles(query))
  return {
    consistency: (...asked) =>
      consistency(...asked).catch((error: unknown) => {
        throw error instanceof RangeError ? new LogChanged(error.message) : error
      }),
  }
}
