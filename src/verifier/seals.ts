import { verify as isSignature } from 'node:crypto'
import { Broken } from './failures.ts'
import {
  eventDigest,
  HASH,
  type Head,
  headDigest,
  type Seal,
  type SealKey,
  sealHash,
  sha256,
} from './formats.ts'

export const isShown = (head: Head | string): head is Head => typeof head !== 'string'

const isHead = (head: unknown): head is Head =>
  Array.isArray(head) &&
  head.length === 3 &&
  typeof head[0] === 'string' &&
  Number.isSafeInteger(head[1]) &&
  typeof head[2] === 'string'

export const areHeads = (heads: unknown): heads is readonly Head[] =>
  Array.isArray(heads) && heads.every(isHead)

const isSeal = ({ heads, signature }: Seal): boolean =>
  Array.isArray(heads) &&
  heads.every((head) => (isShown(head) ? isHead(head) : HASH.test(head))) &&
  typeof signature === 'string' &&
  /^([0-9a-f]{2})*$/.test(signature)

type Before = Pick<Seal, 'number' | 'position' | 'hash'> | null

/** Checks a seal by itself and as the successor of the one before it. */
export function requireSeal(
  seal: Seal,
  before: Before,
  keys: readonly SealKey[],
  whole: boolean,
): void {
  const broken = (why: string) => new Broken({ seal: seal.number }, why)
  if (!isSeal(seal)) throw broken('is changed: it does not have the form of a seal.')
  const number = (before?.number ?? 0) + 1
  if (whole ? seal.number !== number : !(seal.number >= number)) {
    throw broken(`is in the place of seal ${number}.`)
  }
  if (seal.number === number && seal.previous !== (before?.hash ?? null)) {
    throw broken('is not chained to the seal before it.')
  }
  const after = before?.position ?? 0
  // A seal without events covers only accesses and security events, and does not advance the position.
  const isInPlace =
    seal.events > 0
      ? seal.position > after
      : seal.position === after || (seal.number !== number && seal.position > after)
  if (!isInPlace) throw broken('covers no position of its own.')
  if (!areInOrder(seal.heads.filter(isShown))) throw broken('does not list its streams in order.')
  const heads_digest = sha256(Buffer.concat(seal.heads.map(headDigest))).toString('hex')
  if (seal.heads_digest !== undefined && seal.heads_digest !== heads_digest) {
    throw broken('is changed: its digest does not match its streams.')
  }
  const hash = sealHash(seal, heads_digest)
  if (hash.toString('hex') !== seal.hash) {
    throw broken('is changed: its hash does not match its contents.')
  }
  const known = keys.find(({ id }) => id === seal.key_id)
  if (known === undefined) {
    const ids = keys.map(({ id }) => id).join(', ')
    throw broken(`is signed by the key ${seal.key_id}, which is not among those given (${ids}).`)
  }
  if (!isSignature(null, hash, known.key, Buffer.from(seal.signature, 'hex'))) {
    throw broken(`is not signed by the key ${seal.key_id}, as it says.`)
  }
}

function areInOrder(heads: readonly Head[]): boolean {
  const ids = heads.map(([stream_id]) => Buffer.from(stream_id))
  return ids.every((id, index) => {
    const before = ids[index - 1]
    return before === undefined || id.compare(before) > 0
  })
}

// --------------------------------------------------------------------------------------------- marks

const MARK_BYTES = 46

/** Which event was at a position when the seal was made. */
export type Mark = {
  readonly position: number
  readonly stream_id: string
  readonly hash: string
  readonly digest: Buffer
}

export const changedMarks = ({ number }: Pick<Seal, 'number'>): Broken =>
  new Broken({ seal: number }, 'is changed: its marks are not the original ones.')

/**
 * Which event was at each position when the seal was made. Its signed digest proves all but the streams.
 */
export function readMarks(seal: Seal, marks: Buffer): readonly Mark[] {
  const { events, events_digest, heads } = seal
  if (marks.length !== events * MARK_BYTES) throw changedMarks(seal)
  const expected = Array.from({ length: events }, (_, index) => {
    const start = index * MARK_BYTES
    const position = marks.readUIntBE(start, 6)
    const recorded_at = new Date(marks.readUIntBE(start + 8, 6)).toISOString()
    const hash = marks.toString('hex', start + 14, start + MARK_BYTES)
    const stream_id = heads[marks.readUInt16BE(start + 6)]?.[0]
    if (stream_id === undefined) throw changedMarks(seal)
    return { position, stream_id, hash, digest: eventDigest({ position, recorded_at, hash }) }
  })
  const proof = sha256(Buffer.concat(expected.map(({ digest }) => digest))).toString('hex')
  if (proof !== events_digest) throw changedMarks(seal)
  return expected
}
