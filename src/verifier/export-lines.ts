import type { Records } from './entries.ts'
import { Broken, type Place } from './failures.ts'
import type { Head, TrailEvent } from './formats.ts'
import {
  base64Hash,
  count,
  fields,
  flag,
  hash,
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
} & Leaf
/** Its place in the log; null: the checkpoint does not cover it. `before`: hashes of what lies between, in base64. */
export type Leaf = { readonly leaf: number | null; readonly before: readonly string[] }
/** A line with accesses and security events. */
export type RecordsLine = Leaf & { readonly leaf: number; readonly records: Records }
export type Change = { readonly from: unknown; readonly to: unknown }

/** The last line of an export. Only its checkpoint is signed; the others are compared with the rest. */
export type Trailer = {
  readonly count: number
  readonly position: number
  readonly exported_at: unknown
  readonly exported_by: unknown
  readonly query: Readonly<Record<string, unknown>>
  readonly parked: readonly (readonly [stream_id: string, version: number])[]
  readonly heads: readonly Head[]
  /** Null: there was no checkpoint yet. `after`: hashes of what lies behind the last leaf, in base64. */
  readonly log: { readonly checkpoint: string; readonly after: readonly string[] } | null
}

export type ExportEvent = TrailEvent & { readonly line: ExportLine }

export function eventOf(line: ExportLine): ExportEvent {
  const { position, version, type, occurred_at, recorded_at, hash, stored } = line
  const shown = { position, version, type, occurred_at, recorded_at, hash }
  return { ...stored, ...shown, actor_id: line.actor.user_id, line }
}

const CHANGE = fields({ from: scalar, to: scalar })

/** An event as every answer shows it. */
const SHOWN = {
  position: id,
  task_id: nullable(id),
  version: id,
  type: text,
  actor: fields({ user_id: id }),
  occurred_at: moment,
  /** The same as occurred_at, as is checked later. */
  recorded_at: text,
  request_id: text,
  changes: recordOf(CHANGE),
  undoes: optional(listOf(id)),
  erased: optional(flag),
  unreadable: optional(flag),
  hash,
}

const LEAF = { leaf: nullable(count), before: listOf(base64Hash) }

export const SHAPES = {
  shown: fields(SHOWN),
  line: fields({
    ...SHOWN,
    ...LEAF,
    stored: fields({
      stream_id: text,
      event_id: text,
      schema_version: id,
      data: json,
      metadata: json,
      prev_hash: nullable(hash),
    }),
    text_keys: recordOf(text),
  }),
  records: fields({
    ...LEAF,
    leaf: count,
    records: fields({ audit_accesses: count, digest: hash, security_events: count }),
  }),
  trailer: fields({
    trailer: fields({
      count,
      position: count,
      exported_at: moment,
      exported_by: id,
      query: json,
      parked: listOf(tuple(text, id)),
      heads: listOf(tuple(text, id, hash)),
      log: nullable(fields({ checkpoint: text, after: listOf(base64Hash) })),
    }),
  }),
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
