import { createHash, createPublicKey, type KeyObject } from 'node:crypto'
import { Unreadable } from './failures.ts'

export type TrailEvent = {
  readonly position: number
  readonly stream_id: string
  readonly version: number
  readonly event_id: string
  readonly type: string
  readonly schema_version: number
  readonly data: unknown
  readonly actor_id: number
  readonly metadata: unknown
  readonly occurred_at: string
  readonly recorded_at: string
  readonly prev_hash: string | null
  readonly hash: string
}

export type Head = readonly [stream_id: string, version: number, hash: string]

/** Digests and hashes are lower-case hex. */
export type Seal = {
  readonly number: number
  readonly position: number
  readonly events: number
  readonly events_digest: string
  /** For a stream that is not in the export, the digest of its head. */
  readonly heads: readonly (Head | string)[]
  readonly heads_digest?: string
  readonly sealed_at: string
  readonly previous: string | null
  readonly hash: string
  readonly key_id: string
  readonly signature: string
  /** The digest of the accesses and security events that it covers. */
  readonly records_digest: string
  /** As the database stores them; an export has none. */
  readonly marks?: Buffer
}

/** A public key, and the id by which seals refer to it. */
export type SealKey = { readonly key: KeyObject; readonly id: string }

/** Hashes of seals by number, as recorded elsewhere. */
export type KeptSeals = ReadonlyMap<number, string>

/** Canonical JSON (RFC 8785). */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`)
  return `{${members.join(',')}}`
}

export const HASH = /^[0-9a-f]{64}$/

export const sha256 = (bytes: string | Buffer): Buffer =>
  createHash('sha256').update(bytes).digest()

export function eventHash(event: Omit<TrailEvent, 'position' | 'recorded_at' | 'hash'>): string {
  const { stream_id, version, event_id, type, schema_version, data } = event
  const { actor_id, metadata, occurred_at, prev_hash } = event
  const facts = { stream_id, version, event_id, type, schema_version, data }
  return createHash('sha256')
    .update(prev_hash ?? '', 'hex')
    .update(canonical({ ...facts, actor_id, metadata, occurred_at }))
    .digest('hex')
}

type Sealable = Pick<TrailEvent, 'position' | 'recorded_at' | 'hash'>

export const eventDigest = ({ position, recorded_at, hash }: Sealable): Buffer =>
  sha256(`${position}/${recorded_at}/${hash}`)

export const headDigest = (head: Head | string): Buffer =>
  typeof head === 'string' ? Buffer.from(head, 'hex') : sha256(head.join('/'))

export function sealHash(seal: Seal, heads_digest: string): Buffer {
  const { number, position, events, events_digest, records_digest, sealed_at, previous, key_id } =
    seal
  const covered = {
    number,
    position,
    events,
    events_digest,
    heads_digest,
    records_digest,
    sealed_at,
  }
  return sha256(canonical({ ...covered, previous, key_id }))
}

/** Error: `Unreadable`. */
export function readKey(pem: string): SealKey {
  const key = publicKey(pem)
  if (key.asymmetricKeyType !== 'ed25519') throw new Unreadable('A key is not an Ed25519 key.')
  const id = sha256(key.export({ format: 'der', type: 'spki' })).toString('hex')
  return { key, id: id.slice(0, 16) }
}

function publicKey(pem: string): KeyObject {
  try {
    return createPublicKey(pem)
  } catch {
    throw new Unreadable('A key is not a public key in PEM.')
  }
}
