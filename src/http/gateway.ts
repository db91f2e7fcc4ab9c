import { once } from 'node:events'
import {
  Agent,
  createServer,
  type IncomingMessage,
  type RequestListener,
  ServerResponse,
  STATUS_CODES,
} from 'node:http'
import { createProxyServer } from 'httpxy'
import { v7 as uuid } from 'uuid'
import { isVisit, showFrontPage } from './front-page.ts'
import { refuseBroken } from './refuse-broken.ts'
import { route } from './routing.ts'
import { CONNECTIONS } from './server.ts'

export type Upstream = { readonly host: string; readonly port: number }

export type GatewayOptions = {
  readonly host: string
  readonly port: number
  readonly upstreams: Readonly<Record<'auth-service' | 'task-service', Upstream>>
  /** Answers under `OBJECTS_PATH`. @default nobody */
  readonly objects?: RequestListener | undefined
  /** Idle timeout of a connection to a service. @default 60_000, like the load balancer's */
  readonly idleTimeoutMs?: number
  /** How slow a client may be. @default `CONNECTIONS` */
  readonly connections?: Partial<typeof CONNECTIONS>
}

export type Gateway = {
  /** Takes no new connections; resolves when those that are open have ended. */
  readonly close: () => Promise<void>
  /** Ends all connections, even in the middle of an answer. */
  readonly destroy: () => void
}

/** Stands for the object storage, to which clients on AWS go themselves. */
export const OBJECTS_PATH = '/objects'

// Headers of one connection, not of the message. The internal key is for calls between services; from
// outside it is never genuine.
const STRIPPED = ['upgrade', 'keep-alive', 'proxy-connection', 'x-internal-api-key']

/**
 * The local stand-in for the load balancer: the same path rules, the same X-Forwarded headers. Paths are
 * passed on exactly as in the request line, so that both sides judge the same text.
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const proxy = createProxyServer({
    agent: new Agent({ keepAlive: true, maxFreeSockets: 64 }),
    proxyTimeout: options.idleTimeoutMs ?? 60_000,
  })
  proxy.on('proxyRes', ({ headers }, _req, res) => {
    headers.connection = res.shouldKeepAlive ? 'keep-alive' : 'close'
    delete headers['keep-alive']
  })
  proxy.on('error', (_error, req, res) => {
    // The proxy breaks off an answer that has begun: nobody takes it for complete.
    if (req === undefined || !(res instanceof ServerResponse) || res.headersSent) return
    answer(req, res, 'service_unavailable')
  })

  const server = createServer({ ...CONNECTIONS, ...options.connections }, (req, res) => {
    takeOriginForm(req)
    const { url = '' } = req
    if (!url.startsWith('/')) return answer(req, res, 'malformed_request')
    const path = url.replace(/\?.*/s, '')
    if (isVisit(path, req)) return showFrontPage(res)
    const { objects } = options
    if (objects && (path === OBJECTS_PATH || path.startsWith(`${OBJECTS_PATH}/`))) {
      return objects(req, res)
    }
    const target = route(path)
    switch (target) {
      case 'refused':
        return answer(req, res, 'internal_only')
      case 'not-found':
        return answer(req, res, 'route_not_found')
      case 'auth-service':
      case 'task-service': {
        for (const name of STRIPPED) delete req.headers[name]
        const forward = { target: options.upstreams[target], headers: forwarded(req) }
        // It rejects for errors that the listener has already answered.
        proxy.web(req, res, forward).catch(() => {})
      }
    }
  })
  server.on('clientError', refuseBroken(uuid))
  server.listen(options.port, options.host)
  await once(server, 'listening')
  return {
    close: () => new Promise((resolve) => server.close(() => resolve())),
    destroy: () => server.closeAllConnections(),
  }
}

const ABSOLUTE_FORM = /^https?:\/\/([A-Za-z0-9.:[\]-]+)(?=[/?]|$)/i

/**
 * An absolute URL in the request line, as proxies get it, names the host before the path (RFC 9112, 3.2.2).
 */
function takeOriginForm(req: IncomingMessage): void {
  const [start, host] = ABSOLUTE_FORM.exec(req.url ?? '') ?? []
  if (start === undefined) return
  req.headers.host = host
  req.url = req.url?.slice(start.length).replace(/^(?!\/)/, '/')
}

/** The headers that the load balancer adds. It appends to X-Forwarded-For, whatever the client sent. */
function forwarded(req: IncomingMessage): Record<string, string> {
  const client = req.socket.remoteAddress?.replace(/^::ffff:/, '') ?? ''
  const before = req.headers['x-forwarded-for']
  return {
    connection: 'keep-alive',
    'x-forwarded-for': before === undefined ? client : `${before}, ${client}`,
    'x-forwarded-proto': 'http',
    'x-forwarded-port': String(req.socket.localPort),
  }
}

// --------------------------------------------------------------------------------------- answers

const FAILURES = {
  malformed_request: [400, 'The request is malformed'],
  internal_only: [403, 'Only services of Tasktrail may call this'],
  route_not_found: [404, 'There is nothing at this path'],
  service_unavailable: [503, 'Service unavailable'],
} as const satisfies Record<string, readonly [status: number, message: string]>

type Failure = keyof typeof FAILURES

function failureBody(code: Failure, request_id: string) {
  const [status, message] = FAILURES[code]
  return { error: STATUS_CODES[status], message, code, request_id }
}

function answer(req: IncomingMessage, res: ServerResponse, code: Failure): void {
  const sent = String(req.headers['x-request-id'] ?? '')
  const request_id = /^[A-Za-z0-9._-]{1,128}$/.test(sent) ? sent : uuid()
  res.setHeader('X-Request-Id', request_id)
  if (code === 'service_unavailable') res.setHeader('Retry-After', '1')
  send(res, FAILURES[code][0], failureBody(code, request_id))
}

function send(res: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body)
  res.setHeader('Content-Length', Buffer.byteLength(text))
  res
    .writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' })
    .end(text)
}
