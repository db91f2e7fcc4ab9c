import { hashIn, placeOf, type Tile, type TilePlace } from './tiles.ts'
import { consistencyNodes, inclusionNodes, type Node, nodesBetween, rootOf } from './tree.ts'

/** The hashes of each tile, one after another and in the order asked for: at least as many as the tree has. */
export type ReadTiles = (tiles: readonly Pick<Tile, 'level' | 'n'>[]) => Promise<readonly Buffer[]>

/** Roots and proofs of a tree from its tiles; each reads all its tiles in one call. */
export type TileProofs = {
  readonly root: (size: number) => Promise<Buffer>
  /** The leaf's sibling first. */
  readonly inclusion: (index: number, size: number) => Promise<Buffer[]>
  readonly consistency: (from: number, to: number) => Promise<Buffer[]>
  readonly nodes: (nodes: readonly Node[]) => Promise<Buffer[]>
}

const keyOf = ({ level, n }: Pick<Tile, 'level' | 'n'>) => `${level}/${n}`

/** Error of each: what `read` fails with, and RangeError if the tree has no such part, or a tile is too short. */
export function tileProofs(read: ReadTiles): TileProofs {
  const nodes = async (wanted: readonly Node[]) => {
    const places = wanted.map(placeOf)
    const tiles = await readOnce(places)
    return places.map((place) => {
      const tile = tiles.get(keyOf(place))
      if (!tile) throw new RangeError(`There is no tile ${keyOf(place)}`)
      return hashIn(tile, place.start, place.count)
    })
  }

  const readOnce = async (places: readonly TilePlace[]) => {
    const wanted = new Map(places.map(({ level, n }) => [keyOf({ level, n }), { level, n }]))
    const hashes = wanted.size === 0 ? [] : await read([...wanted.values()])
    return new Map([...wanted.keys()].map((key, at) => [key, hashes[at]]))
  }

  const proof = async (lists: readonly (readonly Node[])[]) => {
    const hashes = await nodes(lists.flat())
    let at = 0
    return lists.map(({ length }) => {
      at += length
      return rootOf(hashes.slice(at - length, at))
    })
  }

  return {
    root: async (size) => rootOf(await nodes(nodesBetween(0, size))),
    inclusion: async (index, size) => proof(inclusionNodes(index, size)),
    consistency: async (from, to) => proof(consistencyNodes(from, to)),
    nodes,
  }
}
