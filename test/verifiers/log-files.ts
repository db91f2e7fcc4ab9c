import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { bundlePath, TILE_WIDTH, tilePath, widthAt } from '../../src/transparency-log/tiles.ts'
import { HASH_BYTES } from '../../src/transparency-log/tree.ts'

/** A log as files at the paths of tlog-tiles. Null: there is no such file, or it has another length. */
export type LogFiles = {
  readonly read: (path: string) => Promise<Buffer | null>
  /** As wide as it is in a tree of that size. */
  readonly tile: (level: number, n: number, size: number) => Promise<Buffer | null>
  /** At least the entries that it has in a tree of that size. */
  readonly bundle: (n: number, size: number) => Promise<Buffer | null>
}

export function filesOf(
  directory: string,
  replaced: Readonly<Record<string, Buffer | null>> = {},
): LogFiles {
  const read = async (path: string) => {
    const replacement = replaced[path]
    return replacement === undefined ? readOrNull(join(directory, path)) : replacement
  }

  // A log may delete a partial tile once it has the full one.
  const partialOrFull = async (width: number, pathOf: (width: number) => string) =>
    (await read(`tile/${pathOf(width)}`)) ?? read(`tile/${pathOf(TILE_WIDTH)}`)

  const tile = async (level: number, n: number, size: number) => {
    const width = widthAt(size, level, n)
    const bytes = await partialOrFull(width, (wide) => tilePath({ level, n, width: wide }))
    const isWhole = [width, TILE_WIDTH].some((wide) => bytes?.length === wide * HASH_BYTES)
    return bytes && isWhole ? bytes.subarray(0, width * HASH_BYTES) : null
  }

  const bundle = (n: number, size: number) =>
    partialOrFull(widthAt(size, 0, n), (width) => bundlePath({ n, width }))

  return { read, tile, bundle }
}

const isMissing = (error: unknown) =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT'

const readOrNull = (path: string) =>
  readFile(path).catch((error: unknown) => {
    if (isMissing(error)) return null
    throw error
  })
