import { createHash, hash, timingSafeEqual } from 'node:crypto'
import type { Context } from 'koa'
import { LRUCache } from 'lru-cache'
import { AppError } from '../app/errors.ts'
import type { Caller, TokenValidator } from '../app/ports/authorization.ts'
import { tokenOf } from './edge.ts'
import type { Admit, Endpoint } from './endpoint.ts'
import { HttpError, refusalOf, STATUS } from './errors.ts'
import { byAddress, type RateLimit, type RefusalLimit } from './rate-limit.ts'
import type { RequireOwnPage } from './session-cookies.ts'

/** The access token, of the Authorization header or a cookie. Error: `token_missing`. */
export function accessToken(ctx: Context): string {
  const token = tokenOf(ctx.headers)
  if (token === undefined) throw new AppError('token_missing')
  return token
}

/** Recently valid tokens; only their hashes are kept. */
const VALID_LATELY = { max: 10_000, ttl: 5 * 60_000 }

const hashOf = (ctx: Context): string => hash('sha256', tokenOf(ctx.headers) ?? '', 'base64')

const isByCookie = (ctx: Context): boolean =>
  ctx.get('Authorization') === '' && tokenOf(ctx.headers) !== undefined

/** Methods that change nothing (RFC 9110). */
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])

export type Admission = {
  readonly tokens: TokenValidator
  /**
   * The keys that Tasktrail's own services present: the current one, and the previous one during a
   * rotation.
   */
  readonly internalApiKeys: readonly string[]
  readonly limit: RateLimit
  readonly refusals: RefusalLimit
  readonly requireOwnPage: RequireOwnPage
}

/**
 * Who may call what. Requests are counted by user where there is one, else by address. Those refused for
 * lack of a valid token are counted apart from the public ones. An address with too many of them is refused
 * before its token is validated: made-up tokens cost calls that everyone else needs. A recently valid token
 * is still validated: its holder may share the address.
 */
export function admission(on: Admission): Admit {
  const { tokens, internalApiKeys, limit, refusals, requireOwnPage } = on
  const isInternal = isOneOf(internalApiKeys)

  const valid = new LRUCache<string, true>(VALID_LATELY)

  async function validate(ctx: Context): Promise<Caller> {
    if (isByCookie(ctx) && !SAFE.has(ctx.method)) requireOwnPage(ctx)
    const own = hashOf(ctx)
    if (!valid.has(own)) await refusals.check(ctx, byAddress(ctx))
    try {
      const caller = await tokens.validate(accessToken(ctx), ctx.state.request_id)
      valid.set(own, true)
      return caller
    } catch (error) {
      if (error instanceof AppError && STATUS[error.code] === 401) {
        valid.delete(own)
        await refusals.count(ctx, byAddress(ctx))
      }
      throw error
    }
  }

  return async (ctx, { access, roles }) => {
    switch (access) {
      case 'open':
        return undefined
      case 'public':
        await limit(ctx, byAddress(ctx))
        return undefined
      case 'internal':
      case 'internal-with-token':
        if (!isInternal(ctx.get('X-Internal-Api-Key'))) throw new HttpError('internal_key_required')
        return undefined
      case 'token': {
        const caller = await validate(ctx)
        ctx.state.user_id = caller.user_id
        await limit(ctx, String(caller.user_id))
        requireRole(caller, roles)
        return caller
      }
    }
  }
}

function requireRole({ role }: Caller, roles: Endpoint['roles']): void {
  if (roles !== undefined && !roles.includes(role)) throw new HttpError(refusalOf(roles))
}

/** Error: that of `TokenValidator`, or `session_ended` if the caller's role has changed. */
export type Recheck = (ctx: Context, caller: Caller) => Promise<void>

/** For long-running answers. */
export const recheck =
  (tokens: TokenValidator): Recheck =>
  async (ctx, caller) => {
    const { role } = await tokens.validate(accessToken(ctx), ctx.state.request_id)
    if (role !== caller.role) throw new AppError('session_ended')
  }

/** Compares with all of them, in constant time. Hashes, because the lengths differ. */
function isOneOf(expected: readonly string[]): (given: string) => boolean {
  const digest = (value: string) => createHash('sha256').update(value).digest()
  const wanted = expected.map(digest)
  return (given) => {
    const own = digest(given)
    return wanted.filter((one) => timingSafeEqual(own, one)).length > 0
  }
}
