import type { Changes } from '../../domain/task/changes.ts'
import type { TaskEvent } from '../../domain/task/events.ts'
import type { UserChanges, UserEvent } from '../../domain/user.ts'
import type { Caller } from './authorization.ts'
import type { Metadata } from './event-store.ts'

/** An event as the audit shows it: who did what when, from what to what. */
export type AuditEvent = {
  readonly position: number
  /** Null for an event of a user. */
  readonly task_id: number | null
  /** The task's owner, or the user. */
  readonly user_id: number
  readonly version: number
  readonly type: string
  readonly actor_id: number
  readonly occurred_at: string
  readonly recorded_at: string
  readonly request_id: string
  readonly changes: Changes & UserChanges
  /** Versions that this event undoes. */
  readonly undoes?: readonly number[]
  /** Its texts can no longer be read: they are null. */
  readonly erased?: true
  /** A text of it, or its key, is damaged: that text is null. */
  readonly unreadable?: true
  readonly hash: string
}

export type AuditEventType = (TaskEvent | UserEvent)['type']

/** Selects events; all conditions must hold. */
export type AuditQuery = {
  /** Events of this user and of their tasks; null: everybody's. */
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
  /** Position of the last event on the previous page. */
  readonly after?: number | undefined
}

/** An event with everything that its hash covers. `text_keys` open its encrypted texts. */
export type ExportedEvent = {
  readonly event: AuditEvent
  /** Null: it is not in the log, which has been tampered with. */
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

/** A stream that the trail could not process from this version on: those events are missing from it. */
export type ParkedStream = readonly [stream_id: string, version: number]

/**
 * The events that the audit projection has processed: slightly behind the log. Below the position that it
 * has reached, only events of parked streams are missing; they are added when the stream is resumed. Apart
 * from that, pages do not shift. Error of every method: `database_unavailable`.
 */
export type AuditTrail = {
  /**
   * A page by position. `next`: where the next page begins, if there is one. `position`: how far the trail
   * had got; later events may be missing. So may events of the `parked` streams, of which only those are
   * named that the query's user may see.
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
   * All events up to `position`, which the trail has reached now, oldest first. Events of streams that are
   * `parked` now may be missing.
   */
  readonly read: (query: AuditQuery) => Promise<{
    readonly position: number
    readonly parked: readonly ParkedStream[]
    readonly batches: AsyncIterable<readonly ExportedEvent[]>
  }>
}

/** How many events of a type were recorded on a day (UTC, such as `2026-11-27`). */
export type AuditCount = { readonly type: string; readonly day: string; readonly events: number }

/** Counts what the trail has for a query, up to a position. Error: `database_unavailable`. */
export type AuditFacets = (query: AuditQuery) => Promise<{
  readonly counts: readonly AuditCount[]
  readonly position: number
  readonly parked: readonly ParkedStream[]
}>

/**
 * What was asked of the audit trail: the filters, or the task whose past was viewed. Holds no text of a
 * task.
 */
export type AuditAccess = {
  readonly kind: 'looked' | 'exported'
  readonly query: object
  readonly request_id: string
  readonly ip: string | null
  readonly now: Date
}

/** Who viewed or exported the audit trail. Append-only. Error: `database_unavailable`. */
export type AuditAccesses = {
  readonly add: (caller: Caller, access: AuditAccess) => Promise<void>
}
