import { OPERATOR, type Role } from '../domain/user.ts'
import type { Accounts } from './accounts.ts'
import { AppError } from './errors.ts'
import type { ExternalSignIn } from './external-sign-in.ts'
import type { FactorProof } from './factor-proofs.ts'
import { limitingKey } from './limiting-key.ts'
import type {
  Credentials,
  LoginAttempts,
  RequestContext,
  SecurityEvents,
  Sessions,
  Tokens,
  Users,
} from './ports/accounts.ts'
import type { Caller } from './ports/authorization.ts'
import type { Log } from './ports/process.ts'
import type { PoolEntry, PoolLogins, PoolUser, UserPool } from './ports/user-pool.ts'
import type { SecondFactorAsked, SignedIn, SignIn } from './sign-in.ts'

export type PoolAccountsDependencies = {
  readonly pool: UserPool
  /** The pool as an issuer of tokens. */
  readonly issuer: string
  readonly logins: PoolLogins
  readonly externalSignIn: Pick<ExternalSignIn, 'accountOf'>
  readonly local: Accounts
  readonly users: Users
  readonly sessions: Sessions
  readonly signIn: SignIn
  readonly tokens: Tokens
  readonly attempts: LoginAttempts
  readonly securityEvents: SecurityEvents
  readonly newSecret: () => string
  readonly log: Log
}

const CHALLENGE_SECONDS = 180
/** How identities at the pool are called. */
const POOL = 'cognito'

export type PoolAccounts = ReturnType<typeof poolAccounts>

/**
 * Accounts whose passwords a user pool keeps: it is asked who somebody is, and the session is ours. Their row follows
 * the pool: it is made at the first sign-in, and its role is that of the pool's groups. Errors of every use case:
 * `database_unavailable`, `provider_unavailable`, `too_many_attempts`.
 */
export function poolAccounts(on: PoolAccountsDependencies) {
  const { pool, issuer, logins, externalSignIn, local, users, sessions, signIn, tokens } = on
  const { attempts, securityEvents, newSecret, log } = on

  /** Counts a try before its outcome is known, as for accounts of our own. */
  async function counted<T>(
    name: string,
    { ip, now, ...rest }: RequestContext,
    work: () => Promise<T>,
  ): Promise<T> {
    const address = limitingKey(ip ?? '')
    await attempts.begin(name, address, now)
    try {
      const done = await work()
      await noted('clear the attempts before a login', attempts.clear(name, address))
      return done
    } catch (error) {
      const code = error instanceof AppError ? error.code : undefined
      if (code === 'invalid_credentials' || code === 'code_invalid') {
        // The record is kept longer than any account: no address comes into it.
        const who = { user_id: null, username: name.includes('@') ? null : name }
        await securityEvents.add('login_failed', who, { ip, now, ...rest })
      } else {
        await noted('withdraw a login attempt', attempts.withdraw(name, address))
      }
      throw error
    }
  }

  const noted = (what: string, work: Promise<void>): Promise<void> =>
    work.catch((error) => log.warn({ err: error }, `cannot ${what}`))

  async function withRole(
    credentials: Credentials,
    { groups }: PoolUser,
    requestContext: RequestContext,
  ): Promise<Credentials> {
    const { user } = credentials
    const role = roleOf(groups)
    if (user.role === role) return credentials
    const change = { user_id: user.id, role, actor_id: OPERATOR, session_id: null }
    try {
      await users.changeRole({ ...change, onlyFirst: false }, requestContext)
    } catch (error) {
      // The last admin stays one, whatever the pool says: somebody has to be.
      if (!(error instanceof AppError) || error.code !== 'last_admin') throw error
      log.warn({ user_id: user.id }, 'the last admin is in no group for admins of the user pool')
      return credentials
    }
    return { ...credentials, user: { ...user, role } }
  }

  async function enter(
    { user, refresh_token }: PoolEntry,
    requestContext: RequestContext,
  ): Promise<SignedIn | SecondFactorAsked> {
    const account = await externalSignIn.accountOf(POOL, user, requestContext)
    const credentials = await withRole(account, user, requestContext)
    const amr = user.mfa ? (['pwd', 'otp', 'mfa'] as const) : (['pwd'] as const)
    const proof = { amr, details: { provider: POOL } }
    const session = await signIn.begin(credentials, proof, requestContext)
    if ('second_factor' in session) return session
    const { sid } = tokens.verify(session.token, requestContext.now)
    await logins.keep(sid, { username: user.username, refresh_token })
    return session
  }

  return {
    /** A code is on its way to the address. Errors: `username_taken`, `pool_refused`. */
    async register(user: { username: string; email: string; password: string }): Promise<null> {
      await pool.signUp(user)
      return null
    },

    /** Errors: `code_invalid`, `email_taken`. */
    confirm: (username: string, code: string, requestContext: RequestContext): Promise<void> =>
      counted(username, requestContext, () => pool.confirm(username, code)),

    sendCode: pool.sendCode,
    forgot: pool.forgot,

    /** Errors: `code_invalid`, `pool_refused`. */
    reset: (
      username: string,
      code: string,
      password: string,
      requestContext: RequestContext,
    ): Promise<void> =>
      counted(username, requestContext, () => pool.reset(username, code, password)),

    /**
     * Errors: `invalid_credentials`, `sign_up_unconfirmed`, `password_reset_required`, `provider_refused`,
     * `email_unverified`, `identity_unlinked`.
     */
    async login(
      username: string,
      password: string,
      requestContext: RequestContext,
    ): Promise<SignedIn | SecondFactorAsked> {
      const ask = () => pool.login(username, password, requestContext.ip)
      const proven = await counted(username, requestContext, ask)
      if ('user' in proven) return enter(proven, requestContext)
      const challenge = newSecret()
      await logins.ask(challenge, proven, requestContext.now)
      const setup = proven.secret === null ? {} : { setup: { secret: proven.secret } }
      const methods = ['totp'] as const
      return { second_factor: { challenge, expires_in: CHALLENGE_SECONDS, methods, ...setup } }
    },

    /** Errors: `challenge_invalid`, `code_invalid`, and those of `login`. */
    async proveSecondFactor(
      token: string,
      proof: FactorProof,
      requestContext: RequestContext,
    ): Promise<SignedIn> {
      const challenge = await logins.asked(token, requestContext.now)
      // Of an account that had a second factor here before it was in the pool.
      if (challenge === null) return signIn.proveSecondFactor(token, proof, requestContext)
      // The pool knows no others.
      if (!('totp' in proof)) throw new AppError('code_invalid')
      const answer = () => pool.answer(challenge, proof.totp, requestContext.ip)
      const proven = await counted(challenge.username, requestContext, answer)
      await logins.end(token)
      const session = await enter(proven, requestContext)
      // Two factors are all that is asked for.
      if ('second_factor' in session) throw new AppError('challenge_invalid')
      return session
    },

    /**
     * The pool is asked whether it still lets them in, and what their role is; while it is away the session lasts on.
     * Error: `session_ended`.
     */
    async refresh(given: string, requestContext: RequestContext): Promise<SignedIn> {
      const session = await signIn.refresh(given, requestContext)
      const { sid, user_id } = tokens.verify(session.token, requestContext.now)
      const held = await logins.kept(sid)
      if (held === null) return session
      try {
        const user = await pool.refresh(held.username, held.refresh_token)
        const credentials = user && (await users.find(user_id))
        if (credentials) await withRole(credentials, user, requestContext)
        if (user !== null) return session
      } catch (error) {
        log.warn({ err: error }, 'cannot ask the user pool whether a session may last on')
        return session
      }
      await sessions.end(user_id, sid, 'session_ended', requestContext)
      throw new AppError('session_ended')
    },

    /** Removes it from the pool first: whoever is there could come again. Errors: those of accounts of our own. */
    async erase(
      caller: Caller,
      password: string | undefined,
      requestContext: RequestContext,
    ): Promise<void> {
      await local.requireErasure(caller, password, requestContext)
      const username = await logins.usernameOf(caller.user_id, issuer)
      if (username !== null) await pool.remove(username)
      await local.erase(caller, password, requestContext)
    },
  }
}

/** The highest role that a group names. */
const roleOf = (groups: readonly string[]): Role =>
  (['admin', 'auditor'] as const).find((role) => groups.includes(role)) ?? 'user'
