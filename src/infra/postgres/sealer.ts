import type { Clock, StreamHead } from '../../app/ports.ts'
import { digestOf, eventDigest, headDigest, type SealSigner, sealHash } from '../seal-signer.ts'
import type { Query } from './projection.ts'
import { safePosition } from './safe-position.ts'

export type Sealed = {
  readonly number: number
  /** Of the last event that it covers. */
  readonly position: number
  readonly events: number
  /** The seal before was signed with another key: others need both to check. */
  readonly rotated: boolean
}

export type Sealer = {
  /** Seals the events since the last seal, 10,000 at most; null when there is nothing to seal. */
  readonly seal: () => Promise<Sealed | null>
}

const LIMIT = 10_000
const MARK_BYTES = 16
const DIGEST_BYTES = 8

const LAST_SEAL = {
  name: 'last_seal',
  text: `
    select number, position, encode(hash, 'hex') as hash, key_id
    from seals order by number desc limit 1`,
}

const READ = {
  name: 'read_to_seal',
  text: `
    select position, stream_id, version, recorded_at, encode(hash, 'hex') as hash from events
    where position > $1 and position <= $2 order by position limit ${LIMIT}`,
}

// Whoever else has sealed the same meanwhile was first.
const ADD = {
  name: 'add_seal',
  text: `
    insert into seals (number, position, events, events_digest, events_marks, heads, heads_digest,
        sealed_at, previous, hash, key_id, signature)
      values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
      on conflict do nothing returning number`,
}

type LastSeal = {
  readonly number: number
  readonly position: number
  readonly hash: string
  readonly key_id: string
}

type EventToSeal = {
  readonly position: number
  readonly stream_id: string
  readonly version: number
  readonly recorded_at: string
  readonly hash: string
}

/** Two at once are harmless: of two seals with one number the second is not kept. */
export function postgresSealer(query: Query, signer: SealSigner, clock: Clock): Sealer {
  return {
    async seal() {
      const [last] = await query<LastSeal>(LAST_SEAL, [])
      const range = [last?.position ?? 0, await safePosition(query)]
      const events = await query<EventToSeal>(READ, range)
      const position = events.at(-1)?.position
      if (position === undefined) return null

      const heads = headsOf(events)
      const digests = events.map(eventDigest)
      const facts = {
        number: (last?.number ?? 0) + 1,
        position,
        events: events.length,
        events_digest: digestOf(digests).toString('hex'),
        heads_digest: digestOf(heads.map(headDigest)).toString('hex'),
        sealed_at: clock().toISOString(),
        previous: last?.hash ?? null,
        key_id: signer.key_id,
      }
      const hash = sealHash(facts)
      const added = await query(ADD, [
        facts.number,
        facts.position,
        facts.events,
        Buffer.from(facts.events_digest, 'hex'),
        marksOf(events, digests, heads),
        JSON.stringify(heads),
        Buffer.from(facts.heads_digest, 'hex'),
        facts.sealed_at,
        facts.previous === null ? null : Buffer.from(facts.previous, 'hex'),
        hash,
        facts.key_id,
        await signer.sign(hash),
      ])
      if (added.length === 0) return null
      const rotated = last !== undefined && last.key_id !== signer.key_id
      return { number: facts.number, position, events: events.length, rotated }
    },
  }
}

function headsOf(events: readonly EventToSeal[]): readonly StreamHead[] {
  const heads = new Map<string, StreamHead>()
  for (const { stream_id, version, hash } of events)
    heads.set(stream_id, [stream_id, version, hash])
  return [...heads.values()].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
}

/** Of each event its position, which of the heads is its stream's, and the first of its digest. */
function marksOf(
  events: readonly EventToSeal[],
  digests: readonly Buffer[],
  heads: readonly StreamHead[],
): Buffer {
  const places = new Map(heads.map(([stream_id], index) => [stream_id, index]))
  const marks = Buffer.alloc(events.length * MARK_BYTES)
  for (const [index, { position, stream_id }] of events.entries()) {
    const start = index * MARK_BYTES
    marks.writeUIntBE(position, start, 6)
    marks.writeUInt16BE(places.get(stream_id) ?? 0, start + 6)
    digests[index]?.copy(marks, start + MARK_BYTES - DIGEST_BYTES, 0, DIGEST_BYTES)
  }
  return marks
}
