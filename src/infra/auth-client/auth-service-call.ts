import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { isIPv6 } from 'node:net'
import type { Duplex } from 'node:stream'
import got from 'got'
import { z } from 'zod'
import type { Caller } from '../../app/ports/authorization.ts'
import { ROLES } from '../../domain/user.ts'

const DENIALS = ['token_missing', 'token_invalid', 'token_expired', 'session_ended'] as const

/** What auth-service said of a token; `refused` means that it would not hear us. */
export type Answer =
  | { readonly outcome: 'valid'; readonly caller: Caller }
  | { readonly outcome: 'denied'; readonly code: (typeof DENIALS)[number] }
  | { readonly outcome: 'refused'; readonly status: number }

export type Question = { readonly token: string; readonly request_id: string }

const MAX_ANSWER = 16 * 1024

const validAnswer = z.object({
  valid: z.literal(true),
  user: z.object({
    user_id: z.int().positive(),
    username: z.string().min(1),
    email: z.string(),
    role: z.enum(ROLES),
    session_id: z.string().min(1),
    iat: z.int(),
    exp: z.int(),
  }),
})
const deniedAnswer = z.object({ code: z.enum(DENIALS) })

function parsed(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}

/** Throws for whatever is no answer of a working auth-service. */
function answerOf(status: number, body: string): Answer {
  if (status === 200) {
    const { data } = validAnswer.safeParse(parsed(body))
    if (data === undefined) throw new Error('a 200 that makes no sense')
    return { outcome: 'valid', caller: data.user }
  }
  if (status === 401) {
    const { data } = deniedAnswer.safeParse(parsed(body))
    return { outcome: 'denied', code: data?.code ?? 'token_invalid' }
  }
  if (status >= 400 && status < 500 && status !== 429) return { outcome: 'refused', status }
  throw new Error(`status ${status}`)
}

/**
 * Sockets are kept open between calls for `life` ms from the end of their first call, then given up
 * at the end of a call or while idle: none outlives by much the instance that DNS named.
 */
function keepAliveAgent(protocol: string, life: number, maxSockets: number) {
  const options = { keepAlive: true, maxSockets }
  const agent = protocol === 'https:' ? new HttpsAgent(options) : new HttpAgent(options)
  const ends = new WeakMap<Duplex, number>()
  // The method decides by its result whether a socket stays, whatever its type in @types/node says.
  const keep = agent.keepSocketAlive.bind(agent) as unknown as (socket: Duplex) => boolean
  const keepWhileYoung = (socket: Duplex & { setTimeout?: (ms: number) => void }) => {
    const end = ends.get(socket) ?? performance.now() + life
    ends.set(socket, end)
    const left = Math.ceil(end - performance.now())
    if (left <= 0 || !keep(socket)) return false
    socket.setTimeout?.(left)
    return true
  }
  return Object.assign(agent, { keepSocketAlive: keepWhileYoung })
}

/**
 * One call to one instance, given up when `control` is aborted. Rejects, when there is no sensible
 * answer, with an error that carries neither token nor key: got's own hold the request's headers.
 */
export function authServiceCall({
  url,
  apiKey,
  connect,
  socketLife,
  maxSockets,
}: {
  readonly url: URL
  readonly apiKey: string
  readonly connect: number
  readonly socketLife: number
  readonly maxSockets: number
}) {
  const agent = keepAliveAgent(url.protocol, socketLife, maxSockets)
  const endpoint = new URL('auth/validate', url.href.replace(/\/*$/, '/'))
  const client = got.extend({
    method: 'POST',
    agent: agent instanceof HttpsAgent ? { https: agent } : { http: agent },
    // The name, not the address: it is also what a certificate is checked against.
    headers: { host: url.host, 'x-internal-api-key': apiKey, 'user-agent': 'tasktrail' },
    timeout: { connect },
    retry: { limit: 0 },
    followRedirect: false,
    throwHttpErrors: false,
    decompress: false,
  })

  const ask = async (
    address: string,
    { token, request_id }: Question,
    control: AbortController,
  ): Promise<Answer> => {
    const target = new URL(endpoint)
    target.hostname = isIPv6(address) ? `[${address}]` : address
    const headers = { authorization: `Bearer ${token}`, 'x-request-id': request_id }
    const { signal } = control
    try {
      const response = await client(target, { headers, signal }).on(
        'downloadProgress',
        (progress) => {
          if (progress.transferred > MAX_ANSWER) control.abort(new Error('an answer over 16 KiB'))
        },
      )
      return answerOf(response.statusCode, response.body)
    } catch (error) {
      throw new Error((signal.aborted ? signal.reason : error).message)
    }
  }
  return { ask, close: () => agent.destroy() }
}
