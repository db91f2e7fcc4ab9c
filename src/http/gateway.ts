import { once } from 'node:events'
import {
  Agent,
  createServer,
  type IncomingMessage,
  type RequestListener,
  ServerResponse,
} from 'node:http'
import { createProxyServer } from 'httpxy'
import { v7 as uuid } from 'uuid'
import { cors } from './cors.ts'
import { refusal, type VerifyToken } from './edge.ts'
import { type Followed, followed } from './edge-log.ts'
import { isVisit, showFrontPage } from './front-page.ts'
import { answer, type GatewayFailure } from './gateway-answers.ts'
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
  /** Refuses tokens before a service is asked. @default nobody: services refuse them too */
  readonly verify?: VerifyToken | undefined
  /** From where pages may call. @default nowhere */
  readonly origins?: readonly string[]
  /** Takes the access log, a line for each request. @default nobody */
  readonly log?: ((line: string) => void) | undefined
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
 * The local stand-in for API Gateway and load balancer: the same path rules, the same X-Forwarded headers, the same
 * check of tokens and the same access log. Paths are passed on exactly as in the request line, so that both sides
 * judge the same text.
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const proxy = createProxyServer({
    agent: new Agent({ keepAlive: true, maxFreeSockets: 64 }),
    proxyTimeout: options.idleTimeoutMs ?? 60_000,
  })
  const log = options.log ?? (() => {})
  const share = cors(options.origins ?? [])
  const { verify } = options
  const requests = new WeakMap<IncomingMessage, Followed>()
  const refuse = (req: IncomingMessage, res: ServerResponse, code: GatewayFailure) => {
    const facts = requests.get(req)
    if (facts) facts.error = code
    answer(req, res, facts?.path ?? '', code)
  }
  proxy.on('proxyRes', (answered, req, res) => {
    const { headers } = answered
    headers.connection = res.shouldKeepAlive ? 'keep-alive' : 'close'
    delete headers['keep-alive']
    const facts = requests.get(req)
    if (facts && headers['content-length'] === undefined) addLength(answered, facts)
  })
  proxy.on('error', (_error, req, res) => {
    // The proxy breaks off an answer that has begun: nobody takes it for complete.
    if (req === undefined || !(res instanceof ServerResponse) || res.headersSent) return
    refuse(req, res, 'service_unavailable')
  })

  /** Who answers, or why nobody does. */
  const judged = (req: IncomingMessage, path: string): GatewayFailure | HttpService => {
    const target = route(path)
    if (target === 'refused') return 'internal_only'
    if (target === 'not-found') return 'route_not_found'
    if (verify === undefined) return target
    const { authorization, cookie } = req.headers
    return refusal({ method: req.method ?? '', path, authorization, cookie }, verify) ?? target
  }

  const server = createServer({ ...CONNECTIONS, ...options.connections }, (req, res) => {
    takeOriginForm(req)
    const path = pathOf(req)
    const { objects } = options
    // What follows in the path of an object is as good as a token.
    requests.set(req, followed(req, res, isObject(path) ? OBJECTS_PATH : path, log))
    if (path === '') return refuse(req, res, 'malformed_request')
    if (share(req, res)) return res.writeHead(204).end()
    if (isVisit(path, req)) return showFrontPage(res)
    if (objects && isObject(path)) return objects(req, res)
    const target = judged(req, path)
    if (!isService(target)) return refuse(req, res, target)
    for (const name of STRIPPED) delete req.headers[name]
    const forward = { target: options.upstreams[target], headers: forwarded(req) }
    // It rejects for errors that the listener has already answered.
    proxy.web(req, res, forward).catch(() => {})
  })
  server.on('clientError', refuseBroken(uuid))
  server.listen(options.port, options.host)
  await once(server, 'listening')
  return {
    close: () => new Promise((resolve) => server.close(() => resolve())),
    destroy: () => server.closeAllConnections(),
  }
}

type HttpService = keyof GatewayOptions['upstreams']

const isService = (target: GatewayFailure | HttpService): target is HttpService =>
  target === 'auth-service' || target === 'task-service'

const isObject = (path: string): boolean =>
  path === OBJECTS_PATH || path.startsWith(`${OBJECTS_PATH}/`)

/** As in the request line, without the query; empty if that is no path. */
const pathOf = ({ url = '' }: IncomingMessage): string =>
  url.startsWith('/') ? url.replace(/\?.*/s, '') : ''

/** Of an answer that does not name its length before. */
function addLength(answered: IncomingMessage, facts: Followed): void {
  answered.on('data', ({ length }: Buffer) => {
    facts.length += length
  })
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
