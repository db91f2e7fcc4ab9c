import { tileProofs } from '../../../transparency-log/tile-proofs.ts'
import { hashIn, TILE_WIDTH, widthAt } from '../../../transparency-log/tiles.ts'
import {
  type GrowingTree,
  growingTree,
  HASH_BYTES,
  isConsistent,
  nodesBetween,
  rootOf,
} from '../../../transparency-log/tree.ts'
import { Broken } from '../../../verifier/failures.ts'
import type { Query } from '../projections/projection.ts'
import { hashesIn, readTiles } from './tiles.ts'

export type SignedTree = { readonly size: number; readonly root: Buffer }

export type VerifiedTree = SignedTree & {
  /** Leaves that were verified before. */
  readonly from: number
  /** A new tree of them, for those who add the others. */
  readonly begun: () => GrowingTree
  /** Whether the stored hashes of leaves are those of the signed root. */
  readonly isRight: boolean
}

const TILES_AT_ONCE = 64
const OUTERMOST = 7

const COUNT_TILES = {
  name: 'count_tiles_to_verify',
  text: 'select count(*) as tiles from log_tiles',
}

const brokenTile = (level: number, n: number, why: string) =>
  new Broken({ thing: `Tile ${level}/${n}` }, why)

/**
 * Checks that the stored tiles are the signed tree, and that it extends the ones that were kept. Whether a leaf's
 * hash is that of its event is not looked at. Error: `Broken`.
 */
export async function verifyTree(
  query: Query,
  signed: SignedTree,
  kept: readonly SignedTree[],
  since: SignedTree | undefined,
): Promise<VerifiedTree> {
  const { size, root } = signed
  const proofs = tileProofs(readTiles(query))
  const lost = (error: unknown) => {
    throw error instanceof RangeError
      ? new Broken({ thing: 'The log' }, `lacks a tile or a part of one: ${error.message}.`)
      : error
  }
  for (const { size: from } of kept) {
    if (from > size) {
      const why = `has ${size} leaves, but had ${from} before: its end was cut off, or an earlier state put back.`
      throw new Broken({ thing: 'The log' }, why)
    }
  }
  const from = since?.size ?? 0
  const before = nodesBetween(0, from)
  const hashes = await proofs.nodes(before).catch(lost)
  if (since !== undefined && !rootOf(hashes).equals(since.root)) {
    const why = `does not extend the ${from} leaves that were verified before.`
    throw new Broken({ thing: 'The log' }, why)
  }
  const begun = () => {
    const tree = growingTree()
    for (const [at, { level }] of before.entries()) tree.addNode(level, hashes[at] as Buffer)
    return tree
  }
  const tree = begun()
  let full = await readLeafHashes(query, from, size, tree)
  const isRight = tree.root().equals(root)
  for (let level = 1; level <= OUTERMOST && isRight; level++) {
    full = await requireLevel(query, level, from, size, full)
  }
  if (isRight) await requireKept(kept, signed, (at) => proofs.consistency(at, size).catch(lost))
  if (since === undefined) await requireCount(query, size)
  return { size, root, from, begun, isRight }
}

async function requireKept(
  kept: readonly SignedTree[],
  { size, root }: SignedTree,
  prove: (from: number) => Promise<readonly Buffer[]>,
): Promise<void> {
  for (const { size: from, root: fromRoot } of kept) {
    const proof = from === 0 || from === size ? [] : await prove(from)
    if (isConsistent({ from, fromRoot, to: size, toRoot: root, proof })) continue
    const why = `does not extend the one that was kept, of ${from} leaves with the root ${fromRoot.toString('base64')}.`
    throw new Broken({ thing: 'The log' }, why)
  }
}

/** Adds the hashes of leaves to the tree. Returns those of the tiles that are full by now, from the first new one on. */
async function readLeafHashes(
  query: Query,
  from: number,
  size: number,
  tree: GrowingTree,
): Promise<readonly Buffer[]> {
  const full: Buffer[] = []
  for await (const { n, hashes } of tilesOf(query, 0, from, size)) {
    for (const hash of hashesIn(hashes).slice(Math.max(0, from - n * TILE_WIDTH)))
      tree.addLeaf(hash)
    if (hashes.length === TILE_WIDTH * HASH_BYTES) full.push(hashIn(hashes, 0, TILE_WIDTH))
  }
  return full
}

/** Compares a level with what the full tiles below it hash to. Returns what its own full tiles do. */
async function requireLevel(
  query: Query,
  level: number,
  from: number,
  size: number,
  below: readonly Buffer[],
): Promise<readonly Buffer[]> {
  const full: Buffer[] = []
  const first = Math.floor(from / TILE_WIDTH ** level)
  for await (const { n, hashes } of tilesOf(query, level, from, size)) {
    const stored = hashesIn(hashes)
    for (const [at, hash] of stored.entries()) {
      const wanted = below[n * TILE_WIDTH + at - first]
      if (wanted !== undefined && !wanted.equals(hash)) {
        throw brokenTile(level, n, 'is changed: it does not have the hashes of the tiles below it.')
      }
    }
    if (stored.length === TILE_WIDTH) full.push(hashIn(hashes, 0, TILE_WIDTH))
  }
  return full
}

/** The tiles of a level that have grown since. Error: `Broken`, if one is not as wide as it should be. */
async function* tilesOf(query: Query, level: number, from: number, size: number) {
  const read = readTiles(query)
  const wide = TILE_WIDTH ** (level + 1)
  const end = Math.ceil(Math.floor(size / TILE_WIDTH ** level) / TILE_WIDTH)
  for (let n = Math.floor(from / wide); n < end; n += TILES_AT_ONCE) {
    const count = Math.min(TILES_AT_ONCE, end - n)
    const wanted = Array.from({ length: count }, (_, at) => ({ level, n: n + at }))
    for (const [at, hashes] of (await read(wanted)).entries()) {
      const width = widthAt(size, level, n + at)
      if (hashes.length !== width * HASH_BYTES) {
        throw brokenTile(
          level,
          n + at,
          `has ${hashes.length / HASH_BYTES} hashes, but should have ${width}.`,
        )
      }
      yield { n: n + at, hashes }
    }
  }
}

async function requireCount(query: Query, size: number): Promise<void> {
  let wanted = 0
  for (let level = 0; level <= OUTERMOST; level++) {
    wanted += Math.ceil(Math.floor(size / TILE_WIDTH ** level) / TILE_WIDTH)
  }
  const [row] = await query<{ tiles: number }>(COUNT_TILES, [])
  const extra = (row?.tiles ?? 0) - wanted
  if (extra !== 0) throw new Broken({ table: 'log_tiles' }, `has rows that no tree has: ${extra}.`)
}
