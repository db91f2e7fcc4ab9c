import { BrokenCircuitError } from 'cockatiel'
import { AppError } from '../../app/errors.ts'
import type { Caller, TokenValidator } from '../../app/ports/authorization.ts'
import type { Log } from '../../app/ports/process.ts'
import { addressCooldowns } from './address-cooldowns.ts'
import { type Answer, authServiceCall, type Question } from './auth-service-call.ts'
import { guardedCalls } from './guarded-calls.ts'
import type { Discovery } from './service-discovery.ts'
import { shareNextCall } from './share-next-call.ts'

/** Times in milliseconds. */
const SETTINGS = {
  connect: 300,
  request: 1000,
  /** Both tries, the pause between them and the wait for a shared call, from the arrival on. */
  total: 2000,
  halfOpenAfter: 5000,
  /** How long an instance that failed is left alone if there is another. */
  rest: 5000,
  socketLife: 30_000,
  /** For each instance; more calls at once wait, within their time. */
  maxSockets: 64,
}

/** What a bearer token consists of (RFC 6750). Anything else is no token, and may be no header. */
const TOKEN = /^[A-Za-z0-9\-._~+/]+=*$/
const MAX_TOKEN = 4096

type Details = { readonly request_id: string; readonly deadline: number }

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

/**
 * The authorization port over HTTP: rotates over the instances that `discovery` names, gives each
 * call two tries, and shares calls without ever using one that began before its caller came.
 * Whatever is not a clear answer of auth-service is `auth_service_unavailable` with `retryAfter`.
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
  const instances = addressCooldowns(limits.rest, now)
  const { halfOpenAfter } = limits
  const guard = guardedCalls({ hostname: base.hostname, halfOpenAfter, now, log })

  /** A 401 or 403 is an answer; what rejects is a failure of auth-service. */
  const attempt = (question: Question, ms: number): Promise<Answer> =>
    within(ms, async (control) => {
      const addresses = await discovery(base.hostname)
      control.signal.throwIfAborted()
      const address = instances.pick(addresses)
      try {
        const answer = await ask(address, question, control)
        instances.work(address)
        return answer
      } catch (error) {
        instances.fail(address)
        throw error
      }
    })

  const validate = shareNextCall<Details, Caller>(async (token, details) => {
    const { request_id, deadline } = details
    const timeLeft = () => deadline - now()
    const call = () => attempt({ token, request_id }, Math.min(limits.request, timeLeft()))
    const answer = await guard.run(call, timeLeft).catch((cause: Error) => {
      if (!(cause instanceof BrokenCircuitError)) {
        log.warn({ request_id, reason: cause.message }, 'auth-service did not answer')
      }
      throw new AppError('auth_service_unavailable', { retryAfter: guard.retryAfter(), cause })
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
