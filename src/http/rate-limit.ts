import type { Context } from 'koa'
import { RateLimiterMemory, type RateLimiterRes } from 'rate-limiter-flexible'
import { limitingKey } from '../app/limiting-key.ts'
import { HttpError } from './errors.ts'

/** Counts a request of `key`; throws `too_many_requests` if that exceeds the limit. */
export type RateLimit = (ctx: Context, key: string) => Promise<void>

/** For what is known only afterwards: checked before the work, counted after it. */
export type RefusalLimit = {
  /** Throws `too_many_requests` if the limit of `key` is reached. Counts nothing. */
  readonly check: RateLimit
  /** Counts one of `key`; throws nothing. */
  readonly count: RateLimit
}

/** The key of callers that have no better one. */
export const byAddress = (ctx: Context): string => limitingKey(ctx.ip)

/**
 * At most `points` requests per key in `seconds`, counted in this process; 0 switches the limit off.
 * Answers carry RateLimit headers (draft-ietf-httpapi-ratelimit-headers).
 */
export function rateLimit(name: string, points: number, seconds: number): RateLimit {
  if (points === 0) return async () => {}
  const { limiter, tell, tooMany } = counter(name, points, seconds)
  return async (ctx, key) => {
    const state = await limiter.penalty(key)
    tell(ctx, state)
    if (state.consumedPoints > points) throw tooMany(state)
  }
}

/** The same for refusals. Requests still in progress are not counted yet, and pass. */
export function refusalLimit(name: string, points: number, seconds: number): RefusalLimit {
  if (points === 0) return { check: async () => {}, count: async () => {} }
  const { limiter, tell, tooMany } = counter(name, points, seconds)
  return {
    async check(ctx, key) {
      const state = await limiter.get(key)
      if (state === null || state.consumedPoints < points) return
      tell(ctx, state)
      throw tooMany(state)
    },
    count: async (ctx, key) => tell(ctx, await limiter.penalty(key)),
  }
}

function counter(name: string, points: number, seconds: number) {
  const limiter = new RateLimiterMemory({ points, duration: seconds, keyPrefix: name })
  const policy = `"${name}";q=${points};w=${seconds}`
  const reset = ({ msBeforeNext }: RateLimiterRes) => Math.max(1, Math.ceil(msBeforeNext / 1000))
  return {
    limiter,
    tell: (ctx: Context, state: RateLimiterRes): void => {
      ctx.set('RateLimit-Policy', policy)
      ctx.set('RateLimit', `"${name}";r=${state.remainingPoints};t=${reset(state)}`)
    },
    tooMany: (state: RateLimiterRes) =>
      new HttpError('too_many_requests', { retryAfter: reset(state) }),
  }
}
