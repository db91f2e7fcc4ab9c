import { JwtVerifier } from 'aws-jwt-verify'
import { validateCognitoJwtFields } from 'aws-jwt-verify/cognito-verifier'
import { SimpleJwksCache } from 'aws-jwt-verify/jwk'
import { z } from 'zod'
import { AppError } from '../../app/errors.ts'
import type { PoolUser } from '../../app/ports/user-pool.ts'
import { boundedFetch } from '../oidc/bounded-fetch.ts'

/** How far the pool's clock may be from ours. */
const LEEWAY_SECONDS = 30
const KEYS_WITHIN_MS = 5_000

const claims = z.object({
  sub: z.string().min(1),
  'cognito:username': z.string().min(1),
  'cognito:groups': z.array(z.string()).default([]),
  email: z.email().max(100).optional().catch(undefined),
  email_verified: z.union([z.boolean(), z.string()]).optional(),
})

/**
 * Who an ID token of the pool is about. They come from the pool itself, by TLS; the signature says so too. Errors:
 * `provider_refused`, `provider_unavailable` if its keys cannot be read.
 */
export function poolTokens(issuer: string, clientId: string) {
  const keys = { fetcher: { fetch: fetchKeys } }
  const verifier = JwtVerifier.create(
    {
      issuer,
      audience: clientId,
      jwksUri: `${issuer}/.well-known/jwks.json`,
      graceSeconds: LEEWAY_SECONDS,
      customJwtCheck: ({ payload }) =>
        validateCognitoJwtFields(payload, { tokenUse: 'id', clientId }),
    },
    { jwksCache: new SimpleJwksCache(keys) },
  )

  return async (token: string, mfa: boolean): Promise<PoolUser> => {
    try {
      const said = claims.parse(await verifier.verify(token))
      return {
        ...{ issuer, mfa, subject: said.sub, email: said.email ?? null },
        email_verified: said.email !== undefined && String(said.email_verified) === 'true',
        username: said['cognito:username'],
        groups: said['cognito:groups'],
      }
    } catch (error) {
      if (error instanceof AppError) throw error
      throw new AppError('provider_refused', { cause: new Error((error as Error).message) })
    }
  }
}

async function fetchKeys(uri: string): Promise<ArrayBuffer> {
  try {
    const signal = AbortSignal.timeout(KEYS_WITHIN_MS)
    const answer = await boundedFetch(uri, {
      ...{ method: 'GET', headers: {}, body: undefined, redirect: 'manual' },
      signal,
    })
    if (answer.status !== 200) throw new Error(`${uri} answers ${answer.status}`)
    return await answer.arrayBuffer()
  } catch (error) {
    const cause = new Error(`the pool's keys: ${(error as Error).message}`)
    throw new AppError('provider_unavailable', { retryAfter: 5, cause })
  }
}
