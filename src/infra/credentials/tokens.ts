import { createHmac, createSecretKey, type KeyObject } from 'node:crypto'
import jwt from 'jsonwebtoken'
import { z } from 'zod'
import { AppError } from '../../app/errors.ts'
import type { TokenClaims, Tokens } from '../../app/ports/accounts.ts'
import { AMR } from '../../app/ports/authorization.ts'
import { ROLES } from '../../domain/user.ts'

const ISSUER = 'tasktrail-auth'
const AUDIENCE = 'tasktrail'
const MAX_BYTES = 4 * 1024
/** How many seconds the clocks of two instances may differ. */
const LEEWAY = 30

// Anything else is refused: we honour no parameter that brings a key or demands an extension, such as jku,
// jwk, x5u or crit (RFC 8725).
const header = z.strictObject({
  alg: z.literal('HS256'),
  typ: z.literal('JWT'),
  kid: z.string(),
})

const claims = z.object({
  user_id: z.int().positive(),
  username: z.string(),
  email: z.string(),
  role: z.enum(ROLES),
  sid: z.uuid(),
  iat: z.int(),
  exp: z.int(),
  // A version before this one signs neither.
  auth_time: z.int().default(0),
  amr: z.array(z.enum(AMR)).default(['pwd']),
})

/**
 * JSON Web Tokens, HS256 only, signed with the current secret; the previous one still verifies, so that a
 * rotation ends no session. Key objects are created once: otherwise jsonwebtoken would try to read each
 * string secret as a public key first, at three times the cost.
 */
export function jwtTokens(secret: string, previous: string | undefined): Tokens {
  const current = signingKey(secret)
  const keys = new Map(
    [current, ...(previous === undefined ? [] : [signingKey(previous)])].reverse(),
  )
  const [keyid, key] = current
  const keyOf: KeyOf = (given) => keys.get(header.safeParse(given).data?.kid ?? '')

  return {
    sign: (payload) =>
      jwt.sign(payload, key, { algorithm: 'HS256', keyid, issuer: ISSUER, audience: AUDIENCE }),

    verify(token, now) {
      const { data } = claims.safeParse(verifySignature(token, keyOf, now))
      // jsonwebtoken does not check the time of issue.
      if (data === undefined || data.iat > seconds(now) + LEEWAY)
        throw new AppError('token_invalid')
      return data satisfies TokenClaims
    },
  }
}

/** A key with its id, which reveals nothing of the secret. */
function signingKey(secret: string): [string, KeyObject] {
  const id = createHmac('sha256', secret).update('tasktrail key id').digest('hex').slice(0, 16)
  return [id, createSecretKey(Buffer.from(secret))]
}

const seconds = (time: Date): number => Math.floor(time.getTime() / 1000)

/** The key that a token's header names, if it is one of ours. */
export type KeyOf = (header: unknown) => KeyObject | undefined

/**
 * The payload of a token that is signed, meant for us and not expired. Errors: `token_invalid`,
 * `token_expired`, with jsonwebtoken's reason as the cause.
 */
export function verifySignature(token: string, keyOf: KeyOf, now: Date): unknown {
  const key = keyOf(readHeader(token))
  if (key === undefined) throw new AppError('token_invalid')
  try {
    return jwt.verify(token, key, {
      algorithms: ['HS256'],
      issuer: ISSUER,
      audience: AUDIENCE,
      clockTolerance: LEEWAY,
      clockTimestamp: seconds(now),
    })
  } catch (cause) {
    const expired = cause instanceof jwt.TokenExpiredError
    throw new AppError(expired ? 'token_expired' : 'token_invalid', { cause })
  }
}

/** The header of a token of three parts, each in the canonical spelling of base64url. */
function readHeader(token: string): unknown {
  if (token.length > MAX_BYTES) throw new AppError('token_invalid')
  const parts = token.split('.').map((text) => ({ text, bytes: Buffer.from(text, 'base64url') }))
  const [first] = parts
  const exact = parts.every(({ text, bytes }) => bytes.toString('base64url') === text)
  if (first === undefined || parts.length !== 3 || !exact) throw new AppError('token_invalid')
  try {
    return JSON.parse(first.bytes.toString())
  } catch (cause) {
    throw new AppError('token_invalid', { cause })
  }
}
