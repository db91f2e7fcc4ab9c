import type { Log } from '../../app/ports/process.ts'
import { repeat } from '../postgres/connection/repeat.ts'
import { inTime, TooLate } from './in-time.ts'
import type { Connect, Connection, Redis } from './redis-connection.ts'

/** How long a Redis that is away may take to connect, or to answer a probe, before its connection is given up. */
const PATIENCE_MS = 2_000
const PAUSE_MS = 500

export type RedisLink = {
  /** Undefined: Redis is away, or did not answer in time. Never rejects. */
  readonly ask: <T>(question: (redis: Redis) => Promise<T>) => Promise<T | undefined>
  readonly close: () => Promise<void>
}

/**
 * The way to a Redis that may be away: dead, frozen, slow, refusing. The first answer that fails or is late
 * ends its use; from then on nobody waits for it. Probes beside the requests find out when it is back. (A
 * breaker of cockatiel would send requests as probes.)
 */
export function redisLink({
  connect,
  timeoutMs,
  log,
}: {
  readonly connect: Connect
  readonly timeoutMs: number
  readonly log: Log
}): RedisLink {
  let connection: Connection | undefined
  let state: 'unknown' | 'used' | 'away' | 'closed' = 'unknown'

  function away(error: unknown): void {
    if (state === 'away' || state === 'closed') return
    state = 'away'
    log.warn({ err: reasonOf(error) }, 'Redis is away: rate limits are counted in each process')
  }
  function drop(): void {
    const dropped = connection
    connection = undefined
    if (dropped === undefined) return
    dropped.connected.catch(() => {})
    destroy(dropped.redis)
  }
  async function open(): Promise<Connection> {
    const opening = await connect((error) => {
      if (opening !== connection) return
      away(error)
      drop()
    })
    connection = opening
    await inTime(opening.connected, PATIENCE_MS)
    return opening
  }
  async function comeBack(): Promise<void> {
    try {
      const { probe } = connection ?? (await open())
      const answer = probe()
      if (await isInTime(answer)) used()
      // Slow, or frozen: then its connection is given up too.
      else await inTime(answer, PATIENCE_MS)
    } catch (error) {
      away(error)
      drop()
    }
  }
  async function isInTime(answer: Promise<unknown>): Promise<boolean> {
    try {
      await inTime(answer, timeoutMs)
      return true
    } catch (error) {
      if (!(error instanceof TooLate)) throw error
      away(error)
      return false
    }
  }
  function used(): void {
    if (state === 'closed') return
    state = 'used'
    log.info({}, 'Redis answers: rate limits are counted over all processes')
  }

  const keeping = repeat(PAUSE_MS, async () => {
    if (state !== 'used') await comeBack()
    return 'again'
  })

  return {
    async ask(question) {
      const asked = connection
      if (state !== 'used' || asked === undefined) return undefined
      try {
        return await inTime(question(asked.redis), timeoutMs)
      } catch (error) {
        if (asked === connection) away(error)
        return undefined
      }
    },
    async close() {
      state = 'closed'
      const closed = keeping.close()
      // Ends a probe that is under way.
      drop()
      await closed
      drop()
    },
  }
}

/** Of a connection that failed on every address Node tells nothing but the code. */
const reasonOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  return error.message || (error as NodeJS.ErrnoException).code || error.name
}

/** Throws where it is closed already. */
function destroy(redis: Redis): void {
  try {
    redis.destroy()
  } catch {}
}
