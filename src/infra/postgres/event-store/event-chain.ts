import { createHash } from 'node:crypto'
import canonicalize from 'canonicalize'
import { v7 as uuidv7 } from 'uuid'
import type { Append, Metadata } from '../../../app/ports/event-store.ts'

/** What an event's hash covers, besides the hash of the event before it. */
export type Hashed = {
  readonly stream_id: string
  readonly version: number
  readonly event_id: string
  readonly type: string
  readonly schema_version: number
  readonly data: unknown
  readonly actor_id: number
  readonly metadata: Metadata
  readonly occurred_at: string
}

/**
 * SHA-256 in hex over the previous event's hash (32 bytes, none for the first event of a stream) and
 * the event as canonical JSON (RFC 8785). PostgreSQL's jsonb reorders keys, canonical JSON does not
 * care: the hash of a row that was read back is the hash that was stored.
 */
export function eventHash(prev_hash: string | null, event: Hashed): string {
  const { stream_id, version, event_id, type, schema_version, data } = event
  const { actor_id, metadata, occurred_at } = event
  const facts = { stream_id, version, event_id, type, schema_version, data }
  const text = canonicalize({ ...facts, actor_id, metadata, occurred_at })
  const hash = createHash('sha256')
  if (prev_hash !== null) hash.update(Buffer.from(prev_hash, 'hex'))
  return hash.update(text as string).digest('hex')
}

/** The events of an append with ids and versions, each chained to the one before. */
export function chain<Event extends { type: string; data: unknown }>(
  append: Append<Event, unknown>,
) {
  let prev_hash = append.expected.head_hash
  return append.events.map((event, index) => {
    const version = append.expected.version + index + 1
    const linked = { ...append, ...event, version, event_id: uuidv7(), prev_hash }
    prev_hash = eventHash(prev_hash, linked)
    return {
      ...event,
      version,
      event_id: linked.event_id,
      prev_hash: linked.prev_hash,
      hash: prev_hash,
    }
  })
}
