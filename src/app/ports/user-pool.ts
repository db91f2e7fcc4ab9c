import type { ExternalIdentity } from './identity-providers.ts'

/** Somebody as a user pool knows them, who has just proven to it who they are. */
export type PoolUser = ExternalIdentity & {
  readonly username: string
  readonly groups: readonly string[]
}

/** Proven. The refresh token asks the pool later whether it still holds. */
export type PoolEntry = { readonly user: PoolUser; readonly refresh_token: string }

/** The pool wants a code of an authenticator app too. `secret`: of an app that is to be set up first. */
export type PoolChallenge = {
  readonly username: string
  readonly session: string
  readonly secret: string | null
}

export type PoolLogin = PoolEntry | PoolChallenge

/**
 * Accounts in a user pool, by its API. Errors of every method: `provider_unavailable`, `too_many_attempts` if the pool
 * counts too many.
 */
export type UserPool = {
  /** A code is mailed to the address. Errors: `username_taken`, `pool_refused`. */
  readonly signUp: (user: {
    readonly username: string
    readonly email: string
    readonly password: string
  }) => Promise<void>
  /** Errors: `code_invalid`, `email_taken`. */
  readonly confirm: (username: string, code: string) => Promise<void>
  /** Says nothing of whether there is such a user. */
  readonly sendCode: (username: string) => Promise<void>
  /**
   * By the username or a confirmed address. Errors: `invalid_credentials`, `sign_up_unconfirmed`,
   * `password_reset_required`.
   */
  readonly login: (username: string, password: string, ip: string | null) => Promise<PoolLogin>
  /** Errors: `code_invalid`, `challenge_invalid`. */
  readonly answer: (challenge: PoolChallenge, code: string, ip: string | null) => Promise<PoolEntry>
  /** Null: the pool lets them in no more. */
  readonly refresh: (username: string, refresh_token: string) => Promise<PoolUser | null>
  /** Has a code mailed to set a new password. Says nothing of whether there is such a user. */
  readonly forgot: (username: string) => Promise<void>
  /** Errors: `code_invalid`, `pool_refused`. */
  readonly reset: (username: string, code: string, password: string) => Promise<void>
  /** Does nothing if there is no such user. */
  readonly remove: (username: string) => Promise<void>
}

/** What is kept for a while of sign-ins to a pool. Error of every method: `database_unavailable`. */
export type PoolLogins = {
  /** Good for three minutes, as the pool's own session. Only whoever has the token can read it. */
  readonly ask: (token: string, challenge: PoolChallenge, now: Date) => Promise<void>
  /** Null: there is none, or it is too late. */
  readonly asked: (token: string, now: Date) => Promise<PoolChallenge | null>
  readonly end: (token: string) => Promise<void>
  /** Encrypted; goes with the session. */
  readonly keep: (
    session_id: string,
    entry: { readonly username: string; readonly refresh_token: string },
  ) => Promise<void>
  readonly kept: (
    session_id: string,
  ) => Promise<{ readonly username: string; readonly refresh_token: string } | null>
  /** The pool's name of a user who has signed in by it. */
  readonly usernameOf: (user_id: number, issuer: string) => Promise<string | null>
}
