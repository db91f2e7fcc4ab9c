import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { isIPv6 } from 'node:net'
import type { Duplex } from 'node:stream'
import got from 'got'

/** A question to auth-service, and how to read its answer. `read` throws if the answer makes no sense. */
export type Question<Answer> = {
  /** @default 'POST' */
  readonly method?: 'GET' | 'POST'
  readonly path: string
  readonly request_id: string
  readonly token?: string
  readonly json?: object
  readonly read: (status: number, body: string) => Answer
}

/** Enough for the holders of a hundred tokens. */
const MAX_ANSWER = 64 * 1024

/**
 * Keeps sockets open between calls for `life` ms from the end of their first call, then closes them at the
 * end of a call or while idle: none long outlives the instance that DNS named.
 */
function keepAliveAgent(protocol: string, life: number, maxSockets: number) {
  const options = { keepAlive: true, maxSockets }
  const agent = protocol === 'https:' ? new HttpsAgent(options) : new HttpAgent(options)
  const ends = new WeakMap<Duplex, number>()
  // The method's result decides whether a socket is kept, whatever its type in @types/node says.
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
 * One call to one instance, given up when `control` is aborted. Without a sensible answer it rejects with
 * an error that carries neither token nor key: got's own errors hold the request's headers.
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
  const base = url.href.replace(/\/*$/, '/')
  const client = got.extend({
    agent: agent instanceof HttpsAgent ? { https: agent } : { http: agent },
    // The name, not the address: a certificate is checked against it too.
    headers: { host: url.host, 'x-internal-api-key': apiKey, 'user-agent': 'tasktrail' },
    timeout: { connect },
    retry: { limit: 0 },
    followRedirect: false,
    throwHttpErrors: false,
    decompress: false,
  })

  const ask = async <Answer>(
    address: string,
    { method = 'POST', path, request_id, token, json, read }: Question<Answer>,
    control: AbortController,
  ): Promise<Answer> => {
    const target = new URL(path, base)
    target.hostname = isIPv6(address) ? `[${address}]` : address
    const headers = {
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      'x-request-id': request_id,
    }
    const { signal } = control
    try {
      const options = { method, headers, signal, ...(json !== undefined && { json }) }
      const response = await client(target, options).on('downloadProgress', (progress) => {
        if (progress.transferred > MAX_ANSWER) control.abort(new Error('an answer over 64 KiB'))
      })
      return read(response.statusCode, response.body)
    } catch (error) {
      throw new Error((signal.aborted ? signal.reason : error).message)
    }
  }
  return { ask, close: () => agent.destroy() }
}
