import type { Changes } from '../../domain/task/changes.ts'
import type { TaskEvent } from '../../domain/task/events.ts'
import type { UserEvent } from '../../domain/user.ts'
import type { Caller } from './authorization.ts'
import type { Metadata } from './event-store.ts'

/** An event as the audit shows it: who did what when, from what to what. */
export type AuditEvent = {
  readonly position: number
  /** Null for what happened to a user. */
  readonly task_id: number | null
  /** Whose task it is, or which user. */
  readonly user_id: number
  readonly version: number
  readonly type: string
  readonly actor_id: number
  readonly occurred_at: string
  readonly recorded_at: string
  readonly request_id: string
  readonly changes: Changes
  /** Versions that this event takes back. */
  readonly undoes?: readonly number[]
  /** Texts in it cannot be read any more: they are null. */
  readonly erased?: true
  /** A text in it is damaged, or the key of one: that is null. */
  readonly unreadable?: true
  readonly hash: string
}

export type AuditEventType = (TaskEvent | UserEvent)['type']

/** Which events; of several conditions all hold. */
export type AuditQuery = {
  /** Whose tasks' events, and what happened to this user; null: everybody's. */
  readonly user_id: number | null
  readonly actor_id?: number | undefined
  readonly task_id?: number | undefined
  readonly type?: readonly AuditEventType[] | undefined
  /** When recorded, ISO 8601; `from` is inclusive, `to` exclusive. */
  readonly from?: string | undefined
  readonly to?: string | undefined
  readonly request_id?: string | undefined
}

export type AuditPage = {
  readonly descending: boolean
  readonly limit: number
  /** Position of the last event of the page before. */
  readonly after?: number | undefined
}

/** An event with what its hash covers. Its encrypted texts can be read with `text_keys`. */
export type ExportedEvent = {
  readonly event: AuditEvent
  /** Null: it is not in the log, which was tampered with. */
  readonly stored: StoredEvent | null
  /** base64url, by field; none for a text that cannot be read. */
  readonly text_keys: Readonly<Record<string, string>>
}

export type StoredEvent = {
  readonly stream_id: string
  readonly event_id: string
  readonly schema_version: number
  readonly data: unknown
  readonly metadata: Metadata
  readonly prev_hash: string | null
}

/** The end of a stream: its id, and version and hash of its last event. */
export type StreamHead = readonly [stream_id: string, version: number, hash: string]

/** A stream whose events from this version on the trail could not process: they are missing from it. */
export type ParkedStream = readonly [stream_id: string, version: number]

/** A seal as an export shows it: digests, hashes and signature are lower-case hex. */
export type ExportedSeal = {
  readonly number: number
  readonly position: number
  readonly events: number
  readonly events_digest: string
  /** Of the accesses and security events that it covers. */
  readonly records_digest: string
  /** Of streams that are not in the export only the digests of their heads. */
  readonly heads: readonly (StreamHead | string)[]
  readonly sealed_at: string
  readonly previous: string | null
  readonly hash: string
  readonly key_id: string
  readonly signature: string
}

/**
 * The events as far as the audit projection has them: a little less than the log. Below a position
 * that has been reached only the events of parked streams are missing, and are added when such a
 * stream is resumed; but for them pages do not shift. Error of every method: `database_unavailable`.
 */
export type AuditTrail = {
  /**
   * A page by position. `next` is where the next one goes on, if there is one; `position` is how far
   * the trail had come: later events may be missing, and those of `parked` streams, of which only
   * those are named that the query's user may see.
   */
  readonly find: (
    query: AuditQuery,
    page: AuditPage,
  ) => Promise<{
    readonly events: readonly AuditEvent[]
    readonly next: number | null
    readonly position: number
    readonly parked: readonly ParkedStream[]
  }>
  /**
   * All events up to `position`, which is how far the trail has come now; oldest first. Those of
   * streams that are `parked` now may be missing. `sealed`: as far as seals go now, at most `position`.
   */
  readonly read: (query: AuditQuery) => Promise<{
    readonly position: number
    readonly sealed: number
    readonly parked: readonly ParkedStream[]
    readonly batches: AsyncIterable<readonly ExportedEvent[]>
  }>
  /** Where streams were at a position, in the order of `stream_ids`. */
  readonly heads: (
    stream_ids: readonly string[],
    position: number,
  ) => Promise<readonly StreamHead[]>
  /** Numbers of the seals that cover the events at these positions, of those up to `position`. */
  readonly sealsOf: (positions: readonly number[], position: number) => Promise<readonly number[]>
  /**
   * Some seals up to a position, in order after number `after`; none when there are no more. `only`
   * these numbers, or all.
   */
  readonly seals: (
    range: {
      readonly after: number
      readonly position: number
      readonly only: readonly number[] | null
    },
    isShown: (stream_id: string) => boolean,
  ) => Promise<readonly ExportedSeal[]>
}

/** What was asked of the audit trail: filters, or which task's past. Holds no text of a task. */
export type AuditAccess = {
  readonly kind: 'looked' | 'exported'
  readonly query: object
  readonly request_id: string
  readonly ip: string | null
  readonly now: Date
}

/** Who looked at the audit trail or took a copy of it. Append-only. Error: `database_unavailable`. */
export type AuditAccesses = {
  readonly add: (caller: Caller, access: AuditAccess) => Promise<void>
}
