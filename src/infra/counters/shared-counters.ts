import type { ClosableCounters } from '../../app/ports/counters.ts'
import type { Log } from '../../app/ports/process.ts'
import { memoryCounters } from './memory-counters.ts'
import type { RedisConfig } from './redis-connection.ts'
import { redisCounters } from './redis-counters.ts'

/** Counts in Redis where there is one, else in this process. */
export function sharedCounters({
  redis,
  ...rest
}: {
  readonly redis: RedisConfig | null
  readonly secret: string
  readonly log: Log
}): ClosableCounters {
  if (redis !== null) return redisCounters({ redis, ...rest })
  rest.log.info({}, 'no REDIS_URL: rate limits are counted in this process')
  return { counters: memoryCounters(), close: async () => {} }
}
