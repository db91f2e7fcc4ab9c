import { BrokenCircuitError } from 'cockatiel'
import { AppError } from '../../app/errors.ts'
import type { OwnAccountRecords } from '../../app/ports/account-records.ts'
import type { AuthServiceHealth, TokenValidator } from '../../app/ports/authorization.ts'
import type { Log } from '../../app/ports/process.ts'
import { batches } from '../batching/batches.ts'
import { addressCooldowns } from './address-cooldowns.ts'
import {
  accountRecordsOf,
  isHealthy,
  type Validation,
  validationOf,
  validationsOf,
} from './auth-service-answers.ts'
import { authServiceCall, type Question } from './auth-service-call.ts'
import { guardedCalls } from './guarded-calls.ts'
import type { Discovery } from './service-discovery.ts'

/** Times in milliseconds. */
const SETTINGS = {
  connect: 300,
  request: 1000,
  /** Both attempts, the pause between them and the wait for the call, counted from the arrival. */
  total: 2000,
  halfOpenAfter: 5000,
  /** How long an instance that failed is left alone if there is another. */
  rest: 5000,
  socketLife: 30_000,
  /** Per instance. */
  maxSockets: 64,
  /** Validations in one call: auth-service takes a hundred, in a body of 128 KiB. */
  items: 100,
  bytes: 96 * 1024,
  /** Requests that wait for a call to begin: what two seconds can answer. */
  waiting: 5_000,
  /** So many may hang at once, spread over the instances. */
  calls: 16,
  /** Several times what a call takes. A slow instance holds the others up no longer. */
  patience: 25,
}

/**
 * What a bearer token consists of (RFC 6750). Anything else is not a token, and may not fit in a header.
 */
const TOKEN = /^[A-Za-z0-9\-._~+/]+=*$/
const MAX_TOKEN = 4096

type Asked = { readonly token: string; readonly request_id: string }

/** Settles after `ms` whatever the work does; its AbortController tells the work. */
async function within<T>(ms: number, work: (control: AbortController) => Promise<T>): Promise<T> {
  const control = new AbortController()
  const waiting = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    const error = new Error(`no answer within ${Math.round(ms)} ms`)
    waiting.reject(error)
    control.abort(error)
  }, ms)
  try {
    return await Promise.race([work(control), waiting.promise])
  } finally {
    clearTimeout(timer)
  }
}

export type AuthServiceClient = TokenValidator &
  AuthServiceHealth & {
    readonly accountRecords: OwnAccountRecords
    readonly close: () => void
  }

/**
 * The authorization port over HTTP: rotates over the instances that `discovery` names, attempts each call
 * twice, and answers with one call all callers who came before it began. Anything but a clear answer of
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
}): AuthServiceClient {
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

  /** One alone asks as the API documents it; many do with one question. */
  async function validations(
    asked: readonly Asked[],
    deadline: number,
  ): Promise<readonly Validation[]> {
    const [first, ...others] = asked as [Asked, ...Asked[]]
    if (others.length === 0) {
      return [await answerTo({ path: 'auth/validate', ...first, read: validationOf }, deadline)]
    }
    const tokens = [...new Set(asked.map(({ token }) => token))]
    const json = { tokens, request_ids: asked.map(({ request_id }) => request_id) }
    const { request_id } = first
    const read = validationsOf(tokens)
    const answers = await answerTo(
      { path: 'auth/validate/batch', request_id, json, read },
      deadline,
    )
    const byToken = new Map(tokens.map((token, n) => [token, answers[n] as Validation]))
    return asked.map(({ token }) => byToken.get(token) as Validation)
  }

  const validate = batches({
    call: validations,
    // The quotes and commas too.
    sizeOf: ({ token, request_id }: Asked) => token.length + request_id.length + 6,
    limits,
    now,
    refusal: unavailable,
  })

  const health = batches({
    call: async ([request_id = '', ...others]: readonly string[], deadline) => {
      const path = 'auth/health'
      await answerTo({ method: 'GET', path, request_id, read: isHealthy }, deadline)
      return [request_id, ...others]
    },
    sizeOf: () => 0,
    limits,
    now,
    refusal: unavailable,
  })

  return {
    answers: async (request_id) => void (await health(request_id)),

    validate: async (token, request_id) => {
      if (token === '') throw new AppError('token_missing')
      if (token.length > MAX_TOKEN || !TOKEN.test(token)) throw new AppError('token_invalid')
      const answer = await validate({ token, request_id })
      if (answer.outcome === 'valid') return answer.caller
      if (answer.outcome === 'denied') throw new AppError(answer.code)
      throw refused(request_id, answer.status)
    },

    accountRecords: async (token, after, request_id) => {
      const question = { path: 'internal/account-records', token, request_id, json: { after } }
      const deadline = now() + limits.total
      const answer = await answerTo({ ...question, read: accountRecordsOf }, deadline)
      if (answer.outcome === 'records') return answer.page
      if (answer.outcome === 'denied') throw new AppError(answer.code)
      throw refused(request_id, answer.status)
    },

    close,
  }
}
