import { REDIS } from '../names.ts'
import type { Environment, RedisConfig } from './schema.ts'

/** Of an alarm's metric: more metrics CloudWatch does not compare. */
const MOST_NODES = 9

/** As ElastiCache calls its nodes. */
export function redisNodes(redis: RedisConfig): readonly string[] {
  if (redis.mode === 'single') return [`${REDIS}-001`]
  const { shards, replicas } = redis
  return Array.from({ length: shards }, (_, shard) =>
    Array.from({ length: 1 + replicas }, (_, node) => {
      return `${REDIS}-${padded(shard + 1, 4)}-${padded(node + 1, 3)}`
    }),
  ).flat()
}

const padded = (number: number, digits: number): string => String(number).padStart(digits, '0')

/** What is wrong with it, or ''. */
export const REDIS_RULES: readonly ((environment: Environment) => string)[] = [
  ({ name, redis }) =>
    name !== 'dev' && redis?.mode === 'single'
      ? 'redis.mode must be cluster: only dev may run without a standby'
      : '',
  ({ redis }) =>
    redis !== undefined && redisNodes(redis).length > MOST_NODES
      ? `redis must have at most ${MOST_NODES} nodes: an alarm looks at no more`
      : '',
]
