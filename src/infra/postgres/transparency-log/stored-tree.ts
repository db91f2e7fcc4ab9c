import { hashIn, placeOf, TILE_WIDTH, widthAt } from '../../../transparency-log/tiles.ts'
import { growingTree, type Node, nodesBetween } from '../../../transparency-log/tree.ts'
import type { Query } from '../projections/projection.ts'
import { LogChanged } from './checkpoint-refused.ts'
import { hashesIn, readTiles, type TileRow } from './tiles.ts'

/** What a leaf of the log stands for; null: accesses and security events. */
export type StoredPlace = readonly [position: number, stream_id: string, version: number] | null

export type Leaf = { readonly hash: Buffer; readonly place: StoredPlace }

const WRITE = {
  name: 'write_log_leaves',
  text: `
    with tiles as (
      insert into log_tiles (level, n, hashes)
        select * from unnest($1::smallint[], $2::bigint[], $3::bytea[])
        on conflict (level, n) do update set hashes = excluded.hashes)
    insert into log_bundles as stored (n, first_position, places)
      select * from unnest($4::bigint[], $5::bigint[], $6::jsonb[])
      on conflict (n) do update set places = stored.places || excluded.places,
        first_position = coalesce(stored.first_position, excluded.first_position)
      returning n, jsonb_array_length(places) as width`,
}

/** Its place is at the end of a level. */
type Edge = { n: number; hashes: Buffer[] }

/** A tree whose next leaves are added to the tiles and bundles in the database. */
export type StoredTree = {
  readonly root: () => Buffer
  readonly size: () => number
  readonly add: (leaf: Leaf) => void
  /** Writes what has been added. Error: `LogChanged`, if what was there before is not of the old size. */
  readonly write: (query: Query) => Promise<void>
}

/** Reads the right edge of the tree: a tile of each level at most. Error: `LogChanged`, if one is missing. */
export async function storedTree(query: Query, size: number): Promise<StoredTree> {
  const edges = await readEdges(query, size)
  const tree = growingTree()
  for (const node of nodesBetween(0, size)) tree.addNode(node.level, hashOf(node, edges))
  const begun = size
  const grown = new Map<string, TileRow>()
  const places = new Map<number, StoredPlace[]>()

  const push = (level: number, hash: Buffer) => {
    const edge = edges[level] ?? { n: 0, hashes: [] }
    edges[level] = edge
    edge.hashes.push(hash)
    if (edge.hashes.length < TILE_WIDTH) return
    const full = Buffer.concat(edge.hashes)
    grown.set(`${level}/${edge.n}`, { level, n: edge.n, hashes: full })
    edges[level] = { n: edge.n + 1, hashes: [] }
    push(level + 1, hashIn(full, 0, TILE_WIDTH))
  }

  return {
    root: () => tree.root(),
    size: () => tree.size,
    add({ hash, place }) {
      const n = Math.floor(tree.size / TILE_WIDTH)
      const bundle = places.get(n)
      if (bundle === undefined) places.set(n, [place])
      else bundle.push(place)
      tree.addLeaf(hash)
      push(0, hash)
    },
    async write(query) {
      for (const [level, { n, hashes }] of edges.entries()) {
        const isNew = hashes.length > widthAt(begun, level, n)
        if (isNew) grown.set(`${level}/${n}`, { level, n, hashes: Buffer.concat(hashes) })
      }
      const tiles = [...grown.values()]
      const bundles = [...places]
      const written = await query<{ n: number; width: number }>(WRITE, [
        tiles.map(({ level }) => level),
        tiles.map(({ n }) => n),
        tiles.map(({ hashes }) => hashes),
        bundles.map(([n]) => n),
        bundles.map(([, added]) => added.find((place) => place !== null)?.[0] ?? null),
        bundles.map(([, added]) => JSON.stringify(added)),
      ])
      for (const { n, width } of written) {
        if (width !== widthAt(tree.size, 0, n)) throw new LogChanged(`bundle ${n} was changed`)
      }
    },
  }
}

async function readEdges(query: Query, size: number): Promise<Edge[]> {
  const edges: Edge[] = []
  for (let left = size; left > 0; left = Math.floor(left / TILE_WIDTH)) {
    edges.push({ n: Math.floor(left / TILE_WIDTH), hashes: [] })
  }
  const wanted = edges.flatMap((edge, level) => {
    const width = widthAt(size, level, edge.n)
    return width === 0 ? [] : [{ level, n: edge.n, width, edge }]
  })
  if (wanted.length === 0) return edges
  const tiles = await readTiles(query)(wanted)
  for (const [at, { level, n, width, edge }] of wanted.entries()) {
    const hashes = hashesIn(tiles[at] ?? Buffer.alloc(0))
    if (hashes.length !== width)
      throw new LogChanged(`tile ${level}/${n} does not have ${width} hashes`)
    edge.hashes.push(...hashes)
  }
  return edges
}

function hashOf(node: Node, edges: readonly Edge[]): Buffer {
  const { level, start, count } = placeOf(node)
  return hashIn(Buffer.concat(edges[level]?.hashes ?? []), start, count)
}
