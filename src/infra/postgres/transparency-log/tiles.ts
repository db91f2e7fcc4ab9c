import type { ReadTiles } from '../../../transparency-log/tile-proofs.ts'
import { HASH_BYTES } from '../../../transparency-log/tree.ts'
import type { Query } from '../projections/projection.ts'

export type TileRow = { readonly level: number; readonly n: number; readonly hashes: Buffer }

// A probe each, whatever the planner believes of a table that may just have begun to grow.
const TILES = {
  name: 'tiles_to_read',
  text: `
    select level, n, hashes
    from unnest($1::smallint[], $2::bigint[]) as wanted (level, n)
      cross join lateral (
        select hashes from log_tiles t where t.level = wanted.level and t.n = wanted.n limit 1) tile`,
}

type Place = Pick<TileRow, 'level' | 'n'>

export const keyOf = ({ level, n }: Place): string => `${level}/${n}`

/** Those that are there, in any order. */
export const tileRows = (query: Query, tiles: readonly Place[]): Promise<readonly TileRow[]> =>
  query<TileRow>(TILES, [tiles.map(({ level }) => level), tiles.map(({ n }) => n)])

const NO_HASHES = Buffer.alloc(0)

/** Tiles as stored, which may be wider than in an earlier tree; without hashes where one is missing. */
export const readTiles =
  (query: Query): ReadTiles =>
  async (tiles) => {
    const rows = await tileRows(query, tiles)
    const found = new Map(rows.map((row) => [keyOf(row), row.hashes]))
    return tiles.map((tile) => found.get(keyOf(tile)) ?? NO_HASHES)
  }

export const hashesIn = (tile: Buffer): readonly Buffer[] =>
  Array.from({ length: tile.length / HASH_BYTES }, (_, at) =>
    tile.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES),
  )
