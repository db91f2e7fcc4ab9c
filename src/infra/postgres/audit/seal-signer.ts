import { createHash, createPrivateKey, createPublicKey, hkdfSync, sign } from 'node:crypto'
import canonicalize from 'canonicalize'
import type { StreamHead } from '../../../app/ports/audit.ts'

/**
 * Signs seals (Ed25519). Asynchronous, and with the key's name stored in each seal, so that a key
 * management service can replace it.
 */
export type SealSigner = {
  readonly key_id: string
  /** SPKI in PEM, for verifiers. */
  readonly publicKey: string
  readonly sign: (hash: Buffer) => Promise<Buffer>
}

/** What a seal's hash covers; digests and hashes are lower-case hex, `sealed_at` is ISO 8601 UTC. */
export type SealFacts = {
  readonly number: number
  readonly position: number
  readonly events: number
  readonly events_digest: string
  readonly heads_digest: string
  /** Of accesses and security events: src/verifier/records.ts. */
  readonly records_digest: string
  readonly sealed_at: string
  /** The hash of the seal before it; null for the first. */
  readonly previous: string | null
  readonly key_id: string
}

// The PKCS #8 prefix of the 32 bytes of an Ed25519 seed (RFC 8410).
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex')

/** A signer whose key is derived from a secret of the environment. */
export function secretSealSigner(secret: string): SealSigner {
  const seed = Buffer.from(hkdfSync('sha256', secret, '', 'tasktrail seals', 32))
  const key = createPrivateKey({
    key: Buffer.concat([PKCS8_PREFIX, seed]),
    format: 'der',
    type: 'pkcs8',
  })
  const publicKey = createPublicKey(key)
  const spki = publicKey.export({ format: 'der', type: 'spki' })
  return {
    key_id: createHash('sha256').update(spki).digest('hex').slice(0, 16),
    publicKey: publicKey.export({ format: 'pem', type: 'spki' }).toString(),
    sign: async (hash) => sign(null, hash, key),
  }
}

/** SHA-256 over a seal as canonical JSON (RFC 8785): this is signed. */
export function sealHash(seal: SealFacts): Buffer {
  const { number, position, events, events_digest, heads_digest, records_digest } = seal
  const { sealed_at, previous, key_id } = seal
  const covered = { number, position, events, events_digest, heads_digest, records_digest }
  return sha256(canonicalize({ ...covered, sealed_at, previous, key_id }) as string)
}

/** Covers an event's position and time of recording, which its own hash does not. */
export const eventDigest = (event: {
  readonly position: number
  readonly recorded_at: string
  readonly hash: string
}): Buffer => sha256(`${event.position}/${event.recorded_at}/${event.hash}`)

/** All that a seal shows of the heads of other users' streams. */
export const headDigest = ([stream_id, version, hash]: StreamHead): Buffer =>
  sha256(`${stream_id}/${version}/${hash}`)

/** One digest over many, in their order. */
export const digestOf = (digests: readonly Buffer[]): Buffer => sha256(Buffer.concat(digests))

const sha256 = (bytes: string | Buffer): Buffer => createHash('sha256').update(bytes).digest()
