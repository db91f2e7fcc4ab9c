import { createHmac, createSecretKey, type KeyObject } from 'node:crypto'
import jwt from 'jsonwebtoken'
import { z } from 'zod'
import { AppError } from '../app/errors.ts'
import type { TokenClaims, Tokens } from '../app/ports.ts'
import { ROLES } from '../domain/user.ts'

const ISSUER = 'tasktrail-auth'
const AUDIENCE = 'tasktrail'
const MAX_BYTES = 4 * 1024
/** Seconds that the clocks of two instances may differ. */
const LEEWAY = 30

// Header parameters that name a key or demand an extension: we would never honour one (RFC 8725).
const header = z.object({
  alg: z.literal('HS256'),
  typ: z.literal('JWT'),
  kid: z.string(),
  jku: z.never().optional(),
  jwk: z.never().optional(),
  x5u: z.never().optional(),
  x5c: z.never().optional(),
  crit: z.never().optional(),
})

const claims = z.object({
  user_id: z.int().positive(),
  username: z.string(),
  email: z.string(),
  role: z.enum(ROLES),
  sid: z.uuid(),
  iat: z.int(),
  exp: z.int(),
})

/**
 * JSON Web Tokens, HS256 only, signed with the current secret; the previous one still verifies, so
 * that a rotation ends no session. Key objects are made once: jsonwebtoken would otherwise try to
 * read each string secret as a public key first, at three times the cost.
 */
export function jwtTokens(secret: string, previous: string | undefined): Tokens {
  const current = signingKey(secret)
  const keys = new Map(
    [current, ...(previous === undefined ? [] : [signingKey(previous)])].reverse(),
  )
  const [keyid, key] = current

  return {
    sign: (payload) =>
      jwt.sign(payload, key, { algorithm: 'HS256', keyid, issuer: ISSUER, audience: AUDIENCE }),

    verify(token, now) {
      const payload = verifySignature(token, keys, now)
      const result = claims.safeParse(payload)
      if (!result.success) throw new AppError('token_invalid')
      return result.data satisfies TokenClaims
    },
  }
}

/** A key with its id, which tells nothing of the secret. */
function signingKey(secret: string): [string, KeyObject] {
  const id = createHmac('sha256', secret).update('tasktrail key id').digest('hex').slice(0, 16)
  return [id, createSecretKey(Buffer.from(secret))]
}

function verifySignature(token: string, keys: ReadonlyMap<string, KeyObject>, now: Date): unknown {
  if (token.length > MAX_BYTES) throw new AppError('token_invalid')
  const result = header.safeParse(readHeader(token))
  const key = result.success ? keys.get(result.data.kid) : undefined
  if (key === undefined) throw new AppError('token_invalid')
  try {
    return jwt.verify(token, key, {
      algorithms: ['HS256'],
      issuer: ISSUER,
      audience: AUDIENCE,
      clockTolerance: LEEWAY,
      clockTimestamp: Math.floor(now.getTime() / 1000),
    })
  } catch (cause) {
    const expired = cause instanceof jwt.TokenExpiredError
    throw new AppError(expired ? 'token_expired' : 'token_invalid', { cause })
  }
}

/** jsonwebtoken's own `decode` throws for some damaged tokens and decodes leniently. */
function readHeader(token: string): unknown {
  const [first = '', ...rest] = token.split('.')
  if (rest.length !== 2 || !/^[A-Za-z0-9_-]+$/.test(first)) return null
  try {
    return JSON.parse(Buffer.from(first, 'base64url').toString())
  } catch {
    return null
  }
}
