import { expect } from 'chai'
import { type System, startSystem } from '../support/system.ts'

const DEPRECATED = '@1795824000'
const successor = (path: string) => `</v1${path}>; rel="successor-version"`

describe('The base path', () => {
  let system: System
  let token: string

  before(async () => {
    system = await startSystem()
    ;({ token } = await system.newUser())
  })
  after(() => system.stop())

  const call = (method: string, path: string, more: Parameters<System['call']>[2] = {}) =>
    system.call(method, path, { token, ...more })
  const deprecationOf = ({ headers }: { headers: Headers }) => [
    headers.get('deprecation'),
    headers.get('link'),
  ]

  it('leads to everything, and what answers name stands under it', async () => {
    const created = await call('POST', '/v1/tasks', { body: { title: 'One' } })
    expect(created.status).to.equal(201)
    const location = created.headers.get('location') ?? ''
    expect(location).to.equal(`/v1/tasks/${created.body.task.id}`)
    expect((await call('GET', location)).body.task).to.deep.equal(created.body.task)
    await call('POST', '/v1/tasks', { body: { title: 'Two' } })
    const page = await call('GET', '/v1/tasks?limit=1')
    const [, next = ''] = /^<([^>]+)>; rel="next"$/.exec(page.headers.get('link') ?? '') ?? []
    expect(next).to.match(/^\/v1\/tasks\?/)
    expect((await call('GET', next)).body.tasks).to.have.lengthOf(1)
    for (const path of ['/v1/auth/me', '/v1/tasks/changes', '/v1/health', '/v1/auth/sessions']) {
      const answer = await call('GET', path)
      expect(answer.status, path).to.equal(200)
      expect(deprecationOf(answer), path).to.deep.equal([null, null])
    }
  })

  it('is in what errors say', async () => {
    const { body } = await call('GET', '/v1/tasks/1/nothing')
    expect(body.message).to.equal('There is nothing at /v1/tasks/1/nothing')
    const headers = { accept: 'application/problem+json' }
    const problem = await call('GET', '/v1/tasks/999999', { headers })
    expect(problem.body.instance).to.equal('/v1/tasks/999999')
    expect(deprecationOf(problem)).to.deep.equal([null, null])
  })

  it('is in the access log', async () => {
    await call('GET', '/v1/tasks/4711')
    await call('GET', '/tasks/4712')
    expect(system.logged()).to.match(/"path":"\/v1\/tasks\/4711","route":"\/tasks\/:id"/)
    expect(system.logged()).to.match(/"path":"\/tasks\/4712","route":"\/tasks\/:id"/)
  })

  it('stands there once, whole and in small letters', async () => {
    for (const path of ['/v1', '/v1/', '/v1/v1/tasks', '/v1x/tasks', '/v2/tasks', '/V1/tasks']) {
      for (const url of [system.urls.task, system.urls.auth]) {
        const headers = { authorization: `Bearer ${token}` }
        expect((await fetch(url + path, { headers })).status, path).to.equal(404)
      }
    }
  })

  it('may be left out, and every answer to a client says that it is deprecated', async () => {
    const created = await call('POST', '/tasks', { body: { title: 'Three' } })
    const { id } = created.body.task
    expect(created.headers.get('location')).to.equal(`/tasks/${id}`)
    expect(deprecationOf(created)).to.deep.equal([DEPRECATED, successor('/tasks')])
    for (const [method, path, status] of [
      ['GET', `/tasks/${id}`, 200],
      ['GET', '/tasks/999999', 404],
      ['GET', '/tasks/x', 400],
      ['GET', '/tasks/1/nothing', 404],
      ['PATCH', '/tasks', 405],
      ['OPTIONS', '/tasks', 204],
      ['GET', '/auth/me', 200],
      ['GET', '/audit/nothing', 404],
      ['GET', '/log/checkpoint', 404],
    ] as const) {
      const answer = await call(method, path)
      expect(answer.status, path).to.equal(status)
      expect(deprecationOf(answer), path).to.deep.equal([DEPRECATED, successor(path)])
    }
    const refused = await system.call('GET', '/tasks?limit=1', { token: 'bad' })
    expect(refused.status).to.equal(401)
    expect(deprecationOf(refused)).to.deep.equal([DEPRECATED, successor('/tasks')])
    const page = await call('GET', '/tasks?limit=1')
    expect(page.headers.get('link')).to.match(
      /^<\/tasks\?[^>]+>; rel="next", <\/v1\/tasks>; rel="successor-version"$/,
    )
  })

  it('may be left out by operators, services and readers of documents, and nothing is said', async () => {
    const { task, auth } = system.urls
    for (const url of [
      `${task}/health`,
      `${task}/ready`,
      `${task}/tasks/health`,
      `${task}/tasks/docs`,
      `${task}/tasks/openapi.json`,
      `${auth}/auth/docs/start.js`,
      `${auth}/auth/validate`,
      `${auth}/auth/validate/batch`,
    ]) {
      expect(deprecationOf(await fetch(url)), url).to.deep.equal([null, null])
    }
  })

  it('makes no other request of one with the same Idempotency-Key', async () => {
    const headers = { 'Idempotency-Key': 'over-both' }
    const body = { title: 'Once' }
    const first = await call('POST', '/tasks', { body, headers })
    const again = await call('POST', '/v1/tasks', { body, headers })
    expect(again.headers.get('idempotent-replayed')).to.equal('true')
    expect(again.body.task).to.deep.equal(first.body.task)
    expect(again.headers.get('location')).to.equal(`/v1/tasks/${first.body.task.id}`)
  })
})
