import type { Role, User } from '../../domain/user.ts'

/** The request that something happened on, for the record of security events. */
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
  readonly add: (user: NewUser, requestContext: RequestContext) => Promise<User>
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
    requestContext: RequestContext,
  ) => Promise<boolean>
  /**
   * Ends the account and its sessions and destroys the key of its texts. What stands in the clear is
   * removed then or soon after. Recorded as `account_erased`, and in the log as UserErased. False if
   * the password was changed meanwhile.
   */
  readonly erase: (
    credentials: Credentials,
    session_id: string,
    requestContext: RequestContext,
  ) => Promise<boolean>
  /** Recorded as `role_changed`. The user with the new role, or null if there is no such user. */
  readonly setRole: (
    username: string,
    role: Role,
    requestContext: RequestContext,
  ) => Promise<User | null>
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
    requestContext: RequestContext,
  ) => Promise<void>
  /** The session with its user as they are now; notes the use at most once a minute. */
  readonly use: (id: string, now: Date) => Promise<{ session: Session; user: User } | null>
  /** Those of them that live now; notes their use at most once a minute. */
  readonly living: (ids: readonly string[], now: Date) => Promise<readonly string[]>
  /** Newest first, those that have not expired. */
  readonly ofUser: (user_id: number, now: Date) => Promise<readonly Session[]>
  /** Recorded as the type given. False if there was no such session of this user. */
  readonly end: (
    user_id: number,
    id: string,
    type: 'logged_out' | 'session_ended',
    requestContext: RequestContext,
  ) => Promise<boolean>
}

/** What was refused; what was done is recorded together with the deed. Append-only. */
export type SecurityEvents = {
  readonly add: (
    type: 'login_failed' | 'password_change_failed' | 'erasure_failed',
    who: { readonly user_id: number | null; readonly username: string },
    requestContext: RequestContext,
  ) => Promise<void>
}

/**
 * Counts tries at one account from one address (as `limitingKey` gives it), before the outcome is
 * known, so that parallel tries count too. Error of every method: `database_unavailable`.
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
