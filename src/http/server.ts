import { createServer, type Server } from 'node:http'
import { type AddressInfo, isIP } from 'node:net'
import { Router } from '@koa/router'
import Koa, { type Context } from 'koa'
import type { Log } from '../app/ports/process.ts'
import { accessLog } from './access-log.ts'
import { answerErrors } from './answer-errors.ts'
import { type Cors, cors } from './cors.ts'
import { HttpError } from './errors.ts'
import { overload } from './overload.ts'
import { refuseBroken } from './refuse-broken.ts'
import { requestId } from './request-id.ts'
import { type Unsent, unsentBytes } from './unsent.ts'
import { versions } from './versions.ts'

/** Limits on connections, for services and gateway. */
export const CONNECTIONS = {
  maxHeaderSize: 16 * 1024,
  headersTimeout: 10_000,
  requestTimeout: 15_000,
  // By default Node looks for requests that take too long only every 30 s.
  connectionsCheckingInterval: 1_000,
  // Longer than the load balancer's 60 s, or it would reuse a connection that we have just closed.
  keepAliveTimeout: 75_000,
}

/** A connection that is idle for this long in the middle of an answer is closed; waiting for one is no fault. */
const STALL_MS = 30_000

export type ServiceOptions = {
  readonly log: Log
  readonly newId: () => string
  /** Milliseconds; 0 switches load shedding off. */
  readonly maxEventLoopDelay: number
  /** Paths that are answered even under overload. */
  readonly spared: readonly string[]
  readonly unsent?: Unsent | undefined
  /** Of a service that clients call, under the base path and from pages of these origins. */
  readonly clients?: { readonly origins: readonly string[] } | undefined
}

export type Service = {
  readonly listen: (port: number, host: string) => Promise<AddressInfo>
  /** From now on answers close their connection, so that clients turn to another instance. */
  readonly retire: () => void
  /** Takes no new connections; resolves when all answers are sent, after `ms` at the latest. */
  readonly close: (ms: number) => Promise<void>
}

export function service(router: Router, options: ServiceOptions): Service {
  const { log, newId, maxEventLoopDelay, spared, unsent, clients } = options
  let retiring = false
  const app = new Koa({ proxy: true, maxIpsCount: 1 })
  app.use((ctx, next) => {
    // Without a load balancer in front, X-Forwarded-For may hold anything.
    if (isIP(ctx.ip) === 0) ctx.request.ip = ctx.socket.remoteAddress ?? ''
    return next()
  })
  app.use(requestId(newId))
  app.use(accessLog(log))
  if (clients) {
    if (clients.origins.length > 0) app.use(shared(cors(clients.origins)))
    app.use(versions)
  }
  app.use(async (ctx, next) => {
    ctx.set('Cache-Control', 'no-store')
    ctx.set('X-Content-Type-Options', 'nosniff')
    if (ctx.secure) ctx.set('Strict-Transport-Security', 'max-age=31536000')
    await next()
    // Checked only now: the service may have retired since the request came.
    if (retiring) ctx.set('Connection', 'close')
    ctx.res.setTimeout(STALL_MS, () => ctx.res.destroy())
  })
  app.use(answerErrors(log))
  app.use(unsentBytes(unsent))
  app.use(overload({ maxDelay: maxEventLoopDelay, spared }))
  const unknown = refuseUnknown(router)
  app.use(unknown.before)
  app.use(router.routes())
  app.use(unknown.after)
  // Failures while an answer is being sent: the connection is gone or broken, so there is nobody to tell.
  app.on('error', (error: NodeJS.ErrnoException, ctx?: Context) => {
    // The client closed it, as is usual for a stream; the access log shows it.
    if (error.code === 'ERR_STREAM_PREMATURE_CLOSE') return
    log.warn({ request_id: ctx?.state.request_id, err: error.message }, 'answer failed')
  })

  const server = createServer(CONNECTIONS, app.callback())
  server.on('clientError', refuseBroken(newId))
  return {
    listen: (port, host) => listening(server, port, host),
    retire: () => {
      retiring = true
    },
    close: (ms) => closed(server, ms),
  }
}

/** A preflight is answered before it costs anything, or counts. */
const shared = (share: Cors) => async (ctx: Context, next: Koa.Next) => {
  if (share(ctx.req, ctx.res)) ctx.status = 204
  else await next()
}

/** A router that matches paths exactly. */
export const strictRouter = () => new Router({ sensitive: true, strict: true })

/**
 * No route: 404. A route, but not for this method: 405 with the methods that it has. To the router the last
 * word of /tasks/changes could be an id, so literal paths are looked at before it; everything else is what it
 * has no route for.
 */
function refuseUnknown(router: Router) {
  const literal = new Map<string, Set<string>>()
  for (const { path, paramNames, methods } of router.stack) {
    if (paramNames.length > 0) continue
    const known = literal.get(String(path)) ?? new Set()
    literal.set(String(path), new Set([...known, ...methods]))
  }
  const refuse = (ctx: Context, methods: ReadonlySet<string>) => {
    if (methods.size === 0) throw new HttpError('route_not_found')
    ctx.set('Allow', [...methods, 'OPTIONS'].join(', '))
    if (ctx.method !== 'OPTIONS') throw new HttpError('method_not_allowed')
    ctx.status = 204
  }
  return {
    before: async (ctx: Context, next: Koa.Next) => {
      const methods = literal.get(ctx.path)
      if (methods === undefined || methods.has(ctx.method)) return next()
      refuse(ctx, methods)
    },
    after: async (ctx: Context) => {
      const found = router.match(ctx.path, ctx.method).path
      refuse(ctx, new Set(found.flatMap((route) => route.methods)))
    },
  }
}

function listening(server: Server, port: number, host: string): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => resolve(server.address() as AddressInfo))
  })
}

async function closed(server: Server, ms: number): Promise<void> {
  const done = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeIdleConnections()
  const timer = setTimeout(() => server.closeAllConnections(), ms)
  // Connections that become idle from now on must not wait for another request.
  const sweep = setInterval(() => server.closeIdleConnections(), 100)
  await done
  clearTimeout(timer)
  clearInterval(sweep)
}
