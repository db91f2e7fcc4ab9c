import { Broken, type Place } from './failures.ts'
import type { Head, Seal, TrailEvent } from './formats.ts'
import {
  count,
  fields,
  flag,
  hash,
  hex,
  id,
  json,
  listOf,
  moment,
  nullable,
  optional,
  recordOf,
  scalar,
  text,
  tuple,
} from './shapes.ts'

/** A line of an export. */
export type ExportLine = Pick<
  TrailEvent,
  'position' | 'version' | 'type' | 'occurred_at' | 'recorded_at' | 'hash'
> & {
  readonly task_id: number | null
  readonly actor: { readonly user_id: number }
  readonly request_id: unknown
  readonly changes: Readonly<Record<string, Change>>
  readonly undoes?: unknown
  readonly erased?: unknown
  readonly unreadable?: unknown
  readonly stored: Pick<TrailEvent, 'stream_id' | 'event_id' | 'schema_version' | 'prev_hash'> & {
    readonly data: Readonly<Record<string, unknown>>
    readonly metadata: Readonly<Record<string, unknown>>
  }
  readonly text_keys: Readonly<Record<string, string>>
}
export type Change = { readonly from: unknown; readonly to: unknown }

/** The last line of an export. It is not signed: it is only compared with the rest. */
export type Trailer = {
  readonly count: number
  readonly position: number
  readonly exported_at: unknown
  readonly exported_by: unknown
  readonly query: Readonly<Record<string, unknown>>
  readonly parked: readonly (readonly [stream_id: string, version: number])[]
  readonly heads: readonly Head[]
  readonly seals: readonly Seal[]
}

export type ExportEvent = TrailEvent & { readonly line: ExportLine }

export function eventOf(line: ExportLine): ExportEvent {
  const { position, version, type, occurred_at, recorded_at, hash, stored } = line
  const shown = { position, version, type, occurred_at, recorded_at, hash }
  return { ...stored, ...shown, actor_id: line.actor.user_id, line }
}

const CHANGE = fields({ from: scalar, to: scalar })
const HEAD = tuple(text, id, hash)

const LINE = fields({
  position: id,
  task_id: nullable(id),
  version: id,
  type: text,
  actor: fields({ user_id: id }),
  occurred_at: moment,
  recorded_at: moment,
  request_id: text,
  changes: recordOf(CHANGE),
  undoes: optional(listOf(id)),
  erased: optional(flag),
  unreadable: optional(flag),
  hash,
  stored: fields({
    stream_id: text,
    event_id: text,
    schema_version: id,
    data: json,
    metadata: json,
    prev_hash: nullable(hash),
  }),
  text_keys: recordOf(text),
})

export const TRAILER = {
  count,
  position: count,
  exported_at: moment,
  exported_by: id,
  query: json,
  parked: listOf(tuple(text, id)),
  heads: listOf(HEAD),
  seals: listOf(json),
}

export const SEAL = {
  number: id,
  position: count,
  events: count,
  events_digest: hash,
  records_digest: hash,
  heads: listOf((head, name) => (typeof head === 'string' ? hash : HEAD)(head, name)),
  sealed_at: moment,
  previous: nullable(hash),
  hash,
  key_id: text,
  signature: hex,
}

/** Why a line is not an event of an export; null if it is one. */
export const faultInLine = (line: unknown): string | null => LINE(line, '')
export const faultInTrailer = (trailer: unknown): string | null => fields(TRAILER)(trailer, '')
export const faultInSeal = (seal: unknown): string | null => fields(SEAL)(seal, '')

/** A field that nothing covers would pass for checked. */
export function requireFields(
  value: object,
  known: readonly string[],
  broken: (why: string) => Broken,
): void {
  const strange = Object.keys(value).find((name) => !known.includes(name))
  if (strange !== undefined) throw broken(`it has a field "${strange}" that no export writes`)
}

export function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/**
 * Refuses a key that occurs twice, and a number that parsing would round: a program would read other facts
 * than were hashed. JSON.stringify writes neither.
 */
export function requireSingleKeys(text: string, line: unknown, place: Place): void {
  if (text === JSON.stringify(line)) return
  const stack: Set<string>[] = []
  let wasKey = ''
  for (const [token] of text.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]:]|[^\s"{}[\]:,]+/g)) {
    if (token === '{' || token === '[') stack.push(new Set())
    else if (token === '}' || token === ']') stack.pop()
    else if (token === ':') {
      const key: string = JSON.parse(wasKey)
      if (stack.at(-1)?.has(key)) throw new Broken(place, `has "${key}" twice.`)
      stack.at(-1)?.add(key)
    } else if (/^[-\d]/.test(token) && JSON.stringify(JSON.parse(token)) !== token) {
      throw new Broken(place, `has the number ${token}, which no export writes.`)
    } else wasKey = token
  }
}
