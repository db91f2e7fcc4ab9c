import type { Role, User } from '../../domain/user.ts'
import type { SecurityEventType } from '../security-event-types.ts'
import type { Authentication, Caller } from './authorization.ts'

/** The request behind a security event, for the record. */
export type RequestContext = {
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
 * What a login is checked against. Each change of password raises the version, and ends the sessions that
 * began on an earlier one.
 */
export type Credentials = {
  readonly user: User
  /** Null: the account has no password. */
  readonly password_hash: string | null
  readonly credentials_version: number
  readonly has_second_factor: boolean
  /** Nobody can log in. */
  readonly locked: boolean
}

/** A user as only they themselves are shown. */
export type Profile = User & {
  /** Whether the mailbox has said that it is theirs. */
  readonly email_confirmed: boolean
  /** What the email is to become, once both mailboxes have confirmed that. */
  readonly pending_email: string | null
}

/**
 * Usernames are unique whatever their letter case, and so are emails once they are confirmed; before that anybody may
 * have given them. Each change is recorded as a security event in the same transaction. Error of every method:
 * `database_unavailable`.
 */
export type Users = {
  /** Error: `username_taken`. A free name may be taken by the time of `add`. */
  readonly requireFree: (username: string) => Promise<void>
  /** Recorded as `registered`. Error: `username_taken`. */
  readonly add: (user: NewUser, requestContext: RequestContext) => Promise<User>
  readonly find: (id: number) => Promise<Credentials | null>
  readonly findByUsername: (username: string) => Promise<Credentials | null>
  /** By the username, or by an email that is confirmed; no username is an email. */
  readonly findByLogin: (login: string) => Promise<Credentials | null>
  readonly profile: (id: number, now: Date) => Promise<Profile | null>
  /** The same password under another hash. Does nothing if the password was changed meanwhile. */
  readonly rehash: (credentials: Credentials, password_hash: string) => Promise<void>
  /**
   * Ends every session of the user, and keeps so many former hashes. Recorded as `password_changed`. False if the
   * password was changed meanwhile.
   */
  readonly changePassword: (
    credentials: Credentials,
    next: { readonly hash: string; readonly kept: number },
    requestContext: RequestContext,
  ) => Promise<boolean>
  /**
   * Ends the account and its sessions and destroys the key of its texts. What is left of its rows is
   * removed then or soon after. Recorded as `account_erased`, and in the log as UserErased. False if the
   * password was changed meanwhile.
   */
  readonly erase: (
    credentials: Credentials,
    session_id: string,
    requestContext: RequestContext,
  ) => Promise<boolean>
  /**
   * Recorded as `role_changed`, and in the log as UserRoleChanged. False: the user has the role, or is not to have it
   * because there is an admin. Errors: `user_not_found`; `last_admin`, which nobody takes from the last one;
   * `admins_only`, if the actor is none any more.
   */
  readonly changeRole: (change: NewRole, requestContext: RequestContext) => Promise<boolean>
}

export type NewRole = {
  readonly user_id: number
  readonly role: Role
  /** An admin, or `OPERATOR`. */
  readonly actor_id: number
  readonly session_id: string | null
  /** Only as long as there is no admin. */
  readonly onlyFirst: boolean
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

export type Identity = Omit<User, 'created_at'>

export type NewSession = {
  readonly id: string
  readonly expires_at: Date
  readonly amr: Authentication['amr']
  readonly refresh_hash: Buffer
  /** What the event says of it, besides `amr`. */
  readonly details?: Readonly<Record<string, string>> | undefined
}

/** Offers a refresh token and the one that is to follow it. */
export type Refresh = {
  readonly hash: Buffer
  readonly nonce: Buffer
  readonly next_hash: Buffer
}

/** The session goes on. Each nonce leads from a token to the next, the last one to the one that is valid now. */
export type Refreshed = {
  readonly nonces: readonly Buffer[]
  readonly sid: string
  readonly expires_at: string
  readonly auth_time: string
  readonly amr: Authentication['amr']
  readonly user: Identity
}

/** Ended sessions do not exist any more. Error of every method: `database_unavailable`. */
export type Sessions = {
  /** Recorded as `login_succeeded`. Error: `invalid_credentials`, if the account is gone. */
  readonly begin: (
    session: NewSession,
    credentials: Credentials,
    requestContext: RequestContext,
  ) => Promise<void>
  /**
   * Uses a refresh token; the session lasts on from there. A token that was used some seconds before leads to the
   * same successor, for two tabs. One that was used before that ends the session, recorded as `refresh_token_reused`.
   * Null: there is no such token, or its session has ended.
   */
  readonly refresh: (refresh: Refresh, requestContext: RequestContext) => Promise<Refreshed | null>
  /** Those that have not ended, with their users as of now; records their use at most once a minute. */
  readonly use: (
    ids: readonly string[],
    now: Date,
  ) => Promise<ReadonlyMap<string, { readonly user: Identity; readonly expired: boolean }>>
  /** Its user has proven once more who they are. Recorded as `stepped_up`. False: the session has ended. */
  readonly stepUp: (
    caller: Caller,
    amr: Authentication['amr'],
    requestContext: RequestContext,
  ) => Promise<boolean>
  /** Newest first, without the expired ones. */
  readonly ofUser: (user_id: number, now: Date) => Promise<readonly Session[]>
  /** Recorded as the type given. False if there was no such session of this user. */
  readonly end: (
    user_id: number,
    id: string,
    type: Extract<SecurityEventType, 'logged_out' | 'session_ended'>,
    requestContext: RequestContext,
  ) => Promise<boolean>
  /**
   * Ends all of a user's, or one, for an admin, whose id is `by`. Each is recorded as `session_ended`. How many there
   * were.
   */
  readonly endFor: (
    user_id: number,
    which: { readonly by: number; readonly session_id?: string },
    requestContext: RequestContext,
  ) => Promise<number>
}

export type RefusedAction = Extract<
  SecurityEventType,
  | 'login_failed'
  | 'password_change_failed'
  | 'email_change_failed'
  | 'erasure_failed'
  | 'step_up_failed'
  | 'second_factor_failed'
  | 'passkey_failed'
  | 'provider_sign_in_refused'
>

/** Refused actions and looks; what succeeds is recorded together with the change itself. Append-only. */
export type SecurityEvents = {
  readonly add: (
    type: RefusedAction,
    who: { readonly user_id: number | null; readonly username: string | null },
    requestContext: RequestContext,
    details?: Readonly<Record<string, string>>,
  ) => Promise<void>
  /** What happened to a user's account, newest first, before the event with this id. */
  readonly ofUser: (
    user_id: number,
    page: { readonly before: number | undefined; readonly limit: number },
  ) => Promise<readonly SecurityEvent[]>
  /** An admin is about to see users: which ones, or what they searched for. Recorded as `users_viewed`. */
  readonly viewed: (
    admin: Caller,
    what: Readonly<Record<string, unknown>>,
    requestContext: RequestContext,
  ) => Promise<void>
}

export type SecurityEvent = {
  readonly id: number
  readonly type: string
  readonly ip: string | null
  readonly user_agent: string | null
  readonly session_id: string | null
  readonly details: Readonly<Record<string, unknown>>
  readonly occurred_at: string
}

/**
 * Counts login attempts for one account from one address (as `limitingKey` gives it), before the outcome is
 * known, so that parallel attempts count too. Error of every method: `database_unavailable`.
 */
export type LoginAttempts = {
  /** Counts an attempt. Error: `too_many_attempts` with the seconds to wait. */
  readonly begin: (account: string, ip: string, now: Date) => Promise<void>
  /** Takes back an attempt whose outcome never became known. */
  readonly withdraw: (account: string, ip: string) => Promise<void>
  /** Clears the attempts after a success. */
  readonly clear: (account: string, ip: string) => Promise<void>
}

/** Slow, salted hashes. Error: `hashing_busy` when too many are in progress. */
export type PasswordHasher = {
  readonly hash: (password: string) => Promise<string>
  /** Takes as long for `null` (no such user) as for a wrong password. */
  readonly verify: (password: string, hash: string | null) => Promise<boolean>
  /** Whether the hash was made with a cost other than the current one. */
  readonly isOutdated: (hash: string) => boolean
}

/** Opaque tokens of 256 bits, of which only hashes are stored. */
export type RefreshTokens = {
  readonly first: () => string
  readonly nonce: () => Buffer
  /** The token after a token, which whoever has both can make again. */
  readonly next: (token: string, nonce: Buffer) => string
  readonly hash: (token: string) => Buffer
}

export type TokenClaims = Authentication & {
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
