// Prints the log lines of a service that answers a few requests: what CloudWatch gets to read.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { PassThrough } from 'node:stream'
import Koa from 'koa'
import { accessLog } from '../../../src/http/access-log.ts'
import { logger } from '../../../src/process.ts'

const ANSWERS: Readonly<Record<string, number>> = {
  '/auth/health': 200,
  '/auth/login': 200,
  '/auth/me': 401,
  '/auth/broken': 500,
  '/auth/stream': 200,
}
const LIFE_OF_STREAM_MS = 500

const log = logger('auth-service', 'info')
log.info({ port: 3000 }, 'listening')
const app = new Koa()
app.use(accessLog(log))
app.use((ctx) => {
  if (ctx.path === '/auth/stream') {
    const body = new PassThrough()
    setTimeout(() => body.end(), LIFE_OF_STREAM_MS)
    ctx.body = body
  }
  ctx.status = ANSWERS[ctx.path] ?? 404
})
const server = createServer(app.callback()).listen(0, '127.0.0.1')
await once(server, 'listening')
const { port } = server.address() as AddressInfo
for (const path of Object.keys(ANSWERS)) {
  await (await fetch(`http://127.0.0.1:${port}${path}`, { keepalive: false })).text()
}
server.closeAllConnections()
server.close()
