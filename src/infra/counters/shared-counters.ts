import type { ClosableCounters } from '../../app/ports/counters.ts'
import type { Log } from '../../app/ports/process.ts'
import { memoryCounters } from './memory-counters.ts'
import type { RedisConfig } from './redis-connection.ts'
import { redisCounters } from './redis-counters.ts'

/** Counts in Redis where there is one, else in this process. `secret`: hides what is counted from Redis. */
export function sharedCounters(
  redis: RedisConfig | null,
  secret: string,
  log: Log,
): ClosableCounters {
  if (redis !== null) return redisCounters({ redis, secret, log })
  log.info({}, 'no REDIS_URL: rate limits are counted in this process')
  return { counters: memoryCounters(), close: async () => {} }
}
