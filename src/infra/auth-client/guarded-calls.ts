import { setTimeout as delay } from 'node:timers/promises'
import { BrokenCircuitError, CircuitState, circuitBreaker, handleAll } from 'cockatiel'
import type { Log } from '../../app/ports/process.ts'
import { failureRate } from './failure-rate.ts'

/** An attempt with less time left, in ms, would blame the service for our own delay. */
const LEAST_TIME = 50

/** One retry per ten calls, and at most ten at once: retries must not flood a service in trouble. */
function retryBudget() {
  let tenths = 100
  return {
    earn: () => {
      tenths = Math.min(100, tenths + 1)
    },
    spend: (): boolean => {
      if (tenths < 10) return false
      tenths -= 10
      return true
    },
  }
}

/** Calls to one service behind a circuit breaker, attempted a second time after 50 to 250 ms. */
export function guardedCalls({
  hostname,
  halfOpenAfter,
  now,
  log,
}: {
  readonly hostname: string
  readonly halfOpenAfter: number
  readonly now: () => number
  readonly log: Log
}) {
  const budget = retryBudget()
  const breaker = circuitBreaker(handleAll, {
    halfOpenAfter,
    breaker: failureRate({ share: 0.5, calls: 20, seconds: 10, now }),
  })
  let opened = 0
  breaker.onBreak(() => {
    opened = now()
    log.error({ hostname }, 'the service fails, calls to it are suspended')
  })
  breaker.onReset(() => log.info({ hostname }, 'the service answers again'))

  async function attempt<T>(call: () => Promise<T>): Promise<T> {
    // cockatiel would let the other calls wait for the probe, and then send them all at once.
    if (breaker.state === CircuitState.HalfOpen) throw new BrokenCircuitError('a probe runs')
    return breaker.execute(call)
  }

  return {
    /** A rejection of `call` counts as a failure. `BrokenCircuitError`: it was not called. */
    run: async <T>(call: () => Promise<T>, timeLeft: () => number): Promise<T> => {
      if (timeLeft() < LEAST_TIME) throw new Error('no time left after the call before')
      budget.earn()
      try {
        return await attempt(call)
      } catch (error) {
        const pause = 50 + Math.random() * 200
        const useful = breaker.state === CircuitState.Closed && timeLeft() - pause >= LEAST_TIME
        if (!useful || !budget.spend()) throw error
        await delay(pause)
        return attempt(call)
      }
    },
    /** Whole seconds until the service may be called again. */
    retryAfter: (): number => {
      if (breaker.state !== CircuitState.Open) return 1
      return Math.max(1, Math.ceil((opened + halfOpenAfter - now()) / 1000))
    },
  }
}
