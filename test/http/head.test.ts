import { once } from 'node:events'
import { Agent, type IncomingHttpHeaders, request } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { expect } from 'chai'
import { type Gateway, startGateway } from '../../src/http/gateway.ts'
import { freePorts } from '../../src/infra/local/free-ports.ts'
import { type System, startSystem } from '../support/system.ts'

type Head = { readonly status: number; readonly headers: IncomingHttpHeaders }

/** What belongs to the connection or to the one request. An empty body may go without its length. */
const OWN = [
  'date',
  'connection',
  'keep-alive',
  'transfer-encoding',
  'x-request-id',
  'ratelimit',
  'ratelimit-policy',
]

describe('HEAD', () => {
  let system: System
  let gateway: Gateway
  let through: string
  let token: string
  let id: number

  before(async () => {
    system = await startSystem()
    const [port = 0] = await freePorts(1)
    const at = (url: string) => ({ host: '127.0.0.1', port: Number(new URL(url).port) })
    const upstreams = {
      'auth-service': at(system.urls.auth),
      'task-service': at(system.urls.task),
    }
    gateway = await startGateway({ host: '127.0.0.1', port, upstreams })
    through = `http://127.0.0.1:${port}`
    const user = await system.newUser()
    token = user.token
    for (const title of ['One', 'Two']) {
      const { body } = await system.call('POST', '/tasks', { token, body: { title } })
      id = body.task.id
    }
  })
  after(async () => {
    gateway.destroy()
    await gateway.close()
    await system.stop()
  })

  const ask = async (
    method: 'GET' | 'HEAD',
    url: string,
    headers: object,
  ): Promise<Head & { readonly body: Buffer | null }> => {
    const agent = new Agent()
    const sent = request(url, { method, agent, headers: { ...headers } }).end()
    const [response] = await once(sent, 'response')
    const isStream = /event-stream/.test(String(response.headers['content-type']))
    const body = isStream && method === 'GET' ? null : await buffer(response)
    response.destroy()
    agent.destroy()
    const shown = Object.entries(response.headers as IncomingHttpHeaders)
      .filter(([name]) => !OWN.includes(name))
      // The name of an export's file has the time in it.
      .map(([name, value]) => [name, String(value).replace(/\d{8}T\d{6}Z/, 'T')])
    return { status: response.statusCode, headers: Object.fromEntries(shown), body }
  }

  const answersAlike = async (path: string, status: number, headers: object = {}) => {
    const service = path.startsWith('/auth') ? system.urls.auth : system.urls.task
    for (const url of path === '/health' || path === '/nothing' ? [through] : [service, through]) {
      const what = `${url === through ? 'gateway' : 'service'} ${path}`
      const { body: got, ...get } = await ask('GET', url + path, headers)
      const { body, ...head } = await ask('HEAD', url + path, headers)
      expect(get.status, what).to.equal(status)
      expect(head, what).to.deep.equal(get)
      expect(body, what).to.have.length(0)
      if (got === null || /csv|ndjson/.test(get.headers['content-type'] ?? '')) continue
      if (status !== 304) {
        expect(head.headers['content-length'], what).to.equal(String(got.length))
      }
    }
  }

  it('answers like GET for everything that needs no token', async () => {
    await answersAlike('/health', 200)
    await answersAlike('/nothing', 404)
    for (const base of ['/auth', '/tasks']) {
      for (const path of ['/health', '/openapi.json', '/docs', '/docs/start.js']) {
        await answersAlike(base + path, 200)
      }
      for (const asset of ['swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png']) {
        await answersAlike(`${base}/docs/${asset}`, 200)
      }
    }
    await answersAlike('/auth/nothing', 404)
    await answersAlike('/tasks', 401)
  })

  it('answers like GET for everything that a user may read, including errors', async () => {
    const own = { authorization: `Bearer ${token}` }
    for (const [path, status, headers] of [
      ['/auth/me', 200],
      ['/auth/sessions', 200],
      ['/tasks', 200],
      ['/tasks?limit=1', 200],
      ['/tasks?limit=0', 400],
      [`/tasks/${id}`, 200],
      [`/tasks/${id}`, 304, { 'if-none-match': '"1"' }],
      [`/tasks/${id}?version=1`, 200],
      ['/tasks/999999', 404],
      ['/tasks/x', 400],
      [`/tasks/${id}/history`, 200],
      ['/tasks/changes', 200],
      ['/tasks/stream', 200],
      ['/audit/events', 200],
      ['/audit/events', 200, { accept: 'application/x-ndjson' }],
      ['/audit/events', 200, { accept: 'text/csv' }],
      ['/audit/events', 406, { accept: 'image/png' }],
      ['/audit/events/999999/proof', 404],
      ['/log/checkpoint', 404],
      ['/log/tile/0/000', 404],
      ['/log/consistency?from=0&to=0', 200],
      ['/tasks/999999', 404, { accept: 'application/problem+json' }],
    ] as const) {
      await answersAlike(path, status, { ...own, ...headers })
    }
  })
})
