import { parseCheckpoint } from '../../src/transparency-log/checkpoint.ts'
import { readBundle } from '../../src/transparency-log/entry-bundle.ts'
import { parseVerifierKey } from '../../src/transparency-log/keys.ts'
import { utf8 } from '../../src/transparency-log/lines.ts'
import { readNote, verifiedBy } from '../../src/transparency-log/signed-note.ts'
import { hashIn, TILE_WIDTH, type Tile, widthAt } from '../../src/transparency-log/tiles.ts'
import {
  growingTree,
  HASH_BYTES,
  isConsistent,
  leafHash,
  rootOfInclusion,
} from '../../src/transparency-log/tree.ts'
import {
  type CheckpointClaim,
  type Claim,
  refused,
  type TilesClaim,
  type Verdict,
} from './claims.ts'
import { filesOf, type LogFiles } from './log-files.ts'

/** What Tasktrail's own code says. */
export async function ours(claim: Claim): Promise<Verdict> {
  switch (claim.kind) {
    case 'checkpoint':
      return checkpoint(claim)
    case 'inclusion': {
      const root = rootOfInclusion({ ...claim, leaf: leafHash(claim.entry) })
      return root?.equals(claim.root) ? 'ok' : refused('another root')
    }
    case 'consistency':
      return isConsistent(claim) ? 'ok' : refused('not consistent')
    case 'tiles':
      return tiles(claim)
  }
}

function checkpoint({ note, key: text }: CheckpointClaim): Verdict {
  const key = parseVerifierKey(text)
  const read = readNote(utf8(note) ?? '')
  if (!key || !read) return refused('not a note, or not a key')
  if (verifiedBy(read, [key])?.length !== 1) return refused('not signed by the key')
  const found = parseCheckpoint(read.text)
  return found ? `ok ${found.size} ${found.root.toString('base64')}` : refused('no checkpoint')
}

async function tiles({ directory, replaced, size, root }: TilesClaim): Promise<Verdict> {
  const files = filesOf(directory, replaced)
  const tree = growingTree()
  for (let n = 0; n * TILE_WIDTH < size; n += 1) {
    const [bundle, tile] = [await files.bundle(n, size), await files.tile(0, n, size)]
    const entries = bundle && readBundle(bundle)
    const width = widthAt(size, 0, n)
    const isWhole = entries?.length === width || entries?.length === TILE_WIDTH
    if (!entries || !isWhole || !tile) return refused(`no tile ${n}`)
    const leaves = entries.slice(0, width).map((entry) => leafHash(entry))
    if (!Buffer.concat(leaves).equals(tile)) return refused(`other entries in tile ${n}`)
    for (const leaf of leaves) tree.addLeaf(leaf)
  }
  if (!tree.root().equals(root)) return refused('another root')
  return (await upperTiles(files, size)) ?? 'ok'
}

/** Every hash of a tile above the lowest level is the root of a full tile below. */
async function upperTiles(files: LogFiles, size: number): Promise<Verdict> {
  for (let level = 1; widthAt(size, level, 0) > 0; level += 1) {
    for (let n = 0; widthAt(size, level, n) > 0; n += 1) {
      const tile = await files.tile(level, n, size)
      const expected = await rootsBelow(files, { level, n, width: widthAt(size, level, n) }, size)
      if (!expected || !tile?.equals(expected)) return refused(`tile ${level}/${n}`)
    }
  }
  return null
}

async function rootsBelow(files: LogFiles, tile: Tile, size: number): Promise<Buffer | null> {
  const roots: Buffer[] = []
  for (let at = 0; at < tile.width; at += 1) {
    const below = await files.tile(tile.level - 1, tile.n * TILE_WIDTH + at, size)
    if (below?.length !== TILE_WIDTH * HASH_BYTES) return null
    roots.push(hashIn(below, 0, TILE_WIDTH))
  }
  return Buffer.concat(roots)
}
