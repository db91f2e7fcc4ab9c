import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { logSigner } from '../../src/transparency-log/keys.ts'
import { signatureLine } from '../../src/transparency-log/signature-line.ts'
import { readNote, writeNote } from '../../src/transparency-log/signed-note.ts'
import { bundlePath, grownTiles, tilePath } from '../../src/transparency-log/tiles.ts'
import { leafHash } from '../../src/transparency-log/tree.ts'
import { flipped } from '../transparency-log/changed.ts'
import type {
  CheckpointClaim,
  Claim,
  ConsistencyClaim,
  InclusionClaim,
  TilesClaim,
} from './claims.ts'
import { checkpointClaim, servedLog } from './served-log.ts'
import type { Grown } from './written-log.ts'

/** A log that has leaves, one of its checkpoints, and numbers to choose places with. */
export type Scene = {
  /** `keys`: the verifier keys of all who sign it, in the order of their signatures. */
  readonly log: { readonly directory: string; readonly keys: readonly string[] }
  readonly step: Grown
  readonly a: number
  readonly b: number
}

/** A claim that is no longer true; `isTrue` null: it may happen to be. */
type Tampered = { readonly claim: Claim; readonly isTrue: false | null }
type Tampering = (scene: Scene) => Promise<Tampered>

const bitOf = (bytes: Buffer, choice: number): Buffer => flipped(bytes, choice % (bytes.length * 8))

const spoiled =
  <C extends Claim>(
    claimOf: (scene: Scene) => Promise<C>,
    change: (claim: C, scene: Scene) => C | Promise<C>,
    isTrue: false | null = false,
  ): Tampering =>
  async (scene) => ({ claim: await change(await claimOf(scene), scene), isTrue })

// Each note has one signature: @sigstore/verify passes over a malformed line of somebody else. And what
// is changed in a signature are its bytes: both others accept some misspellings of base64.
const oneLine = (scene: Scene): string => {
  const { text, line } = partsOf(scene)
  return writeNote(text, [signatureLine(line)])
}

function partsOf({ log, step, b }: Scene) {
  const note = readNote(step.note)
  const which = b % log.keys.length
  const [line, key] = [note?.signatures[which], log.keys[which]]
  if (!note || !line || key === undefined) throw new Error('A checkpoint without its signatures')
  return { text: note.text, line, key }
}

const checkpoint = async (scene: Scene): Promise<CheckpointClaim> =>
  checkpointClaim(oneLine(scene), partsOf(scene).key)

const withNote = (claim: CheckpointClaim, text: string, lines: readonly string[]) => ({
  ...claim,
  note: Buffer.from(writeNote(text, lines)),
})

/** The bytes of a note but for those of its base64. */
function frameBit({ note }: CheckpointClaim, choice: number): Buffer {
  const end = note.lastIndexOf(' ') + 1
  const bit = choice % ((end + 1) * 8)
  return flipped(note, bit < end * 8 ? bit : (note.length - 1) * 8 + (bit % 8))
}

const inclusion = async ({ log, step, a }: Scene): Promise<InclusionClaim> =>
  (await servedLog(log.directory, step.note)).inclusion(a % step.size)

const consistency = async ({ log, step, a }: Scene): Promise<ConsistencyClaim> =>
  (await servedLog(log.directory, step.note)).consistency(1 + (a % step.size))

const tiles = async ({ log: { directory }, step: { size, root } }: Scene): Promise<TilesClaim> => ({
  kind: 'tiles',
  directory,
  size,
  root,
  replaced: {},
})

type Proof = readonly Buffer[]

const aHash = leafHash('more')
const proofs: Readonly<Record<string, (proof: Proof, b: number) => Proof>> = {
  'a bit of a hash': (proof, b) =>
    proof.length === 0
      ? [aHash]
      : proof.with(b % proof.length, bitOf(proof[b % proof.length] ?? aHash, b)),
  'a hash less': (proof, b) =>
    proof.length === 0 ? [aHash] : proof.toSpliced(b % proof.length, 1),
  'a hash more': (proof, b) => proof.toSpliced(b % (proof.length + 1), 0, aHash),
  'a hash twice': (proof, b) =>
    proof.toSpliced(b % (proof.length + 1), 0, proof[b % Math.max(1, proof.length)] ?? aHash),
  'hashes the other way round': (proof) =>
    proof.length < 2 ? [...proof, aHash] : proof.toReversed(),
  'a hash that is too short': (proof) => [...proof.slice(1), Buffer.alloc(31)],
}

const ofProofs = <C extends InclusionClaim | ConsistencyClaim>(
  what: string,
  claimOf: (scene: Scene) => Promise<C>,
): Readonly<Record<string, Tampering>> =>
  Object.fromEntries(
    Object.entries(proofs).map(([name, change]) => [
      `${what}: ${name}`,
      spoiled(claimOf, (claim, { b }) => ({ ...claim, proof: change(claim.proof, b) })),
    ]),
  )

/** A path of the files that a tree of that size has. */
function pathOf({ size }: TilesClaim, choice: number): string {
  const all = grownTiles(0, size)
  const bundles = all.filter(({ level }) => level === 0).map(bundlePath)
  const paths = [...all.map(tilePath), ...bundles]
  return `tile/${paths[choice % paths.length]}`
}

const ofFiles = (change: (bytes: Buffer, b: number) => Buffer | null): Tampering =>
  spoiled(tiles, async (claim, { a, b }) => {
    const path = pathOf(claim, a)
    const bytes = await readFile(join(claim.directory, path))
    const changed = change(bytes, b)
    // Without its partial tile a log may serve the full one that came later.
    const full = changed === null ? { [path.replace(/\.p\/.*/, '')]: null } : {}
    return { ...claim, replaced: { ...full, [path]: changed } }
  })

/** What can be done to a log, by what it is called. */
export const TAMPERINGS: Readonly<Record<string, Tampering>> = {
  'checkpoint: a bit of its text or of the frame': spoiled(checkpoint, (claim, { a }) => ({
    ...claim,
    note: frameBit(claim, a),
  })),
  'checkpoint: a bit of the signature': spoiled(checkpoint, (claim, scene) => {
    const { text, line } = partsOf(scene)
    const signature = bitOf(line.signature, scene.a)
    return withNote(claim, text, [signatureLine({ ...line, signature })])
  }),
  'checkpoint: a bit of the key id': spoiled(checkpoint, (claim, scene) => {
    const { text, line } = partsOf(scene)
    return withNote(claim, text, [signatureLine({ ...line, id: bitOf(line.id, scene.a) })])
  }),
  'checkpoint: a signature that is cut off': spoiled(checkpoint, (claim, scene) => {
    const { text, line } = partsOf(scene)
    const signature = line.signature.subarray(0, 1 + (scene.a % (line.signature.length - 1)))
    return withNote(claim, text, [signatureLine({ ...line, signature })])
  }),
  'checkpoint: another size under the same signature': spoiled(checkpoint, (claim, scene) => {
    const { text, line } = partsOf(scene)
    const other = text.replace(/\n\d+\n/, `\n${scene.step.size + 1 + (scene.a % 9)}\n`)
    return withNote(claim, other, [signatureLine(line)])
  }),
  'checkpoint: the key id over the signature of another key': spoiled(
    checkpoint,
    async (claim, scene) => {
      const { text, line } = partsOf(scene)
      const forger = logSigner(line.name, leafHash(`forger ${scene.a}`))
      const signed = readNote(writeNote(text, [await forger.sign(text)]))?.signatures[0] ?? line
      return withNote(claim, text, [signatureLine({ ...signed, id: line.id })])
    },
  ),
  'checkpoint: another key of the same name': spoiled(checkpoint, async (claim, scene) => {
    const { text, line } = partsOf(scene)
    const forger = logSigner(line.name, leafHash(`forger ${scene.a}`))
    return withNote(claim, text, [await forger.sign(text)])
  }),
  'checkpoint: no signature': spoiled(checkpoint, (claim, scene) =>
    withNote(claim, partsOf(scene).text, []),
  ),
  'inclusion: a bit of the entry': spoiled(inclusion, (claim, { b }) => ({
    ...claim,
    entry: claim.entry.length === 0 ? Buffer.of(0) : bitOf(claim.entry, b),
  })),
  'inclusion: a bit of the root': spoiled(inclusion, (claim, { b }) => ({
    ...claim,
    root: bitOf(claim.root, b),
  })),
  'inclusion: another leaf': spoiled(inclusion, (claim, { b }) => ({
    ...claim,
    index: (claim.index + 1 + (b % (claim.size + 1))) % (claim.size + 2),
  })),
  'inclusion: another size': spoiled(
    inclusion,
    (claim, { b }) => ({ ...claim, size: Math.max(0, claim.size + (b % 7) - 3) }),
    null,
  ),
  ...ofProofs('inclusion', inclusion),
  'consistency: a bit of the smaller root': spoiled(consistency, (claim, { b }) => ({
    ...claim,
    fromRoot: bitOf(claim.fromRoot, b),
  })),
  'consistency: a bit of the larger root': spoiled(consistency, (claim, { b }) => ({
    ...claim,
    toRoot: bitOf(claim.toRoot, b),
  })),
  'consistency: the larger tree first': spoiled(
    consistency,
    (claim) => ({ ...claim, from: claim.to, to: claim.from }),
    null,
  ),
  'consistency: another smaller size': spoiled(
    consistency,
    (claim, { b }) => ({ ...claim, from: Math.max(1, claim.from + (b % 7) - 3) }),
    null,
  ),
  'consistency: another larger size': spoiled(
    consistency,
    (claim, { b }) => ({ ...claim, to: Math.max(1, claim.to + (b % 7) - 3) }),
    null,
  ),
  ...ofProofs('consistency', consistency),
  'tiles: a bit of a file': ofFiles((bytes, b) => bitOf(bytes, b)),
  'tiles: a file that is cut off': ofFiles((bytes, b) => bytes.subarray(0, b % bytes.length)),
  'tiles: a file that is too long': ofFiles((bytes) => Buffer.concat([bytes, Buffer.of(0)])),
  'tiles: no file': ofFiles(() => null),
  'tiles: a bit of the root': spoiled(tiles, (claim, { b }) => ({
    ...claim,
    root: bitOf(claim.root, b),
  })),
  'tiles: a leaf less': spoiled(tiles, (claim) => ({ ...claim, size: claim.size - 1 })),
  'tiles: a leaf more': spoiled(tiles, (claim) => ({ ...claim, size: claim.size + 1 })),
}
