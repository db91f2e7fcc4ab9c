import { setTimeout as delay } from 'node:timers/promises'
import { BrokenCircuitError, CircuitState, circuitBreaker, handleAll } from 'cockatiel'
import { AppError } from '../app/errors.ts'
import type { Caller, Log, TokenValidator } from '../app/ports.ts'
import { type Answer, authServiceCall } from './auth-service-call.ts'
import { failureRate } from './failure-rate.ts'
import { restingAddresses } from './resting-addresses.ts'
import type { Discovery } from './service-discovery.ts'
import { shareNextCall } from './share-next-call.ts'

/** Times in milliseconds. */
const SETTINGS = {
  connect: 300,
  request: 1000,
  /** Both tries, the pause between them and the wait for a shared call, from the caller's arrival. */
  total: 2000,
  halfOpenAfter: 5000,
  /** How long an instance that failed is left alone if there is another. */
  rest: 5000,
  socketLife: 30_000,
  /** For each instance; more calls at once wait, within their time. */
  maxSockets: 64,
}

/** A try with less time left would only blame auth-service for our delay. */
const LEAST_TIME = 50

/** What a bearer token consists of (RFC 6750). Anything else is no token, and may be no header. */
const TOKEN = /^[A-Za-z0-9\-._~+/]+=*$/
const MAX_TOKEN = 4096

type Details = { readonly request_id: string; readonly deadline: number }
type Question = Details & { readonly token: string }

/** Settles after `ms` whatever the work does; the work is told by its AbortController. */
async function within<T>(ms: number, work: (control: AbortController) => Promise<T>): Promise<T> {
  const control = new AbortController()
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    const error = new Error(`no answer within ${Math.round(ms)} ms`)
    late.reject(error)
    control.abort(error)
  }, ms)
  try {
    return await Promise.race([work(control), late.promise])
  } finally {
    clearTimeout(timer)
  }
}

/** Retries are one in ten calls at most, after ten that may come at once: no storm on a sick service. */
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

/**
 * The authorization port over HTTP: rotates over the instances that `discovery` names, gives each call
 * two tries, and shares calls without ever using one that began before its caller came. Whatever is
 * not a clear answer of auth-service is `auth_service_unavailable` with `retryAfter`.
 */
export function authServiceClient({
  url,
  apiKey,
  discovery,
  log,
  now = () => performance.now(),
  settings = {},
}: {
  readonly url: string
  readonly apiKey: string
  readonly discovery: Discovery
  readonly log: Log
  /** Milliseconds. */
  readonly now?: () => number
  readonly settings?: Partial<typeof SETTINGS>
}): TokenValidator & { readonly close: () => void } {
  const limits = { ...SETTINGS, ...settings }
  const base = new URL(url)
  const { ask, close } = authServiceCall({ url: base, apiKey, ...limits })
  const instances = restingAddresses(limits.rest, now)
  const budget = retryBudget()

  const breaker = circuitBreaker(handleAll, {
    halfOpenAfter: limits.halfOpenAfter,
    breaker: failureRate({ share: 0.5, calls: 20, seconds: 10, now }),
  })
  let opened = 0
  breaker.onBreak(() => {
    opened = now()
    log.error({ hostname: base.hostname }, 'auth-service fails, calls to it are suspended')
  })
  breaker.onReset(() => log.info({ hostname: base.hostname }, 'auth-service answers again'))

  /** A 401 is an answer, not a failure; what rejects counts against auth-service. */
  async function attempt(question: Question): Promise<Answer> {
    // cockatiel would let the calls beside the probe wait for it, and then all loose at once.
    if (breaker.state === CircuitState.HalfOpen)
      throw new BrokenCircuitError('a probe is under way')
    return breaker.execute(() =>
      within(Math.min(limits.request, question.deadline - now()), async (control) => {
        const address = instances.pick(await discovery(base.hostname))
        try {
          const answer = await ask(address, question, control)
          instances.work(address)
          return answer
        } catch (error) {
          instances.fail(address)
          throw error
        }
      }),
    )
  }

  const hasTime = (question: Question, pause = 0) => question.deadline - now() - pause >= LEAST_TIME

  async function attemptTwice(question: Question): Promise<Answer> {
    if (!hasTime(question)) throw new Error('no time left after the call before')
    budget.earn()
    try {
      return await attempt(question)
    } catch (error) {
      const pause = 50 + Math.random() * 200
      const closed = breaker.state === CircuitState.Closed
      if (!closed || !hasTime(question, pause) || !budget.spend()) throw error
      await delay(pause)
      return attempt(question)
    }
  }

  const retryAfter = (): number => {
    if (breaker.state !== CircuitState.Open) return 1
    return Math.max(1, Math.ceil((opened + limits.halfOpenAfter - now()) / 1000))
  }

  const validate = shareNextCall<Details, Caller>(async (token, details) => {
    const { request_id } = details
    const answer = await attemptTwice({ token, ...details }).catch((cause: Error) => {
      if (!(cause instanceof BrokenCircuitError)) {
        log.warn({ request_id, reason: cause.message }, 'auth-service did not answer')
      }
      throw new AppError('auth_service_unavailable', { retryAfter: retryAfter(), cause })
    })
    if (answer.outcome === 'valid') return answer.caller
    if (answer.outcome === 'denied') throw new AppError(answer.code)
    // Most likely the internal key is not the one that auth-service has.
    log.error({ request_id, status: answer.status }, 'auth-service refuses this service')
    throw new AppError('auth_service_unavailable', { retryAfter: 1 })
  })

  return {
    validate: async (token, request_id) => {
      if (token === '') throw new AppError('token_missing')
      if (token.length > MAX_TOKEN || !TOKEN.test(token)) throw new AppError('token_invalid')
      return validate(token, { request_id, deadline: now() + limits.total })
    },
    close,
  }
}
