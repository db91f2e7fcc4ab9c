import { createHmac, createSecretKey } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { RateLimiterRedis } from 'rate-limiter-flexible'
import type { ClosableCounters, Counter, Counters } from '../../app/ports/counters.ts'
import type { Log } from '../../app/ports/process.ts'
import { counterOf } from './limiter-counter.ts'
import { memoryCounters } from './memory-counters.ts'
import { type Redis, type RedisConfig, redisConnect } from './redis-connection.ts'
import { redisLink } from './redis-link.ts'

const PREFIX = 'tasktrail:limits:'
const CONNECT_MS = 2_000

/**
 * Counts over all processes that share the Redis and the secret, by the clock of Redis. While it is away each
 * process counts for itself: it always does, so that an outage forgets nothing that was counted here.
 */
export function redisCounters({
  redis,
  secret,
  log,
}: {
  readonly redis: RedisConfig
  /** Makes keys unreadable, which are users and addresses. */
  readonly secret: string
  readonly log: Log
}): ClosableCounters {
  const connect = redisConnect(redis, PREFIX, CONNECT_MS)
  const link = redisLink({ connect, timeoutMs: redis.timeoutMs, log })
  const inMemory = memoryCounters()
  const hidden = hiding(secret)

  const counters: Counters = (name, seconds) => {
    const own = inMemory(name, seconds)
    const shared = ofConnection((redis) => sharedCounter(redis, name, seconds))
    return {
      async add(key) {
        const here = own.add(key)
        return (await link.ask((redis) => shared(redis).add(hidden(key)))) ?? here
      },
      async get(key) {
        const there = await link.ask((redis) => shared(redis).get(hidden(key)))
        return there === undefined ? own.get(key) : there
      },
    }
  }
  return { counters, close: link.close }
}

/** Users and addresses come again and again, and a hash of theirs costs as much as to count them here. */
function hiding(secret: string): (key: string) => string {
  const hmacKey = createSecretKey(secret, 'utf8')
  const known = new LRUCache<string, string>({ max: 10_000 })
  return (key) => {
    const hidden = known.get(key) ?? createHmac('sha256', hmacKey).update(key).digest('base64url')
    known.set(key, hidden)
    return hidden
  }
}

const sharedCounter = (storeClient: Redis, name: string, duration: number): Counter =>
  counterOf(
    new RateLimiterRedis({
      storeClient,
      useRedisPackage: true,
      keyPrefix: PREFIX + name,
      // Whoever asks compares.
      points: 1,
      duration,
    }),
  )

/** Made once for each connection. */
function ofConnection<T>(make: (redis: Redis) => T): (redis: Redis) => T {
  const made = new WeakMap<Redis, T>()
  return (redis) => {
    const known = made.get(redis) ?? make(redis)
    made.set(redis, known)
    return known
  }
}
