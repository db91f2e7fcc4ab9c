import type { EventEnvelope } from '../../domain/task/view.ts'

/** Where a command came from; stored with its events and covered by their hashes. */
export type Metadata = {
  /** The client may have chosen it, and chosen it twice. */
  readonly request_id: string
  readonly correlation_id: string
  /** The one command; made by the server, a new one each time. */
  readonly causation_id: string
  readonly session_id: string | null
  readonly ip: string | null
}

/** An event as it is stored. `hash` and `prev_hash` are lower-case hex of SHA-256. */
export type Recorded<Event> = Event &
  EventEnvelope & {
    /** Place among all events; greater is later in the log. Unique, with gaps. */
    readonly position: number
    readonly event_id: string
    readonly schema_version: number
    readonly actor_id: number
    readonly metadata: Metadata
    /** The same as `occurred_at`. */
    readonly recorded_at: string
    readonly prev_hash: string | null
    readonly hash: string
    /** The key of the event's texts is destroyed: they are null. */
    readonly erased?: true
    /** A text of it is damaged, or the key of one: that is null. */
    readonly unreadable?: true
  }

/**
 * An event without its texts, which can be long: each text is the event's position in digits, and
 * `readAt` has it.
 */
export type EventSummary<Event> = Recorded<Event>

/** The events of one stream, oldest first, and the head that the next event is chained to. */
export type History<Event> = {
  readonly version: number
  readonly head_hash: string | null
  readonly events: readonly Recorded<Event>[]
}

/** Where a page of a stream begins: after a version, oldest first, or before one, newest first. */
export type StreamPlace = { readonly after: number } | { readonly before: number }

/** `more`: others follow. */
export type StreamPage<Event> = {
  readonly events: readonly Recorded<Event>[]
  readonly more: boolean
}

/** The client's Idempotency-Key and what identifies the request that it was sent with (SHA-256). */
export type CommandKey = { readonly key: string; readonly fingerprint: Buffer }

/** Stands in an appended row wherever it is to show the events' time, which the store gives them. */
export const TIME_OF_APPEND = 'time of append'

export type Append<Event, Row> = {
  readonly stream_id: string
  readonly stream_type: string
  /** Version and head that the events were decided on; always enforced. 0 and null: a new stream. */
  readonly expected: { readonly version: number; readonly head_hash: string | null }
  readonly schema_version: number
  /** May be empty with a command key: then only the answer is kept. */
  readonly events: readonly Event[]
  /** The read table's row after these events; `TIME_OF_APPEND` in fields named `…_at`. */
  readonly row: Row
  readonly actor_id: number
  readonly metadata: Metadata
  readonly command: CommandKey | undefined
}

export type AppendResult<Event, Row> =
  /** The row with its times. */
  | { readonly outcome: 'appended'; readonly row: Row }
  /** Another writer was first: the events that were missed, to decide again on top of them. */
  | { readonly outcome: 'conflict'; readonly missed: History<Event> }
  /** The same command was done before: its stored answer. */
  | { readonly outcome: 'replayed'; readonly row: Row }

/** Errors of every method: `database_unavailable`. */
export type EventStore<Event, Row> = {
  /** The whole stream, or what follows `after`. An unknown stream has version 0 and no events. */
  readonly load: (stream_id: string, after?: number) => Promise<History<Event>>
  /** At most `limit` events of a stream, and at least one; it ends once their texts fill 1 MiB. */
  readonly page: (
    stream_id: string,
    place: StreamPlace,
    limit: number,
  ) => Promise<StreamPage<Event>>
  /**
   * The few events that a stream's values at a version come from: the first one, the last one that set
   * each field, and that of the version itself; or of the last, if it has fewer. Oldest first. Folded
   * they give what all events up to there give, times included.
   */
  readonly inForce: (stream_id: string, version: number) => Promise<readonly Recorded<Event>[]>
  /** The version that a stream had at a time; zero: none yet. */
  readonly versionAt: (stream_id: string, time: string) => Promise<number>
  /**
   * Events, read-table row and command key in one transaction, or none of them. Events that are
   * appended together have one time; within a stream no event has an earlier one than the event before.
   * Errors: `idempotency_key_reused` (another fingerprint), `idempotency_key_in_use` (still running),
   * `session_ended` (the account was erased).
   */
  readonly append: (append: Append<Event, Row>) => Promise<AppendResult<Event, Row>>
  /** The answer stored for a command key in the last 24 hours. Error: `idempotency_key_reused`. */
  readonly answer: (actor_id: number, command: CommandKey) => Promise<Row | null>
  /**
   * Events of all streams in log order, after position `after`. Never returns an event while an
   * earlier position may still commit, so a reader that goes on from the last position skips none.
   */
  readonly readAll: (after: number, limit: number) => Promise<readonly Recorded<Event>[]>
  /** The same of one actor's events alone, as summaries; up to position `until` if there is one. */
  readonly summariesOfActor: (
    actor_id: number,
    after: number,
    limit: number,
    until?: number,
  ) => Promise<readonly EventSummary<Event>[]>
  /** Position up to which `readAll` reads now. */
  readonly end: () => Promise<number>
  /** Greatest position that any event may have by now; a greater one was never given. */
  readonly last: () => Promise<number>
  /** The time of the log's clock, or of the last event if that is later; no event has a later one. */
  readonly now: () => Promise<string>
  /** Outlines of the events of some streams up to position `until`, ordered by position. */
  readonly summariesOf: (
    stream_ids: readonly string[],
    until: number,
  ) => Promise<readonly EventSummary<Event>[]>
  /** The events at these positions, ordered by position. */
  readonly readAt: (positions: readonly number[]) => Promise<readonly Recorded<Event>[]>
  /**
   * Greatest position of an actor's event that has a time up to this one, the actor's own last event
   * included; some of the events before it may be a little later. Zero: none. Right as long as no clock
   * of the database was set back by more than 10 s.
   */
  readonly positionAt: (actor_id: number, time: string) => Promise<number>
}

/** Tells that something has been appended by an actor. */
export type AppendNotifier = {
  /** Calls back soon after each append of the actor, once for many; not with what has been appended. */
  readonly subscribe: (actor_id: number, onAppend: () => void) => () => void
}
