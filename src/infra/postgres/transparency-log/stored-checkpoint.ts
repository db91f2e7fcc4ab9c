import { parseCheckpoint } from '../../../transparency-log/checkpoint.ts'
import type { VerifierKey } from '../../../transparency-log/keys.ts'
import { readNote, verifiedBy } from '../../../transparency-log/signed-note.ts'
import { type TileProofs, tileProofs } from '../../../transparency-log/tile-proofs.ts'
import { TILE_WIDTH } from '../../../transparency-log/tiles.ts'
import { isConsistent, leafHash } from '../../../transparency-log/tree.ts'
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

const FACTS = `
  select size, root, position, access_id as audit_accesses, security_event_id as security_events, note
  from log_checkpoint`

const LOOK = {
  name: 'look_at_log',
  text: `
    with last as (${FACTS})
    select *,
      exists (select from events e where e.position > last.position)
        or exists (select from audit_accesses a where a.id > last.audit_accesses)
        or exists (select from security_events s where s.id > last.security_events) as has_news
    from last`,
}

// No other writer, and no other hand, changes it until this transaction ends.
const LOCK = { name: 'lock_checkpoint', text: `${FACTS} for update` }

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
      r.leaf as records_leaf, coalesce(r.access_id, 0) as audit_accesses,
      coalesce(r.security_event_id, 0) as security_events, encode(r.digest, 'hex') as digest
    from (select) one left join place p on true left join events e using (position) left join records r on true`,
}

type Ends = RecordEnds & {
  readonly leaf: number | null
  readonly position: number
  readonly stream_id: string
  readonly version: number
  readonly hash: string | null
  readonly records_leaf: number | null
  readonly digest: string
}

export type StoredCheckpoints = {
  /** Without a lock: whether it is not the known one, or there is something that its leaves do not have. */
  readonly hasNews: (query: Query, known: Known | undefined) => Promise<boolean>
  /**
   * Locks it until the transaction ends, and compares it with all that it can be compared with: what is known, its
   * note, its tiles, and what its last leaves stand for. Error: `LogChanged`.
   */
  readonly lock: (query: Query, known: Known | undefined) => Promise<CheckpointRow>
}

/** The row of the last checkpoint that was signed, of the log of that name. `keys`: those that may have signed it. */
export const storedCheckpoints = (
  origin: string,
  keys: readonly VerifierKey[],
): StoredCheckpoints => ({
  async hasNews(query, known) {
    const [row] = await query<CheckpointRow & { readonly has_news: boolean }>(LOOK, [])
    const isKnown = row !== undefined && known?.size === row.size && known.root.equals(row.root)
    return !isKnown || row.has_news || row.note === null
  },

  async lock(query, known) {
    const proofs = storedProofs(query)
    const [row] = await query<CheckpointRow>(LOCK, [])
    if (row === undefined) throw new LogChanged('the checkpoint is missing')
    if (known !== undefined) await requireExtends(row, known, proofs)
    requireSigned(row, origin, keys)
    await requireEnds(query, row, proofs)
    return row
  },
})

async function requireExtends(
  row: CheckpointRow,
  { size, root }: Known,
  proofs: StoredProofs,
): Promise<void> {
  const seen = root.toString('base64')
  if (row.size < size) {
    throw new LogChanged(`it has ${row.size} leaves, but had ${size}: ${seen}`)
  }
  const proof = row.size === size ? [] : await proofs.consistency(size, row.size)
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
async function requireEnds(query: Query, row: CheckpointRow, proofs: StoredProofs): Promise<void> {
  const [ends] = await query<Ends>(ENDS, [])
  const names = ['position', 'audit_accesses', 'security_events'] as const
  const other = names.find((name) => ends?.[name] !== row[name])
  if (ends === undefined || other !== undefined) {
    throw new LogChanged(`its leaves do not end where it says (${other})`)
  }
  const leaves: (readonly [leaf: number, entry: string])[] = []
  if (ends.leaf !== null) leaves.push([ends.leaf, eventEntry({ ...ends, hash: ends.hash ?? '' })])
  if (ends.records_leaf !== null) leaves.push([ends.records_leaf, recordsEntry(ends)])
  const hashes = await proofs.nodes(leaves.map(([index]) => ({ level: 0, index })))
  for (const [at, [leaf, entry]] of leaves.entries()) {
    if (!hashes[at]?.equals(leafHash(entry))) {
      throw new LogChanged(`leaf ${leaf} is not the hash of what is stored for it`)
    }
  }
}

type StoredProofs = Pick<TileProofs, 'consistency' | 'nodes'>

/** Proofs from the stored tiles. Error: `LogChanged`, if one is too short. */
export function storedProofs(query: Query): StoredProofs {
  const { consistency, nodes } = tileProofs(readTiles(query))
  const asChanged = (error: unknown) => {
    throw error instanceof RangeError ? new LogChanged(error.message) : error
  }
  return {
    consistency: (...asked) => consistency(...asked).catch(asChanged),
    nodes: (...asked) => nodes(...asked).catch(asChanged),
  }
}
