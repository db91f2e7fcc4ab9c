import { BrokenCircuitError } from 'cockatiel'
import { AppError } from '../../app/errors.ts'
import type {
  AuthServiceHealth,
  Caller,
  SessionCheck,
  TokenValidator,
} from '../../app/ports/authorization.ts'
import type { Log } from '../../app/ports/process.ts'
import { addressCooldowns } from './address-cooldowns.ts'
import { endedOf, isHealthy, validationOf } from './auth-service-answers.ts'
import { authServiceCall, type Question } from './auth-service-call.ts'
import { guardedCalls } from './guarded-calls.ts'
import type { Discovery } from './service-discovery.ts'
import { shareNextCall } from './share-next-call.ts'

/** Times in milliseconds. */
const SETTINGS = {
  connect: 300,
  request: 1000,
  /** Both attempts, the pause between them and the wait for a shared call, counted from the arrival. */
  total: 2000,
  halfOpenAfter: 5000,
  /** How long an instance that failed is left alone if there is another. */
  rest: 5000,
  socketLife: 30_000,
  /** Per instance; further concurrent calls wait, within their time. */
  maxSockets: 64,
}

/**
 * What a bearer token consists of (RFC 6750). Anything else is not a token, and may not fit in a header.
 */
const TOKEN = /^[A-Za-z0-9\-._~+/]+=*$/
const MAX_TOKEN = 4096

type Details = { readonly request_id: string; readonly deadline: number }

/**
 * Settles after `ms` whatever the work does, with the error that `late` makes; its AbortController tells
 * the work.
 */
async function within<T>(
  ms: number,
  work: (control: AbortController) => Promise<T>,
  late = (error: Error) => error,
): Promise<T> {
  const control = new AbortController()
  const waiting = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    const error = new Error(`no answer within ${Math.round(ms)} ms`)
    waiting.reject(late(error))
    control.abort(error)
  }, ms)
  try {
    return await Promise.race([work(control), waiting.promise])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * The authorization port over HTTP: rotates over the instances that `discovery` names, attempts each call
 * twice, and shares calls, but never one that began before the caller came. Anything but a clear answer of
 * auth-service becomes `auth_service_unavailable` with `retryAfter`.
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
}): TokenValidator & SessionCheck & AuthServiceHealth & { readonly close: () => void } {
  const limits = { ...SETTINGS, ...settings }
  const base = new URL(url)
  const { ask, close } = authServiceCall({ url: base, apiKey, ...limits })
  const instances = addressCooldowns(limits.rest, now)
  const { halfOpenAfter } = limits
  const guard = guardedCalls({ hostname: base.hostname, halfOpenAfter, now, log })

  /** A 401 or 403 is an answer; a rejection is a failure of auth-service. */
  const attempt = <Answer>(question: Question<Answer>, ms: number): Promise<Answer> =>
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

  const unavailable = (cause: unknown) =>
    new AppError('auth_service_unavailable', { retryAfter: guard.retryAfter(), cause })

  async function answerTo<Answer>(question: Question<Answer>, deadline: number): Promise<Answer> {
    const timeLeft = () => deadline - now()
    const call = () => attempt(question, Math.min(limits.request, timeLeft()))
    try {
      return await guard.run(call, timeLeft)
    } catch (error) {
      if (!(error instanceof BrokenCircuitError)) {
        const { message: reason } = error as Error
        log.warn({ request_id: question.request_id, reason }, 'auth-service did not answer')
      }
      throw unavailable(error)
    }
  }

  /** Most likely the internal key is not the one that auth-service has. */
  const refused = (request_id: string, status: number) => {
    log.error({ request_id, status }, 'auth-service refuses this service')
    return new AppError('auth_service_unavailable', { retryAfter: 1 })
  }

  const validate = shareNextCall<Details, Caller>(async (token, { request_id, deadline }) => {
    const question = { path: 'auth/validate', request_id, token, read: validationOf }
    const answer = await answerTo(question, deadline)
    if (answer.outcome === 'valid') return answer.caller
    if (answer.outcome === 'denied') throw new AppError(answer.code)
    throw refused(request_id, answer.status)
  })

  const health = shareNextCall<string, void>((path, request_id) =>
    answerTo({ method: 'GET', path, request_id, read: isHealthy }, now() + limits.total),
  )

  return {
    answers: (request_id) => health('auth/health', request_id),

    validate: async (token, request_id) => {
      if (token === '') throw new AppError('token_missing')
      if (token.length > MAX_TOKEN || !TOKEN.test(token)) throw new AppError('token_invalid')
      // A shared call gets the deadline of the last caller; this caller waits only until its own.
      const shared = () => validate(token, { request_id, deadline: now() + limits.total })
      return within(limits.total, shared, unavailable)
    },

    ended: async (session_ids, request_id) => {
      const path = 'auth/validate/sessions'
      const question = { path, request_id, json: { session_ids }, read: endedOf }
      const answer = await answerTo(question, now() + limits.total)
      if (answer.outcome === 'ended') return answer.session_ids
      throw refused(request_id, answer.status)
    },

    close,
  }
}
