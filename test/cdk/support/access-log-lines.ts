// Prints the log lines of a service that answers a few requests: what CloudWatch gets to read.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Koa from 'koa'
import { accessLog } from '../../../src/http/access-log.ts'
import { logger } from '../../../src/process.ts'

const ANSWERS: Readonly<Record<string, number>> = {
  '/auth/health': 200,
  '/auth/login': 200,
  '/auth/me': 401,
  '/auth/broken': 500,
}

const log = logger('auth-service', 'info')
log.info({ port: 3000 }, 'listening')
const app = new Koa()
app.use(accessLog(log))
app.use((ctx) => {
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
