import type { RateLimiterAbstract, RateLimiterRes } from 'rate-limiter-flexible'
import type { Count, Counter } from '../../app/ports/counters.ts'

const countOf = ({ consumedPoints, msBeforeNext }: RateLimiterRes): Count => {
  // A store says less than 0 of a key that expires while it answers.
  return { count: consumedPoints, msLeft: Math.max(1, msBeforeNext) }
}

/** What a limiter counts, without its limit: several processes may each have their own. */
export const counterOf = (limiter: RateLimiterAbstract): Counter => ({
  add: async (key) => countOf(await limiter.penalty(key)),
  async get(key) {
    const state = await limiter.get(key)
    return state && countOf(state)
  },
})
