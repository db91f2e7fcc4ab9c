/** How C2SP's tlog-tiles cuts a tree into tiles: eight levels of it are one level of tiles. */
import { decimal } from './lines.ts'
import { HASH_BYTES, isSize, type Node, rootOfPairs } from './tree.ts'

/** Hashes of a full tile, and entries of a full bundle. */
export const TILE_WIDTH = 256

const LEVELS_OF_TILE = 8
const MOST_LEVEL = 63

/** The first `width` (1 to 256) of the hashes n * 256 and on of a level. */
export type Tile = { readonly level: number; readonly n: number; readonly width: number }
/** The first `width` entries of the leaves n * 256 and on. */
export type Bundle = Omit<Tile, 'level'>

/** 1234067 as x001/x234/067. */
function pathOfNumber(n: number): string {
  const last = String(n % 1000).padStart(3, '0')
  let path = last
  for (let rest = Math.floor(n / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    path = `x${String(rest % 1000).padStart(3, '0')}/${path}`
  }
  return path
}

const path = (first: string, { n, width }: Bundle): string =>
  `${first}/${pathOfNumber(n)}${width === TILE_WIDTH ? '' : `.p/${width}`}`

/** Its path below `tile/`, such as 0/x001/067.p/8. */
export const tilePath = (tile: Tile): string => path(String(tile.level), tile)

/** Its path below `tile/`, such as entries/x001/067. */
export const bundlePath = (bundle: Bundle): string => path('entries', bundle)

const PATH = /^(\d{1,2}|entries)\/((?:x\d{3}\/){0,5}\d{3})(?:\.p\/(\d{1,3}))?$/

function parse(text: string): (Bundle & { readonly first: string }) | null {
  const [, first = '', number = '', width = String(TILE_WIDTH)] = PATH.exec(text) ?? []
  const bundle = { n: Number(number.replace(/[x/]/g, '')), width: Number(width) }
  const isTile = isSize(bundle.n) && bundle.width >= 1 && bundle.width <= TILE_WIDTH
  // Zeros in front, or the width of a full tile, are other spellings of the same.
  return isTile && path(first, bundle) === text ? { ...bundle, first } : null
}

/** Null unless it is what `tilePath` gives for a tile. */
export function parseTilePath(text: string): Tile | null {
  const found = parse(text)
  const level = decimal(found?.first ?? '')
  if (!found || level === null || level > MOST_LEVEL) return null
  return { level, n: found.n, width: found.width }
}

/** Null unless it is what `bundlePath` gives for a bundle. */
export function parseBundlePath(text: string): Bundle | null {
  const found = parse(text)
  return found?.first === 'entries' ? { n: found.n, width: found.width } : null
}

/** How many hashes a level of tiles has in a tree of that size. */
const hashesAt = (size: number, level: number): number => Math.floor(size / TILE_WIDTH ** level)

/** How wide tile n of a level is in a tree of that size; 0: there is none. */
export const widthAt = (size: number, level: number, n: number): number =>
  Math.max(0, Math.min(TILE_WIDTH, hashesAt(size, level) - n * TILE_WIDTH))

/**
 * The tiles that are new or wider in a tree of size `to` than in one of size `from`, as they are in the
 * former: the lowest level first, and each from left to right.
 */
export function grownTiles(from: number, to: number): readonly Tile[] {
  const tiles: Tile[] = []
  for (let level = 0; hashesAt(to, level) > hashesAt(from, level); level += 1) {
    const first = Math.floor(hashesAt(from, level) / TILE_WIDTH)
    for (let n = first; n * TILE_WIDTH < hashesAt(to, level); n += 1) {
      tiles.push({ level, n, width: widthAt(to, level, n) })
    }
  }
  return tiles
}

/** Which hashes of which tile are folded into the node: `count` (a power of two) from `start` on. */
export type TilePlace = {
  readonly level: number
  readonly n: number
  readonly start: number
  readonly count: number
}

export function placeOf(node: Node): TilePlace {
  const count = 2 ** (node.level % LEVELS_OF_TILE)
  // Not the index of the first hash: with many leaves that would not be exact.
  const nodesOfTile = TILE_WIDTH / count
  return {
    level: Math.floor(node.level / LEVELS_OF_TILE),
    n: Math.floor(node.index / nodesOfTile),
    start: (node.index % nodesOfTile) * count,
    count,
  }
}

/** The root of `count` (a power of two) hashes of a tile. Error: RangeError if the tile has no such hashes. */
export function hashIn(tile: Buffer, start: number, count: number): Buffer {
  const [from, to] = [start * HASH_BYTES, (start + count) * HASH_BYTES]
  if (!isSize(start) || !isWidth(count) || to > tile.length) {
    throw new RangeError(`A tile of ${tile.length} bytes has no hash ${start + count - 1}`)
  }
  return count === 1 ? tile.subarray(from, to) : rootOfPairs(tile.subarray(from, to))
}

const isWidth = (count: number): boolean =>
  count >= 1 && count <= TILE_WIDTH && Number.isInteger(Math.log2(count))
