import { RateLimiterMemory } from 'rate-limiter-flexible'
import type { Counters } from '../../app/ports/counters.ts'
import { counterOf } from './limiter-counter.ts'

/** Counts in this process alone. */
export const memoryCounters = (): Counters => (name, seconds) =>
  // Whoever asks compares; only what exceeds `points` would differ here.
  counterOf(new RateLimiterMemory({ points: 1, duration: seconds, keyPrefix: name }))
