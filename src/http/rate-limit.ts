import type { Context } from 'koa'
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible'
import { HttpError } from './errors.ts'

/** Counts a request of `key`; throws `too_many_requests` when it is one too many. */
export type RateLimit = (ctx: Context, key: string) => Promise<void>

/**
 * At most `points` requests of one key in `seconds`, counted in this process; 0 switches it off.
 * Answers carry RateLimit headers (draft-ietf-httpapi-ratelimit-headers).
 */
export function rateLimit(name: string, points: number, seconds: number): RateLimit {
  if (points === 0) return async () => {}
  const limiter = new RateLimiterMemory({ points, duration: seconds, keyPrefix: name })
  const policy = `"${name}";q=${points};w=${seconds}`

  return async (ctx, key) => {
    const state = await limiter.consume(key).catch((refused: unknown) => refused)
    if (!(state instanceof RateLimiterRes)) throw state
    const reset = Math.max(1, Math.ceil(state.msBeforeNext / 1000))
    ctx.set('RateLimit-Policy', policy)
    ctx.set('RateLimit', `"${name}";r=${Math.max(0, state.remainingPoints)};t=${reset}`)
    if (state.consumedPoints > points)
      throw new HttpError('too_many_requests', { retryAfter: reset })
  }
}
