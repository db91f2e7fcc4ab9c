import { parseCheckpoint } from '../../src/transparency-log/checkpoint.ts'
import { readBundle } from '../../src/transparency-log/entry-bundle.ts'
import { readProofFile } from '../../src/transparency-log/proof-file.ts'
import { readNote } from '../../src/transparency-log/signed-note.ts'
import { type TileProofs, tileProofs } from '../../src/transparency-log/tile-proofs.ts'
import { TILE_WIDTH } from '../../src/transparency-log/tiles.ts'
import type {
  CheckpointClaim,
  Claim,
  ConsistencyClaim,
  InclusionClaim,
  TilesClaim,
} from './claims.ts'
import { filesOf } from './log-files.ts'

/**
 * What a log says of itself with the files that it serves: `checkpoint`, `tile/0/000.p/5`,
 * `tile/entries/000.p/5` and so on in a directory, each as it came over HTTP. Throws if one is missing
 * that a proof needs.
 */
export type ServedLog = {
  readonly size: number
  readonly root: Buffer
  /** That the keys have signed the checkpoint, and that the files are the tree of it. */
  readonly claims: (keys: readonly string[]) => readonly Claim[]
  readonly inclusion: (index: number) => Promise<InclusionClaim>
  /** That the log extends what it was at an earlier size, with the root from its own tiles. */
  readonly consistency: (from: number) => Promise<ConsistencyClaim>
}

export async function servedLog(directory: string, checkpoint?: string): Promise<ServedLog> {
  const files = filesOf(directory)
  const note = checkpoint ?? (await needed(files.read('checkpoint'))).toString()
  const { size, root } = checkpointOf(note)

  const proofs: TileProofs = tileProofs((tiles) =>
    Promise.all(tiles.map(({ level, n }) => needed(files.tile(level, n, size)))),
  )

  const entryAt = async (index: number) => {
    const bundle = await needed(files.bundle(Math.floor(index / TILE_WIDTH), size))
    return needed(Promise.resolve(readBundle(bundle)?.[index % TILE_WIDTH] ?? null))
  }

  const tiles: TilesClaim = { kind: 'tiles', directory, size, root, replaced: {} }
  return {
    size,
    root,
    claims: (keys) => [...keys.map((key) => checkpointClaim(note, key)), tiles],
    inclusion: async (index) => ({
      kind: 'inclusion',
      index,
      size,
      root,
      entry: await entryAt(index),
      proof: await proofs.inclusion(index, size),
    }),
    consistency: async (from) => ({
      kind: 'consistency',
      from,
      fromRoot: await proofs.root(from),
      to: size,
      toRoot: root,
      proof: await proofs.consistency(from, size),
    }),
  }
}

async function needed(found: Promise<Buffer | null>): Promise<Buffer> {
  const bytes = await found
  if (!bytes) throw new Error('The log does not serve a file that its size asks for')
  return bytes
}

function checkpointOf(note: string) {
  const checkpoint = parseCheckpoint(readNote(note)?.text ?? '')
  if (!checkpoint) throw new Error(`Not a checkpoint: ${note}`)
  return checkpoint
}

export const checkpointClaim = (note: string, key: string): CheckpointClaim => ({
  kind: 'checkpoint',
  note: Buffer.from(note),
  key,
})

/** What a proof file (.tlog-proof) says: its entry is what it has as `extra`. */
export function proofFileClaims(text: string, keys: readonly string[]): readonly Claim[] {
  const file = readProofFile(text)
  if (!file?.extra) throw new Error(`Not a proof file with an entry: ${text}`)
  const { size, root } = checkpointOf(file.checkpoint)
  const { index, proof, extra: entry } = file
  const inclusion: InclusionClaim = { kind: 'inclusion', index, size, root, entry, proof }
  return [...keys.map((key) => checkpointClaim(file.checkpoint, key)), inclusion]
}
