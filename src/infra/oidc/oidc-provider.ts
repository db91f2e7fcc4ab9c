import {
  AuthorizationResponseError,
  allowInsecureRequests,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  ClientSecretBasic,
  ClientSecretPost,
  Configuration,
  calculatePKCECodeChallenge,
  clockSkew,
  clockTolerance,
  customFetch,
  discovery,
  enableNonRepudiationChecks,
  fetchUserInfo,
  ResponseBodyError,
  type ServerMetadata,
} from 'openid-client'
import { z } from 'zod'
import { AppError } from '../../app/errors.ts'
import type { ExternalIdentity, IdentityProvider } from '../../app/ports/identity-providers.ts'
import { boundedFetch } from './bounded-fetch.ts'
import { remembered } from './remembered.ts'

export type OidcClient = {
  /** To the letter as the provider's own document has it. */
  readonly issuer: string
  readonly client_id: string
  readonly client_secret: string
  readonly scopes: readonly string[]
}

/** Of one request to the provider. */
const TIMEOUT_SECONDS = 5
/** How far the provider's clock may be from ours. */
const LEEWAY_SECONDS = 30

/**
 * A provider of OpenID Connect, by the code flow with PKCE. Its document is asked for again each hour, its keys at
 * each sign-in: what it has withdrawn is not trusted any more.
 */
export function oidcProvider(
  client: OidcClient,
  timeoutSeconds = TIMEOUT_SECONDS,
): IdentityProvider {
  const metadata = remembered(() => discover(client, timeoutSeconds))
  const configuration = async (now: Date) =>
    configured(client, await metadata(now.getTime()).catch(unavailable), timeoutSeconds, now)

  return {
    async authorizationUrl({ state, nonce, verifier }, redirect_uri, again, now) {
      const parameters = {
        redirect_uri,
        scope: client.scopes.join(' '),
        state,
        nonce,
        code_challenge: await calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
        ...(again && { prompt: 'login' }),
      }
      return buildAuthorizationUrl(await configuration(now), parameters).href
    },

    async identify(answer, { state, nonce, verifier }, redirect_uri, now) {
      const config = await configuration(now)
      const url = new URL(redirect_uri)
      for (const [name, value] of Object.entries(answer)) {
        if (value !== undefined) url.searchParams.set(name, value)
      }
      const checks = { expectedState: state, expectedNonce: nonce, pkceCodeVerifier: verifier }
      try {
        const tokens = await authorizationCodeGrant(config, url, checks)
        const claims = idToken.parse(tokens.claims())
        if (claims.iat > now.getTime() / 1000 + LEEWAY_SECONDS) {
          throw new Error('the ID token was issued in the future')
        }
        if (claims.email !== undefined) return identityOf(client.issuer, claims)
        const said = await fetchUserInfo(config, tokens.access_token, claims.sub)
        const { sub, iat, amr, acr } = claims
        return identityOf(client.issuer, { sub, iat, amr, acr, ...addressClaims.parse(said) })
      } catch (error) {
        throw failure(error)
      }
    },
  }
}

/** As registrations take it; what is none is as good as not said. */
const address = z.email().max(100).optional().catch(undefined)

/** All of them from one place: an address is verified by whoever says it. */
const addressClaims = z.object({
  email: address,
  // Cognito and Apple write it as a text.
  email_verified: z.union([z.boolean(), z.string()]).optional(),
  // Entra says only by this that the address belongs to the tenant (an optional claim).
  xms_edov: z.union([z.boolean(), z.string(), z.number()]).optional(),
})

const idToken = addressClaims.extend({
  sub: z.string().min(1).max(255),
  iat: z.number(),
  amr: z.array(z.string()).optional(),
  acr: z.string().optional(),
})

type Claims = z.output<typeof idToken>

const MULTI_FACTOR = 'http://schemas.openid.net/pape/policies/2007/06/multi-factor'
const ENTRA = 'https://login.microsoftonline.com/'

function identityOf(issuer: string, claims: Claims): ExternalIdentity {
  const { sub: subject, email = null, email_verified, xms_edov, amr, acr } = claims
  const owned = issuer.startsWith(ENTRA) && ['true', '1'].includes(String(xms_edov))
  return {
    issuer,
    subject,
    email,
    email_verified: email !== null && (String(email_verified) === 'true' || owned),
    mfa: amr?.includes('mfa') === true || acr === MULTI_FACTOR,
  }
}

async function discover(
  { issuer, client_id }: OidcClient,
  timeout: number,
): Promise<ServerMetadata> {
  const found = await discovery(new URL(issuer), client_id, undefined, undefined, {
    timeout,
    [customFetch]: boundedFetch,
    execute: isSecure(issuer) ? [] : [allowInsecureRequests],
  })
  const metadata = found.serverMetadata()
  // The library lets the slash at its end differ, and Entra's document for all tenants name none.
  if (metadata.issuer !== issuer) throw new Error(`it calls itself ${metadata.issuer}`)
  return metadata
}

/** A new one each time: the library keeps the keys of a server with its configuration. */
function configured(
  { issuer, client_id, client_secret }: OidcClient,
  metadata: ServerMetadata,
  timeout: number,
  now: Date,
): Configuration {
  const methods = metadata.token_endpoint_auth_methods_supported ?? []
  const byPost = methods.includes('client_secret_post')
  const client = {
    client_secret,
    [clockSkew]: Math.round((now.getTime() - Date.now()) / 1000),
    [clockTolerance]: LEEWAY_SECONDS,
  }
  const proof = byPost ? ClientSecretPost(client_secret) : ClientSecretBasic(client_secret)
  const config = new Configuration(metadata, client_id, client, proof)
  config.timeout = timeout
  config[customFetch] = boundedFetch
  // The token endpoint is the provider's by TLS alone: the signature says so too.
  enableNonRepudiationChecks(config)
  if (!isSecure(issuer)) allowInsecureRequests(config)
  return config
}

const isSecure = (url: string): boolean => url.startsWith('https:')

function unavailable(cause: unknown): never {
  throw new AppError('provider_unavailable', { retryAfter: 5, cause: new Error(reasonOf(cause)) })
}

/** A provider that has no answer, as against one whose answer is no, or not to be trusted. */
const NO_ANSWER = [
  'OAUTH_TIMEOUT',
  'OAUTH_ABORT',
  'OAUTH_RESPONSE_IS_NOT_CONFORM',
  'OAUTH_RESPONSE_IS_NOT_JSON',
  'OAUTH_PARSE_ERROR',
]
/** The first four are faults of this installation, of which the user knows nothing. */
const NO_DECISION = [
  'invalid_client',
  'unauthorized_client',
  'invalid_request',
  'invalid_scope',
  'server_error',
  'temporarily_unavailable',
]

function failure(error: unknown): AppError {
  const cause = new Error(reasonOf(error))
  if (isAway(error)) return new AppError('provider_unavailable', { retryAfter: 5, cause })
  return new AppError('provider_refused', { cause })
}

function isAway(error: unknown): boolean {
  if (error instanceof ResponseBodyError || error instanceof AuthorizationResponseError) {
    return NO_DECISION.includes(error.error)
  }
  const { code } = error as { code?: string }
  // `fetch` rejects with nothing else.
  return code === undefined ? error instanceof TypeError : NO_ANSWER.includes(code)
}

/** In words alone: what the library attaches to its errors holds tokens. */
function reasonOf(error: unknown): string {
  if (error instanceof ResponseBodyError || error instanceof AuthorizationResponseError) {
    return `it answers ${error.error}`
  }
  if (error instanceof z.ZodError) return 'its claims are malformed'
  const { message, cause } = error instanceof Error ? error : new Error(String(error))
  return cause instanceof Error && cause.message !== '' ? `${message}: ${cause.message}` : message
}
