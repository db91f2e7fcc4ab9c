import { STATUS_CODES } from 'node:http'
import { expect } from 'chai'
import pg from 'pg'
import { type Answer, type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>
type Documented = Record<string, Record<string, { security: object[] }>>

type Refusal = readonly [
  status: number,
  code: string,
  provoke: (headers: object) => Promise<Answer>,
  ...beside: string[],
]

const PROBLEM = 'application/problem+json'

describe('Every answer', () => {
  let system: System
  let sql: pg.Client
  let ann: User
  let bob: User
  let task: { id: number }
  let paths: Documented = {}

  before(async () => {
    system = await startSystem()
    sql = new pg.Client(system.database.url)
    await sql.connect()
    ann = await system.newUser()
    bob = await system.newUser()
    task = (await call('POST', '/tasks', { body: { title: 'A task' } })).body.task
    const documents = await Promise.all(
      ['/auth/openapi.json', '/tasks/openapi.json'].map((path) => fetch(urlOf(path) + path)),
    )
    for (const document of documents) {
      const { paths: documented } = (await document.json()) as { paths: Documented }
      paths = { ...paths, ...documented }
    }
  })
  after(async () => {
    await sql.end()
    await system.stop()
  })

  const call = (method: string, path: string, facts: object = {}) =>
    system.call(method, path, { token: ann.token, ...facts })
  const urlOf = (path: string) => (path.startsWith('/tasks') ? system.urls.task : system.urls.auth)
  /** The path with an id in it. */
  const filled = (path: string) => path.replace('{id}', String(task.id))
  const lines = () =>
    system
      .logged()
      .split('\n')
      .map((line) => JSON.parse(line))

  describe('that is an error', () => {
    // One of each kind, with what is beside the four fields that all have.
    const mine = () => `/tasks/${task.id}`
    const refusals: readonly Refusal[] = [
      [
        400,
        'validation_failed',
        (headers) => call('GET', '/tasks?limit=0', { headers }),
        'details',
      ],
      [400, 'malformed_body', (headers) => call('POST', '/tasks', { headers, body: '{' })],
      [401, 'token_missing', (headers) => call('GET', '/tasks', { headers, token: undefined })],
      [401, 'token_invalid', (headers) => call('GET', '/auth/me', { headers, token: 'a.b.c' })],
      [403, 'task_forbidden', (headers) => call('GET', mine(), { headers, token: bob.token })],
      [403, 'internal_key_required', (headers) => call('POST', '/auth/validate', { headers })],
      [404, 'task_not_found', (headers) => call('GET', '/tasks/999999999', { headers })],
      [404, 'route_not_found', (headers) => call('GET', '/nowhere', { headers })],
      [405, 'method_not_allowed', (headers) => call('POST', mine(), { headers })],
      [
        409,
        'username_taken',
        (headers) => call('POST', '/auth/register', { headers, body: again() }),
      ],
      [
        412,
        'version_mismatch',
        (headers) => call('DELETE', mine(), { headers: { ...headers, 'if-match': '"9"' } }),
        'version',
      ],
      [
        413,
        'body_too_large',
        (headers) => call('POST', '/tasks', { headers, body: 'x'.repeat(131_073) }),
      ],
      [
        415,
        'unsupported_media_type',
        (headers) =>
          call('POST', '/tasks', {
            headers: { ...headers, 'content-type': 'text/plain' },
            body: '{}',
          }),
      ],
    ]
    const again = () => {
      const { username, password } = ann
      return { username, password, email: 'other@example.com' }
    }

    for (const [status, code, provoke, ...beside] of refusals) {
      it(`says ${status} ${code} in the same few fields, also as a problem`, async () => {
        const plain = await provoke({ accept: '*/*' })
        expect(plain.status).to.equal(status)
        expect(plain.headers.get('content-type')).to.match(/^application\/json/)
        expect(plain.headers.get('cache-control')).to.equal('no-store')
        const { error, message, request_id, ...facts } = plain.body
        expect(error).to.equal(STATUS_CODES[status])
        expect(message).to.be.a('string')
        expect(request_id).to.equal(plain.headers.get('x-request-id'))
        expect(facts).to.have.all.keys('code', ...beside)
        expect(facts.code).to.equal(code)

        const problem = await provoke({ accept: PROBLEM })
        expect(problem.status).to.equal(status)
        expect(problem.headers.get('content-type')).to.equal(PROBLEM)
        expect(problem.body).to.deep.equal({
          ...facts,
          type: 'about:blank',
          title: error,
          detail: message,
          status,
          instance: problem.body.instance,
          request_id: problem.headers.get('x-request-id'),
        })
        expect(problem.body.instance).to.match(/^\/(tasks|auth|nowhere)/)
      })
    }

    it('does not show an unexpected cause; the log does', async () => {
      await sql.query('alter table tasks rename to lost')
      const { status, body } = await call('GET', '/tasks')
      await sql.query('alter table lost rename to tasks')
      expect(status).to.equal(500)
      const { request_id, ...rest } = body
      expect(rest).to.deep.equal({
        error: 'Internal Server Error',
        message: 'An unexpected error occurred',
        code: 'internal_error',
      })
      const logged = lines().find(({ message }) => message === 'unexpected error')
      expect(logged.facts.request_id).to.equal(request_id)
      expect((await call('GET', '/tasks')).status).to.equal(200)
    })
  })

  it('to a call without a valid token is 401 and names the scheme', async () => {
    for (const [path, methods] of Object.entries(paths)) {
      for (const [method, { security }] of Object.entries(methods)) {
        const isInternal = /^\/(auth\/validate|internal)/.test(path)
        if (!security.some((scheme) => 'token' in scheme) || isInternal) continue
        for (const [token, code] of [
          [undefined, 'token_missing'],
          ['not.a.token', 'token_invalid'],
        ] as const) {
          // Before anything else is looked at.
          const { status, headers, body } = await call(method.toUpperCase(), filled(path), {
            token,
            headers: { 'content-type': 'text/plain' },
          })
          expect(status, `${method} ${path}`).to.equal(401)
          expect(headers.get('www-authenticate')).to.equal('Bearer')
          expect(body.code).to.equal(code)
        }
      }
    }
  })

  it('to a method that a path does not have is 405 with those that it has; OPTIONS says the same', async () => {
    for (const [path, methods] of Object.entries(paths)) {
      const known = Object.keys(methods).map((method) => method.toUpperCase())
      const allowed = [...known, ...(known.includes('GET') ? ['HEAD'] : []), 'OPTIONS']
      const options = await call('OPTIONS', filled(path), { token: undefined })
      expect(options.status).to.equal(204)
      const said = options.headers.get('allow')?.split(', ') ?? []
      expect(said, path).to.have.members(allowed)
      for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'PROPFIND', 'SEARCH']) {
        if (said.includes(method)) continue
        const { status, headers } = await call(method, filled(path), { token: undefined })
        expect(status, `${method} ${path}`).to.equal(405)
        expect(headers.get('allow')).to.equal(options.headers.get('allow'))
      }
    }
  })

  it('to a method that a literal path does not have is 405, even if an id has it', async () => {
    for (const word of ['changes', 'stream', 'health', 'docs', 'openapi.json']) {
      for (const method of ['PUT', 'PATCH', 'DELETE']) {
        const { status, headers } = await fetch(`${system.urls.task}/tasks/${word}`, { method })
        expect(status, `${method} ${word}`).to.equal(405)
        expect(headers.get('allow')).to.equal('HEAD, GET, OPTIONS')
      }
    }
    expect((await call('PUT', '/tasks/word', { body: {} })).status).to.equal(400)
  })

  it('to an unknown path is 404, whatever the method', async () => {
    const nowhere = ['/', '/task', '/Tasks', '/TASKS', '/auth', '/auth/Me', '//tasks', '/tasks/1/2']
    const slashes = ['/tasks/', `/tasks/${task.id}/`, '/tasks/1//', '/tasks/docs/', '/auth/login/']
    for (const path of [...nowhere, ...slashes, '/tasks%2F1', '/auth/sessions/1/2']) {
      for (const method of ['GET', 'POST', 'DELETE', 'OPTIONS', 'PROPFIND']) {
        const { status, body } = await call(method, path)
        expect(status, `${method} ${path}`).to.equal(404)
        expect(body.code).to.equal('route_not_found')
      }
    }
  })

  it('to HEAD is that to GET without its body', async () => {
    for (const path of [
      '/tasks',
      `/tasks/${task.id}`,
      '/tasks/health',
      '/auth/me',
      '/auth/health',
    ]) {
      const [head, get] = [await call('HEAD', path), await call('GET', path)]
      expect(head.status).to.equal(200)
      expect(head.body).to.equal('')
      for (const name of ['content-type', 'content-length', 'etag']) {
        expect(head.headers.get(name), name).to.equal(get.headers.get(name))
      }
    }
  })

  it('tells browsers not to guess its type', async () => {
    for (const path of ['/tasks', '/nowhere', '/auth/health', '/tasks/x']) {
      expect((await call('GET', path)).headers.get('x-content-type-options')).to.equal('nosniff')
    }
  })

  it('to a parameter that is unknown or given twice is 400, on every route that gets so far', async () => {
    for (const [path, methods] of Object.entries(paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        // Who has not the role is told no more.
        if (/^\/(auth\/validate|internal)/.test(path) || 'x-roles' in operation) continue
        const body = ['post', 'put', 'patch'].includes(method) ? {} : undefined
        const target = filled(path).replace('/sessions/1', `/sessions/${crypto.randomUUID()}`)
        const answer = await call(method.toUpperCase(), `${target}?odd=1&odd=2`, { body })
        // A call of a user pool, where there is none.
        if (answer.body.code === 'identity_elsewhere') continue
        expect(answer.status, `${method} ${path}`).to.equal(400)
        const said = answer.body.details.filter(({ field }: { field: string }) => field === 'odd')
        // Providers add what they like to what they send people back with.
        const takesOthers = `${method} ${path}` === 'get /auth/providers/{name}/callback'
        expect(said, `${method} ${path}`).to.have.length(takesOthers ? 1 : 2)
      }
    }
  })

  it('to a path that is not UTF-8 is 400 where a call is, and names it', async () => {
    const details = [{ field: 'path', message: 'path must be UTF-8, percent-encoded' }]
    for (const path of [
      '/tasks/caf%E9',
      '/tasks/%zz',
      '/tasks/%ff/history',
      '/auth/sessions/%c3',
    ]) {
      const method = path.startsWith('/auth') ? 'DELETE' : 'GET'
      const answer = await call(method, path)
      expect(answer.status, path).to.equal(400)
      expect(answer.body.details).to.deep.equal(details)
    }
  })

  it('to an Accept header too long for anybody is 400, and costs nothing', async () => {
    const accept = `${PROBLEM}, ${'"'.repeat(7_699)}${','.repeat(7_700)}`
    const cpu = process.cpuUsage()
    for (let n = 0; n < 5; n++) {
      for (const path of ['/nowhere', '/audit/events', '/auth/me']) {
        const answer = await call('GET', path, { headers: { accept } })
        expect(answer.headers.get('content-type')).to.match(/^application\/json/)
        if (path === '/nowhere') continue
        const message = 'Accept must have at most 1000 characters'
        expect(answer.body.details).to.deep.equal([{ field: 'Accept', message }])
      }
    }
    expect(process.cpuUsage(cpu).user / 1_000).to.be.below(1_000)
  })

  describe('in a type', () => {
    const asked = (path: string, accept: string, facts: object = {}) =>
      call('GET', path, { headers: { accept }, ...facts })
    const typeOf = ({ headers }: Answer) => headers.get('content-type')?.split(';')[0]

    it('is what Accept likes best, with or without its charset', async () => {
      for (const [accept, type] of [
        ['', 'application/json'],
        ['*/*', 'application/json'],
        ['application/json; charset=utf-8', 'application/json'],
        ['Application/JSON;charset="UTF-8"', 'application/json'],
        ['text/html, application/*;q=0.2', 'application/json'],
        ['application/x-ndjson; charset=utf-8', 'application/x-ndjson'],
        ['application/x-ndjson;charset=utf8', 'application/x-ndjson'],
        ['text/csv; charset=utf-8', 'text/csv'],
        ['text/csv;charset=UTF8', 'text/csv'],
        ['text/*', 'text/csv'],
        ['application/json;q=0.5, text/csv;q=0.6', 'text/csv'],
        ['text/csv;q=0, */*', 'application/json'],
      ] as const) {
        const answer = await asked('/audit/events', accept)
        expect(answer.status, accept).to.equal(200)
        expect(typeOf(answer), accept).to.equal(type)
        expect(answer.headers.get('vary'), accept).to.include('Accept')
      }
    })

    it('that nobody asked for is 406 in JSON, before anything is done', async () => {
      const before = (await call('GET', '/tasks')).body.tasks.length
      for (const [method, path, accept, offered] of [
        ['GET', '/tasks', 'text/csv', 'application/json'],
        ['GET', '/tasks', 'application/json; charset=latin1', 'application/json'],
        ['GET', '/tasks', 'application/json;q=0', 'application/json'],
        ['POST', '/tasks', 'text/html', 'application/json'],
        ['GET', '/tasks/stream', 'application/json', 'text/event-stream'],
        ['GET', '/auth/me', 'application/xml', 'application/json'],
        [
          'GET',
          '/audit/events',
          'application/xml',
          'one of: application/json, application/x-ndjson, text/csv',
        ],
      ] as const) {
        const body = method === 'POST' ? { title: 'Never' } : undefined
        const answer = await call(method, path, { headers: { accept }, body })
        expect(answer.status, `${path} ${accept}`).to.equal(406)
        expect(typeOf(answer)).to.equal('application/json')
        const message = `Accept must allow ${offered}`
        expect(answer.body).to.deep.include({
          code: 'not_acceptable',
          details: [{ field: 'Accept', message }],
        })
      }
      expect((await call('GET', '/tasks')).body.tasks).to.have.length(before)
      const { body } = await call('POST', '/tasks', { body: { title: 'Brief' } })
      const headers = { accept: 'text/html' }
      expect((await call('DELETE', `/tasks/${body.task.id}`, { headers })).status).to.equal(204)
    })

    it('is a problem for errors wherever Accept names problems, and JSON for all else', async () => {
      for (const accept of [
        PROBLEM,
        `${PROBLEM}; charset=utf-8`,
        `application/json, ${PROBLEM}`,
        `${PROBLEM}, */*;q=0.1`,
      ]) {
        expect(typeOf(await asked('/tasks/999999999', accept)), accept).to.equal(PROBLEM)
        expect(typeOf(await asked('/tasks', accept)), accept).to.equal('application/json')
      }
      for (const accept of ['*/*', 'application/*', `${PROBLEM};q=0, */*`, 'text/html', '"']) {
        const answer = await asked('/nowhere', accept)
        expect(typeOf(answer), accept).to.equal('application/json')
      }
    })

    it('is one for each document and page', async () => {
      for (const [path, fits, none] of [
        ['/docs', 'text/html; charset=utf-8', 'application/json'],
        ['/openapi.json', 'application/json', 'text/yaml'],
        ['/docs/swagger-ui.css', 'text/css,*/*;q=0.1', 'text/html'],
      ] as const) {
        const get = (accept: string) =>
          fetch(`${system.urls.task}/tasks${path}`, { headers: { accept } })
        expect((await get(fits)).status, path).to.equal(200)
        expect((await get(none)).status, path).to.equal(406)
      }
    })
  })

  it('to thousands of faults names fifty, and how many there are besides', async () => {
    const names = (count: number) => Array.from({ length: count }, (_, n) => `f${n}`)
    const body = Object.fromEntries(names(5_000).map((name) => [name, 1]))
    const ofBody = await call('POST', '/tasks', { body })
    expect(ofBody.status).to.equal(400)
    expect(ofBody.body.details).to.have.length(51)
    expect(ofBody.body.details[0]).to.include({ field: 'title' })
    expect(ofBody.body.details[50]).to.deep.equal({ field: 'request', message: '4951 more' })

    const ofQuery = await call('GET', `/tasks?${'q=1&'.repeat(2_000)}`)
    expect(ofQuery.body.details).to.have.length(51)
    const fits = names(50).map((name) => `${name}=1`)
    expect((await call('GET', `/tasks?${fits.join('&')}`)).body.details).to.have.length(50)
  })
})
