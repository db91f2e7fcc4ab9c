import type { Changes } from '../domain/task/changes.ts'
import type { TaskEvent, TaskPriority, TaskStatus } from '../domain/task/events.ts'
import type { Placed, TaskView } from '../domain/task/view.ts'
import type { Role, User, UserEvent } from '../domain/user.ts'

export type Clock = () => Date

/** Anything that takes structured lines; pino does. Never give it a token, a password or a header. */
export type Log = {
  readonly info: (facts: object, message: string) => void
  readonly warn: (facts: object, message: string) => void
  readonly error: (facts: object, message: string) => void
}

// ---------------------------------------------------------------------------------------- events

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
  Placed & {
    /** Place among all events; greater is later in the log. Unique, with gaps. */
    readonly position: number
    readonly event_id: string
    readonly schema_version: number
    readonly actor_id: number
    readonly metadata: Metadata
    readonly recorded_at: string
    readonly prev_hash: string | null
    readonly hash: string
    /** The key of the event's texts is destroyed: they are null. */
    readonly erased?: true
  }

/**
 * An event without its texts, which can be long: each text is the event's position in digits, and
 * `readAt` has it.
 */
export type Outline<Event> = Recorded<Event>

/** The events of one stream, oldest first, and the head that the next event is chained to. */
export type History<Event> = {
  readonly version: number
  readonly head_hash: string | null
  readonly events: readonly Recorded<Event>[]
}

/** The client's Idempotency-Key and what identifies the request that it was sent with (SHA-256). */
export type CommandKey = { readonly key: string; readonly fingerprint: Buffer }

export type Append<Event, Row> = {
  readonly stream_id: string
  readonly stream_type: string
  /** Version and head that the events were decided on; always enforced. 0 and null: a new stream. */
  readonly expected: { readonly version: number; readonly head_hash: string | null }
  readonly schema_version: number
  /** May be empty with a command key: then only the answer is kept. */
  readonly events: readonly Event[]
  /** The read table's row after these events. */
  readonly row: Row
  readonly actor_id: number
  readonly metadata: Metadata
  /** ISO 8601 UTC with milliseconds. */
  readonly occurred_at: string
  readonly command: CommandKey | undefined
}

export type AppendResult<Event, Row> =
  | { readonly outcome: 'appended' }
  /** Another writer was first: the events that were missed, to decide again on top of them. */
  | { readonly outcome: 'conflict'; readonly missed: History<Event> }
  /** The same command was done before: its stored answer. */
  | { readonly outcome: 'replayed'; readonly row: Row }

/** Errors of every method: `database_unavailable`. */
export type EventStore<Event, Row> = {
  /** The whole stream, or what follows `after`. An unknown stream has version 0 and no events. */
  readonly load: (stream_id: string, after?: number) => Promise<History<Event>>
  /**
   * Events, read-table row and command key in one transaction, or none of them.
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
  /** The same of one actor's events alone, as outlines; up to position `until` if there is one. */
  readonly outlinesOfActor: (
    actor_id: number,
    after: number,
    limit: number,
    until?: number,
  ) => Promise<readonly Outline<Event>[]>
  /** Position up to which `readAll` reads now. */
  readonly end: () => Promise<number>
  /** Greatest position that any event may have by now; a greater one was never given. */
  readonly last: () => Promise<number>
  /** Outlines of the events of some streams up to position `until`, ordered by position. */
  readonly outlinesOf: (
    stream_ids: readonly string[],
    until: number,
  ) => Promise<readonly Outline<Event>[]>
  /** The events at these positions, ordered by position. */
  readonly readAt: (positions: readonly number[]) => Promise<readonly Recorded<Event>[]>
  /**
   * Greatest position of an actor's event that was recorded by a time (to the millisecond): what was so
   * then, the actor's own last event included. Zero: none. Right as long as no clock of the database
   * was set back by more than 10 s.
   */
  readonly positionAt: (actor_id: number, time: string) => Promise<number>
}

/** Tells that something has been appended by an actor. */
export type News = {
  /** Calls back soon after each append of the actor, once for many; not with what has been appended. */
  readonly subscribe: (actor_id: number, onNews: () => void) => () => void
}

// ----------------------------------------------------------------------------------------- audit

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
  /** base64url, by field; none for a text whose key is destroyed. */
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

/** A stream whose events from this version on the trail could not take in: they are missing in it. */
export type ParkedStream = readonly [stream_id: string, version: number]

/** A seal as an export shows it: digests, hashes and signature are lower-case hex. */
export type ExportedSeal = {
  readonly number: number
  readonly position: number
  readonly events: number
  readonly events_digest: string
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

// ----------------------------------------------------------------------------------------- tasks

export type TaskSort = 'created_at' | 'updated_at' | 'due_date' | 'priority'

export type TaskQuery = {
  readonly user_id: number
  readonly status?: readonly TaskStatus[] | undefined
  readonly priority?: readonly TaskPriority[] | undefined
  /** Exclusive bounds, ISO 8601. */
  readonly due_before?: string | undefined
  readonly due_after?: string | undefined
  readonly has_due_date?: boolean | undefined
  /** Contained in title or description, letter case ignored. */
  readonly q?: string | undefined
  readonly sort: TaskSort
  readonly descending: boolean
  readonly limit: number
  /** The last row of the page before. */
  readonly after?: TaskCursor | undefined
}

/** A place in a sorted list: the sorted value (null: no due date) and the id. */
export type TaskCursor = { readonly value: string | null; readonly id: number }

/** The read table. Error of every method: `database_unavailable`. */
export type TaskList = {
  /** A number that no task has had. */
  readonly nextId: () => Promise<number>
  /** Deleted tasks are not found. */
  readonly find: (id: number) => Promise<TaskView | null>
  /** Live tasks in order, and where the next page begins if there is one. */
  readonly list: (
    query: TaskQuery,
  ) => Promise<{ readonly tasks: readonly TaskView[]; readonly next: TaskCursor | null }>
}

// ------------------------------------------------------------------------------ authorization port

/** Who calls, as auth-service says. */
export type Caller = {
  readonly user_id: number
  readonly username: string
  readonly email: string
  readonly role: Role
  readonly session_id: string
  /** Seconds since 1970. */
  readonly iat: number
  readonly exp: number
}

/**
 * Validates a bearer token. Errors: `token_missing`, `token_invalid`, `token_expired`,
 * `session_ended`, `auth_service_unavailable` (never access when in doubt).
 */
export type TokenValidator = {
  readonly validate: (token: string, request_id: string) => Promise<Caller>
}

// ------------------------------------------------------------------------------------------ users

/** The request that something happened on, for the record of security events. */
export type Occasion = {
  readonly request_id: string
  readonly ip: string | null
  readonly user_agent: string | null
  readonly now: Date
}

export type NewUser = {
  readonly username: string
  readonly email: string
  readonly password_hash: string
}

/**
 * What a login is checked against. The version rises with each change of password; a session that
 * was begun on an earlier one is over.
 */
export type Credentials = {
  readonly user: User
  readonly password_hash: string
  readonly credentials_version: number
}

/**
 * Usernames and emails are unique whatever their letter case. Each change is recorded as a security
 * event in the same transaction. Error of every method: `database_unavailable`.
 */
export type Users = {
  /** Errors: `username_taken`, `email_taken`. What is free now may be taken by the time of `add`. */
  readonly requireFree: (username: string, email: string) => Promise<void>
  /** Recorded as `registered`. Errors: `username_taken`, `email_taken`. */
  readonly add: (user: NewUser, occasion: Occasion) => Promise<User>
  readonly find: (id: number) => Promise<Credentials | null>
  readonly findByUsername: (username: string) => Promise<Credentials | null>
  /** The same password under another hash; nothing happens if it was changed meanwhile. */
  readonly rehash: (credentials: Credentials, password_hash: string) => Promise<void>
  /**
   * Ends every session of the user. Recorded as `password_changed`. False if the password was changed
   * meanwhile.
   */
  readonly changePassword: (
    credentials: Credentials,
    password_hash: string,
    occasion: Occasion,
  ) => Promise<boolean>
  /**
   * Ends the account and its sessions and destroys the key of its texts. What stands in the clear is
   * removed then or soon after. Recorded as `account_erased`, and in the log as UserErased. False if
   * the password was changed meanwhile.
   */
  readonly erase: (
    credentials: Credentials,
    session_id: string,
    occasion: Occasion,
  ) => Promise<boolean>
  /** Recorded as `role_changed`. The user with the new role, or null if there is no such user. */
  readonly setRole: (username: string, role: Role, occasion: Occasion) => Promise<User | null>
}

export type Session = {
  readonly id: string
  readonly user_id: number
  readonly created_at: string
  readonly last_used_at: string
  readonly expires_at: string
  readonly ip: string | null
  readonly user_agent: string | null
}

/** Sessions that ended are not there any more. Error of every method: `database_unavailable`. */
export type Sessions = {
  /** Recorded as `login_succeeded`. Error: `invalid_credentials`, when the account is gone. */
  readonly begin: (
    session: { readonly id: string; readonly expires_at: Date },
    credentials: Credentials,
    occasion: Occasion,
  ) => Promise<void>
  /** The session with its user as they are now; notes the use at most once a minute. */
  readonly use: (id: string, now: Date) => Promise<{ session: Session; user: User } | null>
  /** Newest first, those that have not expired. */
  readonly ofUser: (user_id: number, now: Date) => Promise<readonly Session[]>
  /** Recorded as the type given. False if there was no such session of this user. */
  readonly end: (
    user_id: number,
    id: string,
    type: 'logged_out' | 'session_ended',
    occasion: Occasion,
  ) => Promise<boolean>
}

/** What was refused; what was done is recorded together with the deed. Append-only. */
export type SecurityEvents = {
  readonly add: (
    type: 'login_failed' | 'password_change_failed' | 'erasure_failed',
    who: { readonly user_id: number | null; readonly username: string },
    occasion: Occasion,
  ) => Promise<void>
}

/**
 * Counts tries at one account from one address, before the outcome is known, so that parallel tries
 * count too. Error of every method: `database_unavailable`.
 */
export type LoginAttempts = {
  /** Notes a try. Error: `too_many_attempts` with the seconds to wait. */
  readonly begin: (account: string, ip: string, now: Date) => Promise<void>
  /** Takes a try back whose outcome nobody has learned. */
  readonly withdraw: (account: string, ip: string) => Promise<void>
  /** Forgets the tries after a success. */
  readonly clear: (account: string, ip: string) => Promise<void>
}

/** Slow, salted hashes. Error: `hashing_busy` when too many are under way. */
export type PasswordHasher = {
  readonly hash: (password: string) => Promise<string>
  /** Takes as long for `null` (no such user) as for a wrong password. */
  readonly verify: (password: string, hash: string | null) => Promise<boolean>
  /** Whether the hash was made with another cost than today's. */
  readonly isOutdated: (hash: string) => boolean
}

export type TokenClaims = {
  readonly user_id: number
  readonly username: string
  readonly email: string
  readonly role: Role
  /** The session's id. */
  readonly sid: string
  /** Seconds since 1970. */
  readonly iat: number
  readonly exp: number
}

/** Signed tokens. */
export type Tokens = {
  readonly sign: (claims: TokenClaims) => string
  /** Errors: `token_invalid`, `token_expired`. */
  readonly verify: (token: string, now: Date) => TokenClaims
}
