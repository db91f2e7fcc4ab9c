import { randomUUID } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import type { ClosableCounters } from '../../src/app/ports/counters.ts'
import type { Log } from '../../src/app/ports/process.ts'
import type { RedisConfig } from '../../src/infra/counters/redis-connection.ts'
import { redisCounters } from '../../src/infra/counters/redis-counters.ts'

export type CountersInRedis = ClosableCounters & {
  /** `used` and `away`, in turn; the last is how things are now. */
  readonly told: () => readonly string[]
  readonly lines: () => readonly string[]
  readonly until: (state: 'used' | 'away') => Promise<void>
}

/** The counters of one process. */
export function openCounters(redis: RedisConfig, { secret = randomUUID() } = {}): CountersInRedis {
  const news = new EventEmitter()
  const told: string[] = []
  const lines: string[] = []
  const note = (state: string) => (facts: object, message: string) => {
    lines.push(`${message} ${JSON.stringify(facts)}`)
    told.push(state)
    news.emit('news')
  }
  const log: Log = { info: note('used'), warn: note('away'), error: note('error') }
  return {
    ...redisCounters({ redis, secret, log }),
    told: () => told,
    lines: () => lines,
    until: async (state) => {
      while (told.at(-1) !== state) await once(news, 'news')
    },
  }
}

/** The same, once Redis answers. */
export async function countersIn(redis: RedisConfig, options = {}): Promise<CountersInRedis> {
  const counters = openCounters(redis, options)
  await counters.until('used')
  return counters
}
