import { AppError } from './errors.ts'
import type {
  Credentials,
  Identity,
  RefreshTokens,
  RequestContext,
  Sessions,
  Tokens,
} from './ports/accounts.ts'
import type { Authentication, Caller } from './ports/authorization.ts'
import { amrAfter } from './step-up.ts'

/** As long as from each refresh on: db/migrations/…_sessions.ts. */
const IDLE_MS = 30 * 86_400_000

export type SignInDependencies = {
  readonly sessions: Sessions
  readonly tokens: Tokens
  readonly refreshTokens: RefreshTokens
  readonly newSessionId: () => string
  /** Lifetime of an access token in seconds. */
  readonly lifetime: number
}

/** How the user proved who they are, and what the record says of it besides. */
export type Proof = {
  readonly amr: Authentication['amr']
  readonly details?: Readonly<Record<string, string>>
}

/** Lifetimes in seconds. */
export type SignedIn = {
  readonly token: string
  readonly expires_in: number
  readonly refresh_token: string
  readonly refresh_expires_in: number
  readonly user: Identity
}

export type SignIn = ReturnType<typeof signIn>

/** The one place where sessions begin and last on. */
export function signIn(on: SignInDependencies) {
  const { sessions, tokens, refreshTokens, newSessionId, lifetime } = on

  function signedIn(
    user: Identity,
    session: Authentication & { readonly sid: string; readonly ends: Date },
    refresh_token: string,
    now: Date,
  ): SignedIn {
    const { id: user_id, username, email, role } = user
    const { sid, ends, auth_time, amr } = session
    const iat = seconds(now)
    const exp = iat + lifetime
    return {
      token: tokens.sign({ user_id, username, email, role, sid, iat, exp, auth_time, amr }),
      expires_in: lifetime,
      refresh_token,
      refresh_expires_in: seconds(ends) - iat,
      user: { id: user_id, username, email, role },
    }
  }

  return {
    /** Begins a session of a user who has proven who they are. Error: `invalid_credentials`, if the account is gone. */
    async begin(
      credentials: Credentials,
      { amr, details }: Proof,
      requestContext: RequestContext,
    ): Promise<SignedIn> {
      const { now } = requestContext
      const sid = newSessionId()
      const ends = new Date(now.getTime() + IDLE_MS)
      const refresh_token = refreshTokens.first()
      const refresh_hash = refreshTokens.hash(refresh_token)
      const session = { id: sid, expires_at: ends, amr, refresh_hash, details }
      await sessions.begin(session, credentials, requestContext)
      const proven = { sid, ends, auth_time: seconds(now), amr }
      return signedIn(credentials.user, proven, refresh_token, now)
    },

    /** The caller has just proven once more who they are. Error: `session_ended`. */
    async stepUp(caller: Caller, proof: Proof['amr'], requestContext: RequestContext) {
      const amr = amrAfter(caller.amr, proof)
      const isLive = await sessions.stepUp(caller, amr, requestContext)
      if (!isLive) throw new AppError('session_ended')
      const { user_id, username, email, role, session_id: sid } = caller
      const iat = seconds(requestContext.now)
      const claims = {
        user_id,
        username,
        email,
        role,
        sid,
        iat,
        exp: iat + lifetime,
        auth_time: iat,
      }
      return { token: tokens.sign({ ...claims, amr }), expires_in: lifetime }
    },

    /** Error: `session_ended`, for a token that is none as well. */
    async refresh(given: string, requestContext: RequestContext): Promise<SignedIn> {
      const { next, nonce: newNonce, hash } = refreshTokens
      const nonce = newNonce()
      const offer = { hash: hash(given), nonce, next_hash: hash(next(given, nonce)) }
      const refreshed = await sessions.refresh(offer, requestContext)
      if (refreshed === null) throw new AppError('session_ended')
      const { nonces, sid, amr, user } = refreshed
      const auth_time = seconds(new Date(refreshed.auth_time))
      const session = { sid, ends: new Date(refreshed.expires_at), auth_time, amr }
      return signedIn(user, session, nonces.reduce(next, given), requestContext.now)
    },
  }
}

const seconds = (time: Date): number => Math.floor(time.getTime() / 1000)
