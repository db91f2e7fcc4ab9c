import { z } from 'zod'
import type { RedisConfig } from './infra/counters/redis-connection.ts'
import { filled, whole } from './settings.ts'

function isPercentEncoded(text = ''): boolean {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}

const redisUrl = z
  .string()
  .refine(
    (url) => /^rediss?:$/.test(URL.parse(url)?.protocol ?? ''),
    'must be a redis:// or rediss:// URL',
  )
  .refine(
    (url) => /^(\/\d{0,4})?$/.test(URL.parse(url)?.pathname ?? ''),
    'must have no path but the number of a database',
  )
  .refine(
    (url) =>
      isPercentEncoded(URL.parse(url)?.username) && isPercentEncoded(URL.parse(url)?.password),
    'must have its user name and password percent-encoded',
  )
export const redis = {
  REDIS_URL: redisUrl.optional(),
  REDIS_PASSWORD: filled.optional(),
  REDIS_MODE: z.enum(['single', 'cluster'], 'must be single or cluster').default('single'),
  // A request asks three times at most: never more than 20 ms.
  REDIS_TIMEOUT_MS: whole(1, 1_000, 6),
}

/** Where requests are counted for all processes; null: each counts for itself. */
export function redisConfig({
  REDIS_URL: url,
  REDIS_PASSWORD: password,
  REDIS_MODE: mode,
  REDIS_TIMEOUT_MS: timeoutMs,
}: z.output<z.ZodObject<typeof redis>>): RedisConfig | null {
  return url === undefined ? null : { url, password, mode, timeoutMs }
}
