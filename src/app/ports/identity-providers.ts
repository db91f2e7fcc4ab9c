import type { Credentials, RequestContext } from './accounts.ts'

/** What a provider says of somebody who has just proven to it who they are. */
export type ExternalIdentity = {
  readonly issuer: string
  /** The issuer's own name of them, which it never gives to anybody else. */
  readonly subject: string
  readonly email: string | null
  /** Whether the provider vouches that the address is theirs. */
  readonly email_verified: boolean
  /** Whether they proved it by more than one factor, as far as the provider says. */
  readonly mfa: boolean
}

/** What binds a provider's answer to the sign-in that asked for it. All but the verifier pass through the browser. */
export type SignInSecrets = {
  readonly state: string
  readonly nonce: string
  /** Of PKCE (RFC 7636). */
  readonly verifier: string
}

/** What a provider gives the browser to take back. */
export type ProviderAnswer = {
  readonly state: string
  readonly code?: string | undefined
  /** The issuer, if the provider says it (RFC 9207). */
  readonly iss?: string | undefined
  /** Why there is no code. */
  readonly error?: string | undefined
}

/** Error of every method: `provider_unavailable`, if it is away, slow, or answers what is no answer. */
export type IdentityProvider = {
  /** Where the browser goes to; `again`: even if somebody is still signed in there. */
  readonly authorizationUrl: (
    secrets: SignInSecrets,
    redirect_uri: string,
    again: boolean,
    now: Date,
  ) => Promise<string>
  /** Error: `provider_refused`, if it let nobody in, or what it says is not to be trusted. */
  readonly identify: (
    answer: ProviderAnswer,
    secrets: SignInSecrets,
    redirect_uri: string,
    now: Date,
  ) => Promise<ExternalIdentity>
}

/** By the name that the configuration gives them. */
export type IdentityProviders = ReadonlyMap<string, IdentityProvider>

/** A sign-in that a browser has gone to a provider for. */
export type ProviderSignIn = {
  readonly provider: string
  readonly redirect_uri: string
  readonly nonce: string
  readonly verifier: string
  /** Of somebody who is signed in, and links an identity to their account. */
  readonly session_id: string | null
  /** Whether the tokens of the session are to be in cookies. */
  readonly in_cookies: boolean
}

/** Each lasts for ten minutes. Error of every method: `database_unavailable`. */
export type ProviderSignIns = {
  /** `browser`: a secret that only the browser has. */
  readonly begin: (
    state: string,
    browser: string,
    signIn: ProviderSignIn,
    now: Date,
  ) => Promise<void>
  /** Ends it, whatever comes of it. Null: there was none, it took too long, or another browser began it. */
  readonly take: (state: string, browser: string, now: Date) => Promise<ProviderSignIn | null>
}

/** A verified identity, and the name of the provider that it is at. */
export type VerifiedIdentity = Pick<ExternalIdentity, 'issuer' | 'subject'> & {
  readonly provider: string
  readonly email: string
}

export type LinkedIdentity = { readonly provider: string; readonly linked_at: string }

/** Which accounts are whose at other providers. Error of every method: `database_unavailable`. */
export type Identities = {
  /** The account that the identity is linked to. */
  readonly find: (
    identity: Pick<ExternalIdentity, 'issuer' | 'subject'>,
  ) => Promise<Credentials | null>
  /** Whose confirmed address this is. */
  readonly holderOf: (
    email: string,
  ) => Promise<{ readonly id: number; readonly username: string } | null>
  /**
   * A new account without a password, with a confirmed address. Recorded as `registered` and `identity_linked`. Errors:
   * `username_taken`, `email_taken`, `identity_taken`.
   */
  readonly register: (
    username: string,
    identity: VerifiedIdentity,
    requestContext: RequestContext,
  ) => Promise<Credentials>
  /**
   * Links an identity to the account of a session. Recorded as `identity_linked`, unless it was linked before. Errors:
   * `session_ended`; `email_differs`, if the account's confirmed address is another; `identity_taken`.
   */
  readonly link: (
    session_id: string,
    identity: VerifiedIdentity,
    requestContext: RequestContext,
  ) => Promise<void>
  /** Oldest first. */
  readonly ofUser: (user_id: number) => Promise<readonly LinkedIdentity[]>
  /**
   * Recorded as `identity_unlinked`. `providers`: those that somebody can sign in with. Errors: `identity_not_found`;
   * `last_sign_in`, if nothing else would let the user in.
   */
  readonly unlink: (
    user_id: number,
    provider: string,
    providers: readonly string[],
    requestContext: RequestContext,
  ) => Promise<void>
}
