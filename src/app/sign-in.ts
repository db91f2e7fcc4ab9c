import { AppError } from './errors.ts'
import type { FactorProof, FactorProofs, PasskeyProof } from './factor-proofs.ts'
import { CHALLENGE_MS } from './factors.ts'
import type {
  Credentials,
  Identity,
  RefreshTokens,
  RequestContext,
  Sessions,
  Tokens,
  Users,
} from './ports/accounts.ts'
import type { Authentication, Caller } from './ports/authorization.ts'
import type { Challenges, FactorKind, Factors } from './ports/factors.ts'
import { amrAfter } from './step-up.ts'

/** As long as from each refresh on: db/migrations/…_sessions.ts. */
const IDLE_MS = 30 * 86_400_000

export type SignInDependencies = {
  readonly users: Pick<Users, 'find'>
  readonly factors: Factors
  readonly challenges: Challenges
  readonly proofs: FactorProofs
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

/** The session begins with a proof of a second factor. `expires_in`: seconds. */
export type SecondFactorAsked = {
  readonly second_factor: {
    readonly challenge: string
    readonly expires_in: number
    readonly methods: readonly (FactorKind | 'recovery_code')[]
    /** Of an authenticator app that a user pool wants set up first. */
    readonly setup?: { readonly secret: string }
  }
}

export type SignIn = ReturnType<typeof signIn>

/** The one place where sessions begin and last on. */
export function signIn(on: SignInDependencies) {
  const { users, factors, challenges, proofs, sessions, tokens, refreshTokens } = on
  const { newSessionId, lifetime } = on

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

  async function open(
    credentials: Credentials,
    { amr, details }: Proof,
    requestContext: RequestContext,
  ): Promise<SignedIn> {
    requireUnlocked(credentials)
    const { now } = requestContext
    const sid = newSessionId()
    const ends = new Date(now.getTime() + IDLE_MS)
    const refresh_token = refreshTokens.first()
    const refresh_hash = refreshTokens.hash(refresh_token)
    const session = { id: sid, expires_at: ends, amr, refresh_hash, details }
    await sessions.begin(session, credentials, requestContext)
    const proven = { sid, ends, auth_time: seconds(now), amr }
    return signedIn(credentials.user, proven, refresh_token, now)
  }

  async function ask(
    { user, credentials_version }: Credentials,
    amr: Proof['amr'],
    now: Date,
  ): Promise<SecondFactorAsked> {
    const token = refreshTokens.first()
    const challenge = { purpose: 'login', user_id: user.id, credentials_version, amr } as const
    const expires_at = new Date(now.getTime() + CHALLENGE_MS)
    const times = { now, expires_at }
    await challenges.begin(refreshTokens.hash(token), { ...challenge, secret: null }, times)
    const kinds = new Set((await factors.ofUser(user.id)).map(({ kind }) => kind))
    const hasCodes = (await factors.recoveryCodes(user.id)) > 0
    const methods = [...kinds, ...(hasCodes ? (['recovery_code'] as const) : [])]
    return { second_factor: { challenge: token, expires_in: CHALLENGE_MS / 1000, methods } }
  }

  return {
    /**
     * Begins a session of a user who has proven who they are, or asks for the second factor if they have one and it is
     * not part of the proof. Errors: `account_locked`; `invalid_credentials`, if the account is gone.
     */
    async begin(
      credentials: Credentials,
      proof: Proof,
      requestContext: RequestContext,
    ): Promise<SignedIn | SecondFactorAsked> {
      requireUnlocked(credentials)
      const isEnough = !credentials.has_second_factor || proof.amr.includes('mfa')
      if (!isEnough) return ask(credentials, proof.amr, requestContext.now)
      return open(credentials, proof, requestContext)
    },

    /** Errors: `challenge_invalid`, `code_invalid`, `too_many_attempts`. */
    async proveSecondFactor(
      token: string,
      proof: FactorProof,
      requestContext: RequestContext,
    ): Promise<SignedIn> {
      const begun = refreshTokens.hash(token)
      const challenge = await challenges.find(begun, 'login', requestContext.now)
      const credentials = challenge?.user_id ? await users.find(challenge.user_id) : null
      const isSame = credentials?.credentials_version === challenge?.credentials_version
      if (challenge === null || credentials === null || !isSame) {
        throw new AppError('challenge_invalid')
      }
      const { id: user_id, username } = credentials.user
      const proven = await proofs.prove({ user_id, username }, proof, requestContext)
      if (!(await challenges.end(begun))) throw new AppError('challenge_invalid')
      return open(credentials, { amr: amrAfter(challenge.amr, proven) }, requestContext)
    },

    /** Without name and password. Errors: `challenge_invalid`, `code_invalid`. */
    async byPasskey(proof: PasskeyProof, requestContext: RequestContext): Promise<SignedIn> {
      const credentials = await users.find(await proofs.passkeyOwner(proof, requestContext))
      if (credentials === null) throw new AppError('code_invalid')
      return open(credentials, { amr: ['hwk', 'mfa'] }, requestContext)
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

/** Only those who have proven something are told. */
function requireUnlocked({ locked }: Credentials): void {
  if (locked) throw new AppError('account_locked')
}

const seconds = (time: Date): number => Math.floor(time.getTime() / 1000)
