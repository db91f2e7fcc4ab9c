import { createHash } from 'node:crypto'
import { once } from 'node:events'
import {
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import Koa from 'koa'
import { AppError } from '../../src/app/errors.ts'
import { type Gateway, type GatewayOptions, startGateway } from '../../src/http/gateway.ts'
import { CONNECTIONS, strictRouter } from '../../src/http/server.ts'
import { freePorts } from '../../src/infra/local/free-ports.ts'
import { until } from '../support/processes.ts'

type Handler = (req: IncomingMessage, res: ServerResponse) => unknown

describe('The gateway', () => {
  let port: number
  let gateway: Gateway
  let upstreams: GatewayOptions['upstreams']
  let servers: Server[]
  let auth: Handler
  let task: Handler

  const portOf = (server: Server | undefined): number => {
    const address = server?.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }
  const listen = async (handler: () => Handler, port = 0) => {
    const server = createServer((req, res) => handler()(req, res)).listen(port, '127.0.0.1')
    await once(server, 'listening')
    servers.push(server)
    return { host: '127.0.0.1', port: portOf(server) }
  }
  const echo: Handler = async (req, res) => {
    const { method, url, headers } = req
    res.end(JSON.stringify({ method, url, headers, body: await text(req) }))
  }

  beforeEach(async () => {
    servers = []
    auth = (_req, res) => res.end('auth')
    task = (_req, res) => res.end('task')
    upstreams = {
      'auth-service': await listen(() => auth),
      'task-service': await listen(() => task),
    }
    ;[port = 0] = await freePorts(1)
    gateway = await startGateway({ host: '127.0.0.1', port, upstreams })
  })
  it('knows nothing under /objects where there is an object storage', async () => {
    expect(await call('/objects')).to.include({ status: 404 })
    expect(await call('/objects/a')).to.include({ status: 404 })
  })

  it('answers under /objects where it stands for one', async () => {
    await stop()
    const objects: Handler = (req, res) => res.end(`objects ${req.url}`)
    gateway = await startGateway({ host: '127.0.0.1', port, upstreams, objects })
    expect(await call('/objects')).to.include({ body: 'objects /objects' })
    expect(await call('/objects/a.b?c')).to.include({ body: 'objects /objects/a.b?c' })
    expect(await call('/objectsa')).to.include({ status: 404 })
    expect(await call('/tasks')).to.include({ body: 'task' })
  })

  it('drops a client whose headers are slow as soon as the services do', async () => {
    await stop()
    const limits = { headersTimeout: 100, connectionsCheckingInterval: 20 }
    gateway = await startGateway({ host: '127.0.0.1', port, upstreams, connections: limits })
    const client = connect(port, '127.0.0.1')
    client.write('GET /tasks HTTP/1.1\r\nHo')
    expect(await text(client)).to.match(/^HTTP\/1.1 408 /)
    expect(CONNECTIONS).to.include({ headersTimeout: 10_000, requestTimeout: 15_000 })
  })

  const stop = async () => {
    const closed = gateway.close()
    gateway.destroy()
    await closed
  }
  /** One in which half a second without a byte is too long, as it may be for others on a busy machine. */
  const becomeImpatient = async () => {
    await stop()
    gateway = await startGateway({ host: '127.0.0.1', port, upstreams, idleTimeoutMs: 500 })
  }
  afterEach(async () => {
    await stop()
    for (const server of servers) {
      server.closeAllConnections()
      server.close()
    }
  })

  /** The path as it stands: fetch would tidy it up. */
  const call = (path: string, options: { method?: string; headers?: object; body?: string } = {}) =>
    new Promise<{ status: number; headers: IncomingMessage['headers']; body: string }>(
      (resolve, reject) => {
        const { method = 'GET', headers = {}, body } = options
        const outgoing = request({ port, host: '127.0.0.1', path, method, headers: { ...headers } })
        outgoing.on('error', reject)
        outgoing.on('response', async (res) => {
          const { statusCode: status = 0, headers } = res
          text(res).then((body) => resolve({ status, headers, body }), reject)
        })
        outgoing.end(body)
      },
    )
  /** Bytes as they are, and what comes back until the connection ends. */
  const raw = async (bytes: string) => {
    const socket = connect(port, '127.0.0.1')
    socket.write(bytes, 'latin1')
    return text(socket)
  }

  describe('at its root', () => {
    // As Firefox and Chrome ask.
    const BROWSER = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'

    it('shows a browser what this is, and where its documents are', async () => {
      for (const path of ['/', '/?from=mail']) {
        const { status, headers, body } = await call(path, { headers: { accept: BROWSER } })
        expect(status).to.equal(200)
        expect(headers).to.include({
          'content-type': 'text/html; charset=utf-8',
          'x-content-type-options': 'nosniff',
          vary: 'Accept',
        })
        for (const link of ['/v1/tasks/docs', '/v1/auth/docs', '/v1/health']) {
          expect(body).to.include(`<a href="${link}">`)
        }
      }
    })

    it('lets that page load nothing, run nothing and be framed by nobody', async () => {
      const { headers, body } = await call('/', { headers: { accept: BROWSER } })
      const policy = String(headers['content-security-policy'])
      expect(policy).to.match(/^default-src 'none'; style-src 'sha256-[A-Za-z0-9+/=]+'; /)
      expect(policy).to.include("frame-ancestors 'none'")
      expect(policy).not.to.include('unsafe')
      const style = body.match(/<style>(.*?)<\/style>/s)?.[1] ?? ''
      const digest = createHash('sha256').update(style).digest('base64')
      expect(policy).to.include(`'sha256-${digest}'`)
      expect(body).not.to.match(/<script|https?:\/\//)
    })

    it('answers HEAD as GET, without the page', async () => {
      const options = { headers: { accept: BROWSER } }
      const { headers } = await call('/', options)
      const head = await call('/', { ...options, method: 'HEAD' })
      expect(head).to.include({ status: 200, body: '' })
      expect(head.headers['content-length']).to.equal(headers['content-length'])
    })

    it('answers everyone else 404 in JSON', async () => {
      for (const [method, accept] of [
        ['GET', 'application/json'],
        ['GET', '*/*'],
        ['GET', undefined],
        ['GET', 'text/html;q=0.5, application/json'],
        ['POST', BROWSER],
      ] as const) {
        const headers = accept === undefined ? {} : { accept }
        const { status, body } = await call('/', { method, headers })
        expect({ status, code: JSON.parse(body).code }).to.deep.equal({
          status: 404,
          code: 'route_not_found',
        })
      }
    })
  })

  describe('by path', () => {
    for (const [path, who] of [
      ['/auth', 'auth'],
      ['/auth/login', 'auth'],
      ['/tasks', 'task'],
      ['/tasks?limit=1', 'task'],
      ['/tasks/1/history', 'task'],
      ['/audit', 'task'],
      ['/health', 'task'],
      ['/log', 'task'],
      ['/log/tile/0/x001/067.p/8', 'task'],
      ['/audit/events?a=/auth/validate', 'task'],
      ['/v1/auth', 'auth'],
      ['/v1/auth/login', 'auth'],
      ['/v1/tasks', 'task'],
      ['/v1/tasks?limit=1', 'task'],
      ['/v1/tasks/1/history', 'task'],
      ['/v1/audit', 'task'],
      ['/v1/audit/events', 'task'],
      ['/v1/health', 'task'],
      ['/v1/log', 'task'],
      ['/v1/log/checkpoint', 'task'],
    ]) {
      it(`gives ${path} to the ${who}-service`, async () => {
        expect(await call(path as string)).to.include({ status: 200, body: who })
      })
    }

    for (const path of [
      '/',
      '/tasksx',
      '/authx',
      '/AUTH/login',
      '/healthz',
      '/login',
      '/logs/checkpoint',
      '/api/tasks',
      '//tasks',
      '/v1',
      '/v1/',
      '/v1/login',
      '/v1x/tasks',
      '/v2/tasks',
      '/V1/tasks',
      '/v1/v1/tasks',
      '/v1//tasks',
      '/%761/tasks',
    ]) {
      it(`answers ${path} with 404`, async () => {
        const { status, headers, body } = await call(path, { headers: { 'X-Request-Id': 'abc-1' } })
        expect(status).to.equal(404)
        expect(headers['content-type']).to.equal('application/json')
        expect(JSON.parse(body)).to.deep.equal({
          error: 'Not Found',
          message: 'There is nothing at this path',
          code: 'route_not_found',
          request_id: 'abc-1',
        })
      })
    }
  })

  describe('guards /auth/validate', () => {
    beforeEach(() => {
      const app = new Koa()
      const router = strictRouter()
      router.all('/auth/validate', (ctx) => {
        ctx.body = 'validated'
      })
      auth = app.use(router.routes() as unknown as Koa.Middleware).callback()
      task = auth
    })

    for (const path of [
      '/auth/validate',
      '/auth/validate/',
      '/auth/validate?x=1',
      '/auth/validates',
      '/v1/auth/validate',
      '/v1/auth/validate/batch',
    ]) {
      it(`refusing ${path}`, async () => {
        const { status, body } = await call(path, { method: 'POST' })
        expect(status).to.equal(403)
        expect(JSON.parse(body)).to.include({ error: 'Forbidden', code: 'internal_only' })
      })
    }

    // Each reads as /auth/validate to somebody: none may do so to the service's router.
    for (const path of [
      '/auth//validate',
      '/auth/%76alidate',
      '/auth%2fvalidate',
      '/auth/%2e/validate',
      '/AUTH/validate',
      '/auth/Validate',
      '/auth/VALIDATE',
      '/auth/./validate',
      '/auth/x/../validate',
      '/x/../auth/validate',
      '/tasks/../auth/validate',
      '/tasks/..%2fauth/validate',
      '//auth/validate',
      '/./auth/validate',
      '/auth\\validate',
      '/auth/;/validate',
      '/auth/validate#x',
      '/auth#/../auth/validate',
      '/auth?/../auth/validate',
      '/auth/%00validate',
      '/auth/validat%65',
      '/v1//auth/validate',
      '/v1/auth//validate',
      '/v1/v1/auth/validate',
      '/v1/../auth/validate',
      '/v1/tasks/../auth/validate',
      '/v1%2fauth/validate',
      '/V1/auth/validate',
    ]) {
      it(`letting nobody in by ${path}`, async () => {
        const answer = await raw(`POST ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
        expect(answer).to.match(/^HTTP\/1\.1 (403|404) /)
        expect(answer).not.to.include('validated')
      })
    }

    for (const target of [
      'http://127.0.0.1/auth/validate',
      'HTTPS://x/auth/validate?x=1',
      'http://x/../auth/validate',
      'http://x//auth/validate',
      'http://x?/auth/validate',
      'http:///auth/validate',
      'http://x:y@z/auth/validate',
      'http://x\\auth/validate',
      'http://x#/auth/validate',
      'ftp://x/auth/validate',
      'http:/auth/validate',
      'auth/validate',
      '*',
    ]) {
      it(`letting nobody in by the target ${target}`, async () => {
        const answer = await raw(`POST ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
        expect(answer).to.match(/^HTTP\/1\.1 (400|403|404) /)
        expect(answer).not.to.include('validated')
      })
    }

    it('of which the service would let in who got so far', async () => {
      const answer = await fetch(`http://127.0.0.1:${portOf(servers[0])}/auth/validate`)
      expect(await answer.text()).to.equal('validated')
    })
  })

  it('takes a whole URL in the request line, whose host counts, for its path', async () => {
    task = echo
    for (const [target, url] of [
      ['http://tasks.example:80/tasks/1?a=b/c', '/tasks/1?a=b/c'],
      ['HTTP://tasks.example/tasks', '/tasks'],
      ['http://[::1]:8080/tasks?', '/tasks?'],
    ]) {
      const answer = await raw(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
      expect(answer).to.match(/^HTTP\/1\.1 200 /)
      expect(answer).to.include(`"url":"${url}"`)
      expect(answer).to.include(`"host":"${target?.split('/')[2]}"`)
    }
    for (const target of ['http://x', 'http://x?health', 'http://x/health']) {
      const answer = await raw(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
      expect(answer, target).to.match(target.endsWith('/health') ? / 200 / : / 404 /)
    }
  })

  describe('passes on', () => {
    beforeEach(() => {
      task = echo
    })

    it('method, path, query, headers and body as they are', async () => {
      const headers = {
        Authorization: 'Bearer x',
        'Content-Type': 'application/json',
        Host: 'me:1',
      }
      const { body } = await call('/tasks/%C3%A4//b/?q=%20a&q=b', {
        method: 'PUT',
        headers,
        body: '{"a":1}',
      })
      const seen = JSON.parse(body)
      expect(seen).to.include({
        method: 'PUT',
        url: '/tasks/%C3%A4//b/?q=%20a&q=b',
        body: '{"a":1}',
      })
      expect(seen.headers).to.include({ authorization: 'Bearer x', host: 'me:1' })
    })

    it('the address of the client, behind what the client claims', async () => {
      const { body } = await call('/tasks', { headers: { 'X-Forwarded-For': '10.0.0.1' } })
      expect(JSON.parse(body).headers).to.include({
        'x-forwarded-for': '10.0.0.1, 127.0.0.1',
        'x-forwarded-proto': 'http',
        'x-forwarded-port': String(port),
      })
      const plain = await call('/tasks', { headers: { 'X-Forwarded-Proto': 'https' } })
      expect(JSON.parse(plain.body).headers).to.include({
        'x-forwarded-for': '127.0.0.1',
        'x-forwarded-proto': 'http',
      })
    })

    it('no internal API key', async () => {
      const { body } = await call('/tasks', {
        headers: { 'X-Internal-Api-Key': 'stolen', 'X-Other': '1' },
      })
      expect(JSON.parse(body).headers).to.include({ 'x-other': '1' })
      expect(JSON.parse(body).headers).not.to.have.property('x-internal-api-key')
    })

    it('status and headers of the answer, also of one without a body', async () => {
      task = (_req, res) => res.writeHead(304, { ETag: '"4"', 'Retry-After': '7' }).end()
      const { status, headers, body } = await call('/tasks/1')
      expect({ status, body }).to.deep.equal({ status: 304, body: '' })
      expect(headers).to.include({ etag: '"4"', 'retry-after': '7' })
    })

    it('an answer piece by piece, as it is written', async () => {
      let more: () => void = () => {}
      task = async (_req, res) => {
        res.writeHead(200, { 'Content-Type': 'text/event-stream' }).write('data: 1\n\n')
        await new Promise<void>((resolve) => {
          more = resolve
        })
        res.end('data: 2\n\n')
      }
      const answer = await fetch(`http://127.0.0.1:${port}/tasks/stream`)
      const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader()
      expect((await reader?.read())?.value).to.equal('data: 1\n\n')
      more()
      expect((await reader?.read())?.value).to.equal('data: 2\n\n')
    })

    it('a body of 10 MB both ways', async () => {
      task = (req, res) => req.pipe(res)
      const body = 'ä'.repeat(5_000_000)
      expect((await call('/tasks', { method: 'POST', body })).body === body).to.equal(true)
    })

    it('many requests over few connections', async () => {
      const connections = new Set<unknown>()
      task = (req, res) => {
        connections.add(req.socket)
        res.end()
      }
      for (let i = 0; i < 50; i++) await (await fetch(`http://127.0.0.1:${port}/tasks`)).text()
      expect(connections.size).to.be.below(3)
    })
  })

  describe('when a service', () => {
    const unavailable = async () => {
      const { status, headers, body } = await call('/tasks', { method: 'POST', body: '{}' })
      expect(status).to.equal(503)
      expect(headers['retry-after']).to.equal('1')
      expect(JSON.parse(body)).to.include({
        error: 'Service Unavailable',
        message: 'Service unavailable',
        code: 'service_unavailable',
      })
      expect(JSON.parse(body).request_id)
        .to.match(/^[0-9a-f-]{36}$/)
        .and.equal(headers['x-request-id'])
    }

    it('is away answers 503, and goes on when it is back', async () => {
      const [, server] = servers
      const own = portOf(server)
      await call('/tasks')
      server?.closeAllConnections()
      server?.close()
      await unavailable()
      await listen(() => task, own)
      expect(await call('/tasks')).to.include({ status: 200, body: 'task' })
    })

    it('hangs up without an answer answers 503', async () => {
      task = (req) => req.socket.destroy()
      await unavailable()
    })

    it('does not answer in time answers 503', async () => {
      await becomeImpatient()
      task = () => {}
      await unavailable()
    })

    it('dies in the middle of an answer breaks off, so that nobody takes it for whole', async () => {
      task = (_req, res) => {
        res.writeHead(200).write('half', () => res.destroy())
      }
      const outcome = await call('/tasks').catch((error) => error.code)
      expect(outcome).to.equal('ECONNRESET')
    })

    it('stops in the middle of an answer breaks off in time', async () => {
      await becomeImpatient()
      task = (_req, res) => {
        res.writeHead(200).write('half')
      }
      const outcome = await call('/tasks').catch((error) => error.code)
      expect(outcome).to.equal('ECONNRESET')
    })

    it('answers before the body is there passes that on', async () => {
      task = (_req, res) => res.writeHead(413).end('too much')
      const { status } = await call('/tasks', { method: 'POST', body: 'x'.repeat(30_000) })
      expect(status).to.equal(413)
    })
  })

  it('lets the service know when the client goes away', async () => {
    let closed = false
    task = (_req, res) => {
      res.writeHead(200).write('data')
      const writing = setInterval(() => res.write('data'), 50)
      res.on('close', () => {
        clearInterval(writing)
        closed = true
      })
    }
    const client = new AbortController()
    const answer = await fetch(`http://127.0.0.1:${port}/tasks/stream`, client)
    await answer.body?.getReader().read()
    client.abort()
    await until(() => closed, 'the end of the answer', 2_000)
  })

  describe('does not take', () => {
    const host = 'Host: x\r\n'
    const code = { 400: 'malformed_request', 431: 'headers_too_large' }
    for (const [what, bytes, status] of [
      ['what is no HTTP', 'hello\r\n\r\n', 400],
      ['a request line without a path', `GET\r\n${host}\r\n`, 400],
      ['a path that is none', `GET tasks HTTP/1.1\r\n${host}\r\n`, 400],
      [
        'two lengths',
        `POST /tasks HTTP/1.1\r\n${host}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`,
        400,
      ],
      [
        'a length beside chunks',
        `POST /tasks HTTP/1.1\r\n${host}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
        400,
      ],
      [
        'headers without end',
        `GET /tasks HTTP/1.1\r\n${host}X: ${'y'.repeat(20_000)}\r\n\r\n`,
        431,
      ],
    ] as const) {
      it(`${what}: ${status}, and lives on`, async () => {
        const answer = await raw(bytes)
        expect(answer).to.match(new RegExp(`^HTTP/1.1 ${status} `))
        const [, body = ''] = answer.split('\r\n\r\n')
        expect(JSON.parse(body)).to.include({ code: code[status], error: STATUS_CODES[status] })
        expect(await call('/tasks')).to.include({ status: 200 })
      })
    }

    it('a request without a host', async () => {
      expect(await raw('GET /tasks HTTP/1.1\r\n\r\n')).to.match(/^HTTP\/1\.1 400 /)
    })

    it('bytes beyond ASCII in a path for a reason to die', async () => {
      task = echo
      const answer = await raw(`GET /tasks/\xff\xe4 HTTP/1.1\r\n${host}Connection: close\r\n\r\n`)
      expect(answer).to.match(/^HTTP\/1.1 (200|400) /)
      expect(await call('/tasks')).to.include({ status: 200 })
    })

    it('a protocol switch, it answers as if nobody had asked', async () => {
      task = echo
      const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\n'
      const socket = connect(port, '127.0.0.1')
      socket.write(`GET /tasks HTTP/1.1\r\n${host}${upgrade}\r\n`)
      let got = ''
      socket.on('data', (data) => {
        got += data
      })
      await until(() => got.includes('\r\n\r\n'), 'an answer', 2_000)
      socket.destroy()
      expect(got).to.match(/^HTTP\/1.1 200 /)
      expect(got).not.to.match(/upgrade/i)
    })
  })

  describe('asks for a token', () => {
    const start = async () => {
      await stop()
      const tokens: string[] = []
      const verify = (token: string) => {
        tokens.push(token)
        if (token === 'old') throw new AppError('token_expired')
        if (token !== 'good') throw new AppError('token_invalid')
      }
      gateway = await startGateway({ host: '127.0.0.1', port, upstreams, verify })
      return tokens
    }

    it('before a service is, and refuses as the services do', async () => {
      const tokens = await start()
      for (const [authorization, code, message] of [
        [undefined, 'token_missing', 'No authentication token provided'],
        ['Basic YTpi', 'token_missing', 'No authentication token provided'],
        ['Bearer ', 'token_missing', 'No authentication token provided'],
        ['Bearer bad', 'token_invalid', 'Invalid token'],
        ['bearer   old', 'token_expired', 'Token has expired'],
      ]) {
        for (const path of ['/tasks', '/v1/tasks', '/v1/auth/me', '/v1/log/checkpoint']) {
          const headers = { 'X-Request-Id': 'r-1', ...(authorization && { authorization }) }
          const { status, headers: sent, body } = await call(path, { headers })
          const expected = { error: 'Unauthorized', message, code, request_id: 'r-1' }
          expect({ status, body: JSON.parse(body) }).to.deep.equal({ status: 401, body: expected })
          expect(sent).to.include({ 'www-authenticate': 'Bearer', 'x-request-id': 'r-1' })
          expect(sent.deprecation !== undefined).to.equal(!path.startsWith('/v1/'))
        }
      }
      expect(new Set(tokens)).to.deep.equal(new Set(['bad', 'old']))
    })

    it('and lets a good one through, and what needs none', async () => {
      await start()
      const headers = { authorization: 'Bearer good' }
      expect(await call('/v1/tasks', { headers })).to.include({ status: 200, body: 'task' })
      expect(await call('/tasks', { headers })).to.include({ status: 200, body: 'task' })
      expect(await call('/v1/auth/login', { method: 'POST' })).to.include({ body: 'auth' })
      expect(await call('/v1/tasks/docs')).to.include({ body: 'task' })
      expect(await call('/v1/tasks', { method: 'OPTIONS' })).to.include({ body: 'task' })
    })

    it('where there is nothing, and where only services may call, not at all', async () => {
      await start()
      expect(await call('/v1/nothing')).to.include({ status: 404 })
      expect(await call('/v1/auth/validate')).to.include({ status: 403 })
    })

    it('and says so as a problem to those who want one', async () => {
      await start()
      const { headers, body } = await call('/v1/tasks/7', {
        headers: { accept: 'application/problem+json', 'X-Request-Id': 'r-2' },
      })
      expect(headers).to.include({ 'content-type': 'application/problem+json', vary: 'Accept' })
      expect(JSON.parse(body)).to.deep.equal({
        type: 'about:blank',
        title: 'Unauthorized',
        status: 401,
        detail: 'No authentication token provided',
        instance: '/v1/tasks/7',
        code: 'token_missing',
        request_id: 'r-2',
      })
    })
  })

  describe('keeps an access log', () => {
    let lines: Record<string, unknown>[]
    const lineOf = async () => {
      await until(() => lines.length > 0, 'a line', 2_000)
      const [{ time, latency_ms, ...line } = {}] = lines.splice(0)
      expect(time).to.be.within(Date.now() - 10_000, Date.now())
      expect(latency_ms).to.be.within(0, 10_000)
      return line
    }

    beforeEach(async () => {
      await stop()
      lines = []
      const log = (line: string) => void lines.push(JSON.parse(line))
      const objects: Handler = (_req, res) => res.end('object')
      gateway = await startGateway({ host: '127.0.0.1', port, upstreams, log, objects })
    })
    const same = { ip: '127.0.0.1', method: 'GET', protocol: 'HTTP/1.1', error: '' }

    it('of what a service answers, without query and token', async () => {
      task = (_req, res) => res.setHeader('X-Request-Id', 'r-3').end('four')
      const headers = { authorization: 'Bearer secret' }
      await call('/v1/tasks?q=private', { headers })
      expect(await lineOf()).to.deep.equal({
        ...same,
        request_id: 'r-3',
        path: '/v1/tasks',
        status: 200,
        response_length: 4,
      })
    })

    it('of an answer in pieces, with all of them', async () => {
      task = (_req, res) => {
        res.write('12345')
        res.end('678')
      }
      await call('/v1/tasks')
      expect(await lineOf()).to.include({ status: 200, response_length: 8 })
      task = (_req, res) => res.setHeader('Content-Length', 100).end()
      await call('/v1/tasks', { method: 'HEAD' })
      expect(await lineOf()).to.include({ method: 'HEAD', response_length: 0 })
    })

    it('of what it refuses, with the reason', async () => {
      const { headers } = await call('/nothing?a=b')
      expect(await lineOf()).to.deep.equal({
        ...same,
        request_id: headers['x-request-id'],
        path: '/nothing',
        status: 404,
        response_length: Number(headers['content-length']),
        error: 'route_not_found',
      })
    })

    it('of an object, without what signs for it', async () => {
      await call('/objects/secret')
      expect(await lineOf()).to.include({ path: '/objects', status: 200 })
    })

    it('of an answer that breaks off', async () => {
      task = (_req, res) => {
        res.writeHead(200).write('half', () => res.destroy())
      }
      await call('/v1/tasks').catch(() => {})
      expect(await lineOf()).to.include({ path: '/v1/tasks', error: 'aborted', response_length: 4 })
    })

    it('of a target that is no path, without it', async () => {
      await raw('GET ftp://me:secret@x/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
      expect(await lineOf()).to.include({ path: '', status: 400, error: 'malformed_request' })
    })
  })

  it('closes while a connection is open but idle', async () => {
    await (await fetch(`http://127.0.0.1:${port}/tasks`)).text()
    const closed = gateway.close().then(() => 'closed')
    expect(await Promise.race([closed, sleep(5_000, 'hangs')])).to.equal('closed')
  })

  it('closes while a client that it refused keeps its half of the connection open', async () => {
    const client = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    client.write('hello\r\n\r\n')
    expect(await text(client)).to.match(/^HTTP\/1.1 400 /)
    const closed = gateway.close().then(() => 'closed')
    expect(await Promise.race([closed, sleep(5_000, 'hangs')])).to.equal('closed')
    client.destroy()
  })
})
