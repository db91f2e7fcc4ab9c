import type { Role, User } from '../domain/user.ts'
import { AppError } from './errors.ts'
import type { FactorProof, FactorProofs } from './factor-proofs.ts'
import { limitingKey } from './limiting-key.ts'
import type { PasswordPolicy } from './password-policy.ts'
import type { AccountLinks } from './ports/account-links.ts'
import type {
  Credentials,
  LoginAttempts,
  PasswordHasher,
  Profile,
  RefusedAction,
  RequestContext,
  SecurityEvents,
  Session,
  Sessions,
  TokenClaims,
  Tokens,
  Users,
} from './ports/accounts.ts'
import type { Caller } from './ports/authorization.ts'
import type { Log } from './ports/process.ts'
import type { SecondFactorAsked, SignedIn, SignIn } from './sign-in.ts'
import { requireStepUp } from './step-up.ts'

export type AccountsDependencies = {
  readonly users: Users
  readonly sessions: Sessions
  readonly securityEvents: SecurityEvents
  readonly attempts: LoginAttempts
  readonly links: AccountLinks
  readonly hasher: PasswordHasher
  readonly passwords: PasswordPolicy
  readonly tokens: Tokens
  readonly signIn: SignIn
  readonly proofs: FactorProofs
  /** Those whose role counts for nothing without a second factor: they are users until they have proven one. */
  readonly secondFactorRoles: ReadonlySet<Role>
  readonly log: Log
}

/** From the wish to change an address until both have to have confirmed it. */
const CHANGE_MS = 24 * 3_600_000

type Answer = { readonly token: string; readonly caller: Caller | AppError }

export type Accounts = ReturnType<typeof accounts>

/** Registration, sessions and passwords. Error of every use case: `database_unavailable`. */
export function accounts(on: AccountsDependencies) {
  const { users, sessions, securityEvents, attempts, links, hasher, passwords, tokens } = on
  const { signIn, proofs, secondFactorRoles, log } = on

  /** Errors: `too_many_attempts`, `hashing_busy`. Null: there is no such user, or the password is wrong. */
  async function prove(
    given: string,
    find: () => Promise<Credentials | null>,
    password: string,
    failure: RefusedAction,
    requestContext: RequestContext,
  ): Promise<Credentials | null> {
    const address = limitingKey(requestContext.ip ?? '')
    // Looked up first: an attempt counts only if its outcome can become known.
    const credentials = await find()
    // By the name that was given: one count for username and email would tell that they belong together.
    await attempts.begin(given, address, requestContext.now)
    const hash = credentials?.password_hash ?? null
    const proven = await hasher.verify(password, hash).catch(async (busy) => {
      await noted('withdraw a login attempt', attempts.withdraw(given, address))
      throw busy
    })
    if (credentials === null || !proven) {
      const user_id = credentials?.user.id ?? null
      // The record is kept longer than any account: no address comes into it.
      const username = credentials?.user.username ?? (given.includes('@') ? null : given)
      await securityEvents.add(failure, { user_id, username }, requestContext)
      return null
    }
    await noted('clear the attempts before a login', attempts.clear(given, address))
    return credentials
  }

  /** Housekeeping: a failure is logged, and the request goes on. */
  const noted = (what: string, work: Promise<void>): Promise<void> =>
    work.catch((error) => log.warn({ err: error }, `cannot ${what}`))

  /**
   * Checks that the caller knows their current password; a wrong one does not end the session. Errors:
   * `too_many_attempts`, `hashing_busy`, `wrong_password`, `password_not_set`.
   */
  async function confirm(
    { user_id, username }: Caller,
    password: string,
    failure: RefusedAction,
    requestContext: RequestContext,
    find = () => users.find(user_id),
  ): Promise<Credentials> {
    const findWithPassword = async () => {
      const found = await find()
      if (found !== null && found.password_hash === null) throw new AppError('password_not_set')
      return found
    }
    const credentials = await prove(username, findWithPassword, password, failure, requestContext)
    if (credentials === null) throw new AppError('wrong_password')
    return credentials
  }

  /** As `confirm`, for what cannot be taken back. Error: `step_up_required`, of who has a second factor. */
  function confirmStrongly(
    caller: Caller,
    password: string,
    failure: RefusedAction,
    requestContext: RequestContext,
  ): Promise<Credentials> {
    return confirm(caller, password, failure, requestContext, async () => {
      const credentials = await users.find(caller.user_id)
      // For all others the password itself is the proof.
      if (credentials?.has_second_factor) {
        requireStepUp(caller, { hasSecondFactor: true, now: requestContext.now })
      }
      return credentials
    })
  }

  /** The same; whoever has no password has just signed in. Error: `step_up_required` too, but not `password_not_set`. */
  async function confirmErasure(
    caller: Caller,
    password: string | undefined,
    requestContext: RequestContext,
  ): Promise<Credentials> {
    const found = await users.find(caller.user_id)
    if (found === null || found.password_hash !== null) {
      return confirmStrongly(caller, password ?? '', 'erasure_failed', requestContext)
    }
    const { has_second_factor: hasSecondFactor } = found
    requireStepUp(caller, { hasSecondFactor, now: requestContext.now })
    return found
  }

  /** Rehashes at the current cost, if that can be done now; the user is let in either way. */
  async function rehash(credentials: Credentials, password: string): Promise<void> {
    try {
      await users.rehash(credentials, await hasher.hash(password))
    } catch (error) {
      log.warn({ err: error, user_id: credentials.user.id }, 'a password keeps its outdated hash')
    }
  }

  /** Who holds each of the tokens, as of now, or why nobody does. */
  async function validateAll(given: readonly string[], now: Date): Promise<readonly Answer[]> {
    const read = given.map((token) => ({ token, claims: claimsOf(token, now) }))
    const ids = read.flatMap(({ claims }) => (claims instanceof AppError ? [] : [claims.sid]))
    const used = await sessions.use(ids, now)
    return read.map(({ token, claims }) => {
      if (claims instanceof AppError) return { token, caller: claims }
      const session = used.get(claims.sid)
      if (session === undefined) return { token, caller: new AppError('session_ended') }
      // To the moment: the leeway of a token's times is for clocks that differ, and this is the same one.
      const isOver = claims.exp * 1000 <= now.getTime()
      if (session.expired || isOver) return { token, caller: new AppError('token_expired') }
      const { id: user_id, username, email, role: given } = session.user
      const { sid: session_id, iat, exp, auth_time, amr } = claims
      const role = secondFactorRoles.has(given) && !amr.includes('mfa') ? 'user' : given
      const identity = { user_id, username, email, role, session_id }
      return { token, caller: { ...identity, iat, exp, auth_time, amr } }
    })
  }

  function claimsOf(token: string, now: Date): TokenClaims | AppError {
    try {
      return tokens.verify(token, now)
    } catch (error) {
      if (error instanceof AppError) return error
      throw error
    }
  }

  return {
    /**
     * Says nothing of the email, whoever has it: its mailbox learns that (ADR 30). Errors: `username_taken`,
     * `hashing_busy`, `PasswordRefused`.
     */
    async register(
      { username, email, password }: { username: string; email: string; password: string },
      requestContext: RequestContext,
    ): Promise<User> {
      await passwords.requireFor({ username, email }, password)
      // A registration that cannot succeed must not take a hashing slot from logins. In a race `add`
      // decides.
      await users.requireFree(username)
      const password_hash = await hasher.hash(password)
      return users.add({ username, email, password_hash }, requestContext)
    },

    /**
     * By the username, or by a confirmed email. Errors: `invalid_credentials`, `too_many_attempts`,
     * `hashing_busy`, `account_locked`.
     */
    async login(
      username: string,
      password: string,
      requestContext: RequestContext,
    ): Promise<SignedIn | SecondFactorAsked> {
      const find = () => users.findByLogin(username)
      const credentials = await prove(username, find, password, 'login_failed', requestContext)
      if (credentials === null) throw new AppError('invalid_credentials')
      const { password_hash } = credentials
      if (password_hash !== null && hasher.isOutdated(password_hash)) {
        await rehash(credentials, password)
      }
      // Only whoever knows the password is told, and it may be somebody else.
      if (credentials.locked) {
        await securityEvents.add(
          'login_failed',
          { user_id: credentials.user.id, username },
          requestContext,
        )
      }
      return signIn.begin(credentials, { amr: ['pwd'] }, requestContext)
    },

    refresh: signIn.refresh,

    /**
     * A new access token, which says when and how the caller has proven who they are. Errors: `wrong_password`,
     * `second_factor_required`, `too_many_attempts`, `hashing_busy`; those of `FactorProofs`.
     */
    async stepUp(
      caller: Caller,
      proof: { readonly password: string } | FactorProof,
      requestContext: RequestContext,
    ) {
      if (!('password' in proof)) {
        return signIn.stepUp(
          caller,
          await proofs.prove(caller, proof, requestContext),
          requestContext,
        )
      }
      const { password } = proof
      const credentials = await confirm(caller, password, 'step_up_failed', requestContext)
      // A password that was stolen with a session must not renew what a second factor has proven.
      if (credentials.has_second_factor) throw new AppError('second_factor_required')
      return signIn.stepUp(caller, ['pwd'], requestContext)
    },

    /** The user who holds the token, as of now. Errors: those of TokenValidator. */
    async validate(token: string, now: Date): Promise<Caller> {
      const [answer] = await validateAll([token], now)
      if (answer === undefined || answer.caller instanceof AppError) throw answer?.caller
      return answer.caller
    },

    validateAll,

    /** Error: `session_ended`, if the account was erased after the token was validated. */
    async me(caller: Caller, now: Date): Promise<Profile> {
      const profile = await users.profile(caller.user_id, now)
      if (profile === null) throw new AppError('session_ended')
      return profile
    },

    /** Asks both mailboxes. Errors: those of `changePassword`. */
    async changeEmail(
      caller: Caller,
      { email, password }: { email: string; password: string },
      requestContext: RequestContext,
    ): Promise<void> {
      const failure = 'email_change_failed'
      const credentials = await confirmStrongly(caller, password, failure, requestContext)
      const expires_at = new Date(requestContext.now.getTime() + CHANGE_MS)
      const asked = await links.askToChange(credentials, email, expires_at, requestContext)
      if (!asked) throw new AppError('session_ended')
    },

    async logout(caller: Caller, requestContext: RequestContext): Promise<void> {
      await sessions.end(caller.user_id, caller.session_id, 'logged_out', requestContext)
    },

    /**
     * Ends every session. Errors: `wrong_password`, `password_not_set`, `too_many_attempts`, `hashing_busy`,
     * `PasswordRefused`, and `session_ended` if the password was changed meanwhile.
     */
    async changePassword(
      caller: Caller,
      { current, next }: { current: string; next: string },
      requestContext: RequestContext,
    ): Promise<void> {
      const failure = 'password_change_failed'
      const credentials = await confirmStrongly(caller, current, failure, requestContext)
      await passwords.requireNext(credentials, next)
      const hash = await hasher.hash(next)
      const kept = passwords.kept(credentials.user.role)
      const changed = await users.changePassword(credentials, { hash, kept }, requestContext)
      if (!changed) throw new AppError('session_ended')
    },

    /** Error: those of `erase`, which asks for the same. */
    async requireErasure(
      caller: Caller,
      password: string | undefined,
      requestContext: RequestContext,
    ): Promise<void> {
      await confirmErasure(caller, password, requestContext)
    },

    /** Erases the account for good. Errors: those of `changePassword`, or `step_up_required`. */
    async erase(
      caller: Caller,
      password: string | undefined,
      requestContext: RequestContext,
    ): Promise<void> {
      const credentials = await confirmErasure(caller, password, requestContext)
      const erased = await users.erase(credentials, caller.session_id, requestContext)
      if (!erased) throw new AppError('session_ended')
    },

    sessions: (caller: Caller, now: Date): Promise<readonly Session[]> =>
      sessions.ofUser(caller.user_id, now),

    /** All but the one that asks. */
    async endOtherSessions(caller: Caller, requestContext: RequestContext): Promise<void> {
      const own = await sessions.ofUser(caller.user_id, requestContext.now)
      for (const { id } of own.filter(({ id }) => id !== caller.session_id)) {
        await sessions.end(caller.user_id, id, 'session_ended', requestContext)
      }
    },

    /** Error: `session_not_found`. */
    async endSession(caller: Caller, id: string, requestContext: RequestContext): Promise<void> {
      const ended = await sessions.end(caller.user_id, id, 'session_ended', requestContext)
      if (!ended) throw new AppError('session_not_found')
    },
  }
}
