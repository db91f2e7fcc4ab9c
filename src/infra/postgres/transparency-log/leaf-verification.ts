import { TILE_WIDTH, widthAt } from '../../../transparency-log/tiles.ts'
import { leafHash } from '../../../transparency-log/tree.ts'
import { eventEntry, recordsEntry } from '../../../verifier/entries.ts'
import { Broken, placeOf } from '../../../verifier/failures.ts'
import type { TrailEvent } from '../../../verifier/formats.ts'
import type { RecordEnds } from '../../../verifier/records.ts'
import type { Trail } from '../../../verifier/trail.ts'
import type { Query } from '../projections/projection.ts'
import type { StoredPlace } from './stored-tree.ts'
import { hashesIn } from './tiles.ts'
import type { VerifiedTree } from './tree-verification.ts'

const BUNDLES_AT_ONCE = 16

const READ_BUNDLES = {
  name: 'read_bundles_to_verify',
  text: `
    select n, places, first_position, hashes
    from log_bundles left join (select n, hashes from log_tiles where level = 0) tile using (n)
    where n >= $1 and n < $1 + ${BUNDLES_AT_ONCE} order by n`,
}
const READ_RECORDS = {
  name: 'read_records_entries',
  text: `
    select leaf, access_id as audit_accesses, security_event_id as security_events,
      encode(digest, 'hex') as digest
    from log_records where leaf >= $1 and leaf < $2`,
}
const COUNT = {
  name: 'count_leaves_to_verify',
  text: `
    select (select count(*) from log_bundles) as log_bundles, (select count(*) from log_records) as log_records`,
}

type Bundle = {
  readonly n: number
  readonly places: readonly StoredPlace[]
  readonly first_position: number | null
  readonly hashes: Buffer | null
}
type RecordsRow = RecordEnds & { readonly leaf: number; readonly digest: string }

type Leaf = {
  readonly index: number
  /** As the tile has it. */
  readonly hash: Buffer
} & (
  | { readonly place: NonNullable<StoredPlace> }
  | { readonly place: null; readonly entry: string | null }
)

export type LeafVerification = {
  readonly query: Query
  readonly trail: Trail
  /** Those after the events that were verified before. */
  readonly events: AsyncIterator<readonly TrailEvent[]>
  readonly tree: VerifiedTree
  readonly checkpoint: { readonly position: number }
}

/**
 * Compares events with the leaves of the log, from the first one on that was not verified before. Returns how many
 * events are not in the log yet. Error: `Broken`, at the first that is not as it was.
 */
export async function verifyLeaves(
  options: LeafVerification,
): Promise<{ readonly unlogged: number }> {
  const { query, trail, events, tree, checkpoint } = options
  const own = tree.begun()
  let [page, at]: [readonly TrailEvent[], number] = [[], 0]
  /** The first leaf that its event does not hash to; with tiles that are not right it may be the tile's fault. */
  let fault: { readonly leaf: Leaf; readonly error: Broken } | undefined
  let records = 0

  const next = async (): Promise<TrailEvent | undefined> => {
    if (at === page.length) [page, at] = [(await events.next()).value ?? [], 0]
    return page[at]
  }
  const differs = (leaf: Leaf, error: Broken) => {
    if (tree.isRight) throw error
    fault ??= { leaf, error }
  }

  for await (const leaf of leavesOf(query, tree.from, tree.size)) {
    if (leaf.place === null) {
      records++
      if (leaf.entry === null) {
        const why =
          'is missing from log_records, which should say what it covers of accesses and security events.'
        throw new Broken({ leaf: leaf.index }, why)
      }
      const hash = leafHash(leaf.entry)
      own.addLeaf(hash)
      const why = 'is changed: what it covers of accesses and security events.'
      if (!hash.equals(leaf.hash)) differs(leaf, new Broken({ leaf: leaf.index }, why))
      continue
    }
    const event = await next()
    const hash = event === undefined ? null : leafHash(eventEntry(event))
    requireInPlace(leaf.place, leaf, event, hash)
    if (event === undefined || hash === null) continue
    trail.add(event)
    own.addLeaf(hash)
    const why = 'is not what was logged: it was rewritten, hash and all.'
    if (!hash.equals(leaf.hash)) differs(leaf, new Broken(placeOf(event), why))
    at++
  }

  if (!tree.isRight) throw faultOf(own.root().equals(tree.root), fault)
  if (tree.from === 0) await requireCounts(query, tree.size, records)
  let unlogged = 0
  for (let event = await next(); event !== undefined; event = await next()) {
    if (event.position <= checkpoint.position) throw notThere(event)
    trail.add(event)
    unlogged++
    at++
  }
  return { unlogged }
}

const notThere = (event: TrailEvent) =>
  new Broken(placeOf(event), 'was not there when the log was signed.')

function requireInPlace(
  [position, stream_id, version]: NonNullable<StoredPlace>,
  { index, hash }: Leaf,
  event: TrailEvent | undefined,
  ownHash: Buffer | null,
): void {
  const isSame =
    event?.position === position && event.stream_id === stream_id && event.version === version
  if (isSame) return
  // The place alone does not prove which event was there; the leaf does.
  if (ownHash?.equals(hash)) {
    const thing = `Bundle ${Math.floor(index / TILE_WIDTH)}`
    throw new Broken(
      { thing },
      `is changed: leaf ${index} of the log is another event than it says.`,
    )
  }
  const place = { stream_id, version, position }
  if (event === undefined || event.position > position) {
    throw new Broken(place, `is missing: it is leaf ${index} of the log.`)
  }
  if (event.position < position) throw notThere(event)
  throw new Broken(
    placeOf(event),
    `is in the place where ${stream_id} version ${version} was logged.`,
  )
}

/** The tiles are not those of the signed root: they, or the events, or both were changed. */
function faultOf(
  eventsAreRight: boolean,
  fault: { readonly leaf: Leaf; readonly error: Broken } | undefined,
): Broken {
  if (fault !== undefined && eventsAreRight) {
    const { index } = fault.leaf
    const thing = `Tile 0/${Math.floor(index / TILE_WIDTH)}`
    return new Broken({ thing }, `is changed: leaf ${index} is not the hash of its event.`)
  }
  if (fault !== undefined) return fault.error
  return new Broken({ thing: 'The checkpoint' }, 'is not of the tree that the log has.')
}

async function* leavesOf(query: Query, from: number, size: number): AsyncGenerator<Leaf> {
  const end = Math.ceil(size / TILE_WIDTH)
  for (let n = Math.floor(from / TILE_WIDTH); n < end; n += BUNDLES_AT_ONCE) {
    const bundles = await query<Bundle>(READ_BUNDLES, [n])
    const rows = await query<RecordsRow>(READ_RECORDS, [
      n * TILE_WIDTH,
      (n + BUNDLES_AT_ONCE) * TILE_WIDTH,
    ])
    const records = new Map(rows.map((row) => [row.leaf, recordsEntry(row)]))
    for (let each = n; each < Math.min(end, n + BUNDLES_AT_ONCE); each++) {
      const bundle = bundles.find((bundle) => bundle.n === each)
      const width = widthAt(size, 0, each)
      requireForm(each, width, bundle)
      const hashes = hashesIn(bundle?.hashes ?? Buffer.alloc(0))
      for (const [at, place] of bundle?.places.entries() ?? []) {
        const index = each * TILE_WIDTH + at
        const leaf = { index, hash: hashes[at] ?? Buffer.alloc(0) }
        if (index < from) continue
        if (place === null) yield { ...leaf, place, entry: records.get(index) ?? null }
        else yield { ...leaf, place }
      }
    }
  }
}

function requireForm(n: number, width: number, bundle: Bundle | undefined): void {
  const broken = (why: string) => new Broken({ thing: `Bundle ${n}` }, why)
  if (bundle === undefined) throw broken('is missing.')
  if (bundle.places.length !== width) {
    throw broken(`has ${bundle.places.length} places, but should have ${width}.`)
  }
  if (!bundle.places.every(isPlace)) throw broken('is changed: it does not name events.')
  const first = bundle.places.find((place) => place !== null)?.[0] ?? null
  if (bundle.first_position !== first) {
    throw broken(`is changed: its first position is not ${first}, but ${bundle.first_position}.`)
  }
}

const isPlace = (place: unknown): boolean =>
  place === null ||
  (Array.isArray(place) &&
    place.length === 3 &&
    Number.isSafeInteger(place[0]) &&
    typeof place[1] === 'string' &&
    Number.isSafeInteger(place[2]))

async function requireCounts(query: Query, size: number, records: number): Promise<void> {
  const [rows] = await query<Record<'log_bundles' | 'log_records', number>>(COUNT, [])
  const wanted = { log_bundles: Math.ceil(size / TILE_WIDTH), log_records: records }
  for (const table of ['log_bundles', 'log_records'] as const) {
    const extra = (rows?.[table] ?? 0) - wanted[table]
    if (extra !== 0) throw new Broken({ table }, `has rows that no leaf has: ${extra}.`)
  }
}
