import { Broken, type Place } from './failures.ts'
import type { Head, Seal, TrailEvent } from './formats.ts'
import { areHeads } from './seals.ts'

/** A line of an export. What no guard looks at is hashed, or compared with what is. */
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

/** The last line of an export. It is not signed: it is only held against the rest. */
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

type Unknown = Readonly<Record<string, unknown>>

export const isObject = (value: unknown): value is Unknown =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const isEventLine = (line: unknown): line is ExportLine =>
  isObject(line) &&
  Number.isSafeInteger(line.position) &&
  Number.isSafeInteger(line.version) &&
  ['type', 'occurred_at', 'recorded_at', 'hash'].every((name) => typeof line[name] === 'string') &&
  isObject(line.actor) &&
  isObject(line.changes) &&
  Object.values(line.changes).every(isObject) &&
  isObject(line.stored) &&
  isObject(line.stored.data) &&
  isObject(line.stored.metadata) &&
  isObject(line.text_keys) &&
  ['string', 'undefined'].includes(typeof (line.stored.prev_hash ?? undefined)) &&
  typeof line.stored.stream_id === 'string'

const isParked = (stream: unknown): boolean =>
  Array.isArray(stream) &&
  stream.length === 2 &&
  typeof stream[0] === 'string' &&
  Number.isSafeInteger(stream[1])

export const isTrailerLine = (line: unknown): line is { readonly trailer: Trailer } =>
  isObject(line) &&
  isObject(line.trailer) &&
  isObject(line.trailer.query) &&
  Array.isArray(line.trailer.parked) &&
  line.trailer.parked.every(isParked) &&
  areHeads(line.trailer.heads) &&
  Array.isArray(line.trailer.seals) &&
  line.trailer.seals.every((seal) => isObject(seal) && Array.isArray(seal.heads))

/** What nothing covers would pass for checked. */
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
 * A key twice, or a number that is rounded in reading: a program would read other facts than those
 * that are hashed. What JSON.stringify wrote has neither.
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
