import type { ReadTiles } from '../../../transparency-log/tile-proofs.ts'
import { HASH_BYTES } from '../../../transparency-log/tree.ts'
import type { Query } from '../projections/projection.ts'

export type TileRow = { readonly level: number; readonly n: number; readonly hashes: Buffer }

const TILES = {
  name: 'log_tiles',
  text: `
    select level, n, hashes from unnest($1::smallint[], $2::bigint[]) as wanted (level, n)
      join log_tiles using (level, n)`,
}

const NO_HASHES = Buffer.alloc(0)

/** Tiles as stored, which may be wider than in an earlier tree; without hashes where one is missing. */
export const readTiles =
  (query: Query): ReadTiles =>
  async (tiles) => {
    const rows = await query<TileRow>(TILES, [
      tiles.map(({ level }) => level),
      tiles.map(({ n }) => n),
    ])
    const found = new Map(rows.map(({ level, n, hashes }) => [`${level}/${n}`, hashes]))
    return tiles.map(({ level, n }) => found.get(`${level}/${n}`) ?? NO_HASHES)
  }

export const hashesIn = (tile: Buffer): readonly Buffer[] =>
  Array.from({ length: tile.length / HASH_BYTES }, (_, at) =>
    tile.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES),
  )
