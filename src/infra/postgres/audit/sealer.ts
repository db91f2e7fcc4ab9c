import { verify } from 'node:crypto'
import type { StreamHead } from '../../../app/ports/audit.ts'
import type { Clock } from '../../../app/ports/process.ts'
import { type RecordEnds, recordsDigest, writeRecordMarks } from '../../../verifier/records.ts'
import { safePosition } from '../event-store/safe-position.ts'
import type { Query } from '../projections/projection.ts'
import { type ChainedEvent, chainedEvents } from './chained-events.ts'
import {
  digestOf,
  eventDigest,
  headDigest,
  type SealFacts,
  type SealSigner,
  sealHash,
} from './seal-signer.ts'
import { NO_RECORDS, recordsToSeal } from './sealed-records.ts'

export type Sealed = {
  readonly number: number
  /** Of the last event that it covers. */
  readonly position: number
  readonly events: number
  /** Accesses and security events. */
  readonly records: number
  /** In hex: recorded elsewhere, it shows later whether this seal is still the same. */
  readonly hash: string
  /** The seal before was signed with another key: verifiers need both. */
  readonly rotated: boolean
}

export type Sealer = {
  /**
   * Seals the events since the last seal, at most 10,000, up to the first one that is not as it was appended,
   * and the accesses and security events; null if there is nothing to seal. Error: `SealRefused`.
   */
  readonly seal: (query: Query) => Promise<Sealed | null>
}

/** A seal would vouch for a change. */
export abstract class SealRefused extends Error {
  /** For the log; the message has the details. */
  abstract readonly why: string
}
/** The seals are not the ones that were made. */
export class SealsChanged extends SealRefused {
  readonly why = 'the seals were changed'
}
/** The next event to be sealed is not what was appended. */
export class ChainBroken extends SealRefused {
  readonly why = 'the log was changed'
}

const MARK_BYTES = 46

// Both in one snapshot: a seal removed between two queries would confuse them.
const LAST_SEAL = {
  name: 'last_seal',
  text: `
    select number, position, events, encode(events_digest, 'hex') as events_digest,
      encode(heads_digest, 'hex') as heads_digest, sealed_at, encode(previous, 'hex') as previous,
      encode(hash, 'hex') as hash, key_id, signature, encode(records_digest, 'hex') as records_digest,
      access_id as audit_accesses, security_event_id as security_events,
      exists (select from seals where number = $1 and hash = decode($2, 'hex')) as known_is_there
    from seals order by number desc limit 1`,
}

// If another process has sealed the same meanwhile, it came first. Nothing is added after a missing seal.
const ADD = {
  name: 'add_seal',
  text: `
    insert into seals (number, position, events, events_digest, events_marks, heads, heads_digest,
        sealed_at, previous, hash, key_id, signature, access_id, security_event_id, records_marks,
        records_digest)
      select $1::bigint, $2, $3, $4, $5, $6, $7, $8, $9::bytea, $10, $11, $12, $13, $14, $15, $16
      where $9 is null or exists (select from seals where number = $1::bigint - 1 and hash = $9)
      on conflict do nothing returning number`,
}

const UNSEALED = {
  name: 'unsealed_seconds',
  text: `
    with last as (
      select coalesce(max(position), 0) as position, coalesce(max(access_id), 0) as access_id,
        coalesce(max(security_event_id), 0) as security_event_id
      from (select * from seals order by number desc limit 1) seal)
    select coalesce(greatest(extract(epoch from clock_timestamp() - least(
      (select recorded_at from events where position > (select position from last)
        order by position limit 1),
      (select recorded_at from audit_accesses where id > (select access_id from last)
        order by id limit 1),
      (select recorded_at from security_events where id > (select security_event_id from last)
        order by id limit 1))), 0), 0)::float8 as seconds`,
}

type KnownSeal = { readonly number: number; readonly hash: string }
type LastSeal = SealFacts & RecordEnds & KnownSeal & { readonly signature: Buffer }
type FoundSeal = LastSeal & { readonly known_is_there: boolean }

/**
 * Two at once are harmless: of two seals with one number the second is not stored. Remembers the last seal
 * that it has seen as long as the process lives.
 */
export function postgresSealer(signer: SealSigner, clock: Clock): Sealer {
  let known: KnownSeal | undefined

  const lastSeal = async (query: Query) => {
    const [last] = await query<FoundSeal>(LAST_SEAL, [known?.number, known?.hash])
    if (known !== undefined && last?.known_is_there !== true) {
      throw new SealsChanged(`seal ${known.number} is missing or changed: ${known.hash}`)
    }
    if (last === undefined) return
    if (last.key_id === signer.key_id && !isSignedBy(signer, last)) {
      throw new SealsChanged(`seal ${last.number} is not signed by the key ${last.key_id}`)
    }
    known = last
    return last
  }

  return {
    async seal(query) {
      const last = await lastSeal(query)
      const { events, broken } = await chainedEvents(
        query,
        last?.position ?? 0,
        await safePosition(query),
      )
      const { ends, records } = await recordsToSeal(query, last ?? NO_RECORDS)
      if (events.length + records.length === 0) {
        if (broken !== null) throw new ChainBroken(broken)
        return null
      }
      const position = events.at(-1)?.position ?? last?.position ?? 0
      const records_marks = writeRecordMarks(records)

      const heads = headsOf(events)
      const facts = {
        number: (last?.number ?? 0) + 1,
        position,
        events: events.length,
        events_digest: digestOf(events.map(eventDigest)).toString('hex'),
        heads_digest: digestOf(heads.map(headDigest)).toString('hex'),
        records_digest: recordsDigest(ends, records_marks).toString('hex'),
        sealed_at: clock().toISOString(),
        previous: last?.hash ?? null,
        key_id: signer.key_id,
      }
      const { number } = facts
      const digest = sealHash(facts)
      const hash = digest.toString('hex')
      const added = await query(ADD, [
        number,
        position,
        facts.events,
        Buffer.from(facts.events_digest, 'hex'),
        marksOf(events, heads),
        JSON.stringify(heads),
        Buffer.from(facts.heads_digest, 'hex'),
        facts.sealed_at,
        facts.previous === null ? null : Buffer.from(facts.previous, 'hex'),
        digest,
        facts.key_id,
        await signer.sign(digest),
        ends.audit_accesses,
        ends.security_events,
        records_marks,
        Buffer.from(facts.records_digest, 'hex'),
      ])
      if (added.length === 0) return null
      known = { number, hash }
      const rotated = last !== undefined && last.key_id !== signer.key_id
      const sealed = { events: events.length, records: records.length }
      return { number, position, ...sealed, hash, rotated }
    },
  }
}

/** Age of the first event, access or security event that no seal covers; 0 if there is none. */
export async function unsealedSeconds(query: Query): Promise<number> {
  const [row] = await query<{ seconds: number }>(UNSEALED, [])
  return row?.seconds ?? 0
}

function isSignedBy({ publicKey }: SealSigner, seal: LastSeal): boolean {
  const digest = sealHash(seal)
  return digest.toString('hex') === seal.hash && verify(null, digest, publicKey, seal.signature)
}

function headsOf(events: readonly ChainedEvent[]): readonly StreamHead[] {
  const heads = new Map<string, StreamHead>()
  for (const { stream_id, version, hash } of events)
    heads.set(stream_id, [stream_id, version, hash])
  return [...heads.values()].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
}

/**
 * For each event: its position, which of the heads is its stream's, its time of recording and its hash. The
 * digest covers all of these except the head, so it proves them.
 */
function marksOf(events: readonly ChainedEvent[], heads: readonly StreamHead[]): Buffer {
  const places = new Map(heads.map(([stream_id], index) => [stream_id, index]))
  const marks = Buffer.alloc(events.length * MARK_BYTES)
  for (const [index, { position, stream_id, recorded_at, hash }] of events.entries()) {
    const start = index * MARK_BYTES
    marks.writeUIntBE(position, start, 6)
    marks.writeUInt16BE(places.get(stream_id) ?? 0, start + 6)
    marks.writeUIntBE(Date.parse(recorded_at), start + 8, 6)
    marks.write(hash, start + 14, 'hex')
  }
  return marks
}
