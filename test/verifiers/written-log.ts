import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { checkpointText } from '../../src/transparency-log/checkpoint.ts'
import { writeBundle } from '../../src/transparency-log/entry-bundle.ts'
import type { NoteSigner } from '../../src/transparency-log/keys.ts'
import { writeNote } from '../../src/transparency-log/signed-note.ts'
import {
  bundlePath,
  grownTiles,
  hashIn,
  TILE_WIDTH,
  type Tile,
  tilePath,
} from '../../src/transparency-log/tiles.ts'
import { growingTree, leafHash } from '../../src/transparency-log/tree.ts'

/** A checkpoint that a log has had, as its root and as the note that was signed. */
export type Grown = { readonly size: number; readonly root: Buffer; readonly note: string }

/**
 * Writes a log into a directory, at the paths of tlog-tiles, in steps: at each size it has a checkpoint
 * and the tiles of it, and older partial tiles stay.
 */
export async function writeLog(options: {
  readonly directory: string
  readonly entries: readonly Buffer[]
  /** In ascending order. */
  readonly sizes: readonly number[]
  readonly signers: readonly NoteSigner[]
}): Promise<readonly Grown[]> {
  const { directory, entries, sizes, signers } = options
  const leaves = entries.map((entry) => leafHash(entry))
  const tree = growingTree()
  const tiles = tilesOf(leaves)
  const steps: Grown[] = []
  for (const size of sizes) {
    for (const tile of grownTiles(tree.size, size)) {
      await write(join(directory, 'tile', tilePath(tile)), tiles(tile))
      if (tile.level === 0) await write(...bundle(directory, entries, tile))
    }
    for (const leaf of leaves.slice(tree.size, size)) tree.addLeaf(leaf)
    const note = await noteOf({ size, root: tree.root() }, signers)
    await write(join(directory, 'checkpoint'), Buffer.from(note))
    steps.push({ size, root: tree.root(), note })
  }
  return steps
}

async function write(file: string, bytes: Buffer): Promise<void> {
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, bytes)
}

/** Hashes of tiles, each made of the full tiles below it. */
function tilesOf(leaves: readonly Buffer[]) {
  const full = new Map<string, Buffer>()
  const tileOf = (tile: Tile): Buffer => {
    const hashes = Array.from({ length: tile.width }, (_, at) => hashAt(tile, at))
    return Buffer.concat(hashes)
  }
  const fullTile = (level: number, n: number) => {
    const found = full.get(`${level}/${n}`) ?? tileOf({ level, n, width: TILE_WIDTH })
    full.set(`${level}/${n}`, found)
    return found
  }
  const hashAt = ({ level, n }: Tile, at: number): Buffer => {
    const index = n * TILE_WIDTH + at
    return level === 0
      ? (leaves[index] ?? none(index))
      : hashIn(fullTile(level - 1, index), 0, TILE_WIDTH)
  }
  return tileOf
}

const none = (index: number): never => {
  throw new RangeError(`There is no leaf ${index}`)
}

function bundle(directory: string, entries: readonly Buffer[], { n, width }: Tile) {
  const first = n * TILE_WIDTH
  const bytes = writeBundle(entries.slice(first, first + width))
  return [join(directory, 'tile', bundlePath({ n, width })), bytes] as const
}

async function noteOf(
  { size, root }: { readonly size: number; readonly root: Buffer },
  signers: readonly NoteSigner[],
): Promise<string> {
  const origin = signers[0]?.key.name ?? ''
  const text = checkpointText({ origin, size, root })
  return writeNote(text, await Promise.all(signers.map(({ sign }) => sign(text))))
}
