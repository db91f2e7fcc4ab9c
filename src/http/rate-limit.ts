import type { Context } from 'koa'
import { limitingKey } from '../app/limiting-key.ts'
import type { Count, Counters } from '../app/ports/counters.ts'
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

export type Limit = {
  readonly name: string
  /** 0 switches the limit off. */
  readonly points: number
  readonly seconds: number
}

/**
 * At most `points` requests per key in `seconds`. Answers carry RateLimit headers
 * (draft-ietf-httpapi-ratelimit-headers).
 */
export function rateLimit(counters: Counters, limit: Limit): RateLimit {
  if (limit.points === 0) return async () => {}
  const { counter, tell, tooMany } = parts(counters, limit)
  return async (ctx, key) => {
    const state = await counter.add(key)
    tell(ctx, state)
    if (state.count > limit.points) throw tooMany(state)
  }
}

/** The same for refusals. Requests still in progress are not counted yet, and pass. */
export function refusalLimit(counters: Counters, limit: Limit): RefusalLimit {
  if (limit.points === 0) return { check: async () => {}, count: async () => {} }
  const { counter, tell, tooMany } = parts(counters, limit)
  return {
    async check(ctx, key) {
      const state = await counter.get(key)
      if (state === null || state.count < limit.points) return
      tell(ctx, state)
      throw tooMany(state)
    },
    count: async (ctx, key) => tell(ctx, await counter.add(key)),
  }
}

function parts(counters: Counters, { name, points, seconds }: Limit) {
  const policy = `"${name}";q=${points};w=${seconds}`
  const reset = ({ msLeft }: Count) => Math.ceil(msLeft / 1000)
  return {
    counter: counters(name, seconds),
    tell: (ctx: Context, state: Count): void => {
      ctx.set('RateLimit-Policy', policy)
      ctx.set('RateLimit', `"${name}";r=${Math.max(0, points - state.count)};t=${reset(state)}`)
    },
    tooMany: (state: Count) => new HttpError('too_many_requests', { retryAfter: reset(state) }),
  }
}
