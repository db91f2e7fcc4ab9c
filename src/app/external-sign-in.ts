import { AppError } from './errors.ts'
import type { Credentials, RequestContext, SecurityEvents } from './ports/accounts.ts'
import type { Caller } from './ports/authorization.ts'
import type {
  ExternalIdentity,
  Identities,
  IdentityProviders,
  LinkedIdentity,
  ProviderAnswer,
  ProviderSignIn,
  ProviderSignIns,
  VerifiedIdentity,
} from './ports/identity-providers.ts'
import type { SecondFactorAsked, SignedIn, SignIn } from './sign-in.ts'
import { usernamesFor } from './usernames.ts'

export type ExternalSignInDependencies = {
  readonly providers: IdentityProviders
  readonly signIns: ProviderSignIns
  readonly identities: Identities
  readonly securityEvents: SecurityEvents
  readonly signIn: SignIn
  /** For what changes who can sign in. Error: `step_up_required`. */
  readonly requireStepUp: (caller: Caller, now: Date) => Promise<void>
  /** 256 random bits as a text. */
  readonly newSecret: () => string
  /** Where a provider sends the browser, if no page takes it. */
  readonly callbackOf: (provider: string) => string
}

/** A session, or null if an identity was linked. */
export type Completed = {
  readonly session: SignedIn | SecondFactorAsked | null
  /** As whoever began it wants its tokens. */
  readonly in_cookies: boolean
}

export type StartOfSignIn = {
  /** What only this browser has. */
  readonly browser: string
  /** The page that takes the provider's answer. */
  readonly redirect?: string | undefined
  /** Even if somebody is still signed in there. */
  readonly again?: boolean | undefined
  /** Whether the session's tokens are to be in cookies. */
  readonly cookie?: boolean | undefined
}

export type ExternalSignIn = ReturnType<typeof externalSignIn>

/** What the record says of a sign-in that came to nothing. */
const REFUSALS = [
  'provider_refused',
  'email_unverified',
  'email_differs',
  'identity_unlinked',
  'identity_taken',
  'account_locked',
]

/** What may stand in the way of a new account. */
const TAKEN = ['username_taken', 'email_taken', 'identity_taken']

/**
 * Signing in with another identity provider: whoever proves there who they are gets a session of ours. An identity
 * belongs to the account that it was linked to, and is linked to none silently: an account that is there already links it
 * itself. Error of every use case: `database_unavailable`; with a provider's name `provider_not_found`.
 */
export function externalSignIn(on: ExternalSignInDependencies) {
  const { providers, signIns, identities, securityEvents, signIn: sessions } = on
  const { requireStepUp, newSecret, callbackOf } = on

  function provider(name: string) {
    const found = providers.get(name)
    if (found === undefined) throw new AppError('provider_not_found')
    return found
  }

  async function start(
    name: string,
    { browser, redirect = callbackOf(name), again = false, cookie = false }: StartOfSignIn,
    session_id: string | null,
    now: Date,
  ): Promise<string> {
    const secrets = { state: newSecret(), nonce: newSecret(), verifier: newSecret() }
    const url = await provider(name).authorizationUrl(secrets, redirect, again, now)
    const { state, ...kept } = secrets
    const asked = { provider: name, redirect_uri: redirect, in_cookies: cookie, session_id }
    const signIn = { ...asked, ...kept }
    await signIns.begin(state, browser, signIn, now)
    return url
  }

  /** Errors: `email_unverified`, `identity_unlinked`, `username_taken` if no name is free that is like the address. */
  async function accountOf(
    name: string,
    identity: ExternalIdentity & { readonly username?: string },
    requestContext: RequestContext,
  ): Promise<Credentials> {
    const known = await identities.find(identity)
    if (known !== null) return known
    const like = identity.username ?? identity.email ?? ''
    return register(verified(name, identity), like, requestContext)
  }

  async function signedIn(
    name: string,
    identity: ExternalIdentity,
    requestContext: RequestContext,
  ): Promise<SignedIn | SecondFactorAsked> {
    const credentials = await accountOf(name, identity, requestContext)
    const amr = identity.mfa ? (['fed', 'mfa'] as const) : (['fed'] as const)
    return sessions.begin(credentials, { amr, details: { provider: name } }, requestContext)
  }

  async function register(
    identity: VerifiedIdentity,
    like: string,
    requestContext: RequestContext,
  ): Promise<Credentials> {
    for (const username of usernamesFor(like, newSecret)) {
      try {
        return await identities.register(username, identity, requestContext)
      } catch (error) {
        const code = codeOf(error)
        if (code === undefined || !TAKEN.includes(code)) throw error
        // By another answer about the same person, at the same moment.
        const registered = await identities.find(identity)
        if (registered !== null) return registered
        if (code === 'email_taken') throw new AppError('identity_unlinked')
      }
    }
    throw new AppError('username_taken')
  }

  /** For the record: whom a refused sign-in concerns. */
  async function concerned(signIn: ProviderSignIn, identity: ExternalIdentity | null) {
    if (signIn.session_id !== null || !identity?.email_verified) return null
    return identities.holderOf(identity.email ?? '')
  }

  return {
    accountOf,

    providers: (): readonly string[] => [...providers.keys()],

    /** The URL that the browser goes to. Error: `provider_unavailable`. */
    start: (name: string, facts: StartOfSignIn, now: Date): Promise<string> =>
      start(name, facts, null, now),

    /** The same, to link an identity to the caller's account. Error: `step_up_required` too. */
    async startLink(
      name: string,
      facts: StartOfSignIn,
      caller: Caller,
      now: Date,
    ): Promise<string> {
      await requireStepUp(caller, now)
      return start(name, facts, caller.session_id, now)
    },

    /**
     * Errors: `sign_in_unknown`, `provider_unavailable`,
     * `provider_refused`, `email_unverified`, `identity_unlinked`; of a link also `email_differs`, `identity_taken`,
     * `session_ended`.
     */
    async complete(
      name: string,
      browser: string,
      answer: ProviderAnswer,
      requestContext: RequestContext,
    ): Promise<Completed> {
      const asked = provider(name)
      const { now } = requestContext
      const signIn = await signIns.take(answer.state, browser, now)
      // An answer that comes to another provider's address is not that provider's (RFC 9700, 4.4).
      if (signIn === null || signIn.provider !== name) throw new AppError('sign_in_unknown')
      const { redirect_uri, nonce, verifier, session_id, in_cookies } = signIn
      let identity: ExternalIdentity | null = null
      try {
        const secrets = { state: answer.state, nonce, verifier }
        identity = await asked.identify(answer, secrets, redirect_uri, now)
        if (session_id === null) {
          return { session: await signedIn(name, identity, requestContext), in_cookies }
        }
        await identities.link(session_id, verified(name, identity), requestContext)
        return { session: null, in_cookies }
      } catch (error) {
        const reason = codeOf(error)
        if (reason === undefined || !REFUSALS.includes(reason)) throw error
        const who = await concerned(signIn, identity)
        await securityEvents.add(
          'provider_sign_in_refused',
          { user_id: who?.id ?? null, username: who?.username ?? null },
          requestContext,
          { provider: name, reason },
        )
        throw error
      }
    },

    identities: (caller: Caller): Promise<readonly LinkedIdentity[]> =>
      identities.ofUser(caller.user_id),

    /** Errors: `step_up_required`, `identity_not_found`, `last_sign_in`. */
    async unlink(caller: Caller, name: string, requestContext: RequestContext): Promise<void> {
      await requireStepUp(caller, requestContext.now)
      await identities.unlink(caller.user_id, name, [...providers.keys()], requestContext)
    },
  }
}

/** Error: `email_unverified`. */
function verified(provider: string, identity: ExternalIdentity): VerifiedIdentity {
  const { issuer, subject, email, email_verified } = identity
  if (email === null || !email_verified) throw new AppError('email_unverified')
  return { provider, issuer, subject, email }
}

const codeOf = (error: unknown) => (error instanceof AppError ? error.code : undefined)
