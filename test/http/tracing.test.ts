import { once } from 'node:events'
import { request } from 'node:http'
import { expect } from 'chai'
import fc from 'fast-check'
import pg from 'pg'
import { type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

describe('Every request', () => {
  let system: System
  let sql: pg.Client
  let ann: User
  let bob: User

  before(async () => {
    system = await startSystem()
    sql = new pg.Client(system.database.url)
    await sql.connect()
    ann = await system.newUser()
    bob = await system.newUser()
  })
  after(async () => {
    await sql.end()
    await system.stop()
  })

  const call = (method: string, path: string, facts: object = {}) =>
    system.call(method, path, { token: ann.token, ...facts })
  /** The log's lines of a request, once there are so many: an answer is out before its line. */
  const linesOf = async (request_id: string, count: number) => {
    for (;;) {
      const lines = system.logged().split('\n')
      const facts = lines.map((line) => JSON.parse(line).facts)
      const found = facts.filter((line) => line.request_id === request_id)
      if (found.length >= count) return found
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  it('is answered with the request id that came, or a new UUIDv7 if that was none', async () => {
    const path = fc.constantFrom('/tasks', '/tasks/1', '/auth/me', '/tasks/health', '/nowhere')
    const good = fc.string({
      unit: fc.constantFrom(...'AZaz09._-'),
      minLength: 1,
      maxLength: 128,
      size: 'max',
    })
    const odd = fc.string({ unit: fc.constantFrom(...'a9 /;,"{}é\t'), maxLength: 200, size: 'max' })
    await fc.assert(
      fc.asyncProperty(fc.oneof(good, odd), path, async (id, target) => {
        const answer = await call('GET', target, { headers: { 'x-request-id': id } })
        const carried = answer.headers.get('x-request-id')
        if (/^[A-Za-z0-9._-]{1,128}$/.test(id.trim())) expect(carried).to.equal(id.trim())
        else expect(carried).to.match(UUID_V7)
      }),
      {
        numRuns: 150,
        examples: ['a'.repeat(128), 'a'.repeat(129), 'a b', ' a ', 'a/b', ''].map((id) => [
          id,
          '/tasks',
        ]),
      },
    )
    const two = await call('GET', '/tasks', { headers: { 'x-request-id': 'one, two' } })
    expect(two.headers.get('x-request-id')).to.match(UUID_V7)
    const none = await call('GET', '/tasks')
    expect(none.headers.get('x-request-id')).to.match(UUID_V7)
  })

  it('leaves its id with the event, in every log line, and at auth-service', async () => {
    const request_id = 'a-request.of_Ann'
    const headers = { 'x-request-id': request_id, 'x-forwarded-for': '6.6.6.6, 10.1.2.3' }
    const { body } = await call('POST', '/tasks', { body: { title: 'Traced' }, headers })
    const found = await sql.query('select metadata from events where stream_id = $1', [
      `task-${body.task.id}`,
    ])
    expect(found.rows[0].metadata).to.include({
      request_id,
      correlation_id: request_id,
      // The last hop's word, which the load balancer writes; the rest anyone can.
      ip: '10.1.2.3',
    })
    const logged = await linesOf(request_id, 2)
    expect(logged.map(({ path }) => path)).to.have.members(['/auth/validate', '/tasks'])
  })

  it('goes to the log in one line, without the query', async () => {
    const request_id = 'a-search-of-ann'
    const headers = { 'x-request-id': request_id }
    await call('GET', '/tasks?q=confidential', { headers })
    const mine = (await linesOf(request_id, 2)).filter(({ path }) => path === '/tasks')
    expect(mine).to.have.length(1)
    expect(mine[0]).to.include({ method: 'GET', status: 200, user_id: ann.id })
    expect(system.logged()).to.not.include('confidential')
  })

  it('goes to the log also when the client did not wait for the answer', async () => {
    const request_id = 'an-impatient-client'
    const headers = { authorization: `Bearer ${ann.token}`, 'x-request-id': request_id }
    const sent = request(`${system.urls.task}/tasks`, { headers }).end()
    sent.on('error', () => {})
    await once(sent, 'finish')
    sent.destroy()
    const mine = (await linesOf(request_id, 2)).filter(({ path }) => path === '/tasks')
    expect(mine).to.have.length(1)
    expect(mine[0].aborted).to.equal(true)
  })

  it('leaves no token, password or key in the log', async () => {
    const { username, password } = bob
    await call('POST', '/auth/login', { body: { username, password: `${password}!` } })
    await call('POST', '/auth/login', { body: { username, password, extra: 1 } })
    await call('GET', `/auth/me?token=${ann.token}`)
    await call('GET', '/auth/me', { headers: { cookie: `token=${ann.token}` } })
    const { JWT_SECRET, INTERNAL_API_KEY, PASSWORD_PEPPER } = system.env
    for (const secret of [ann.token, bob.token, ann.password, password, JWT_SECRET]) {
      expect(system.logged()).to.not.include(secret)
    }
    expect(system.logged()).to.not.include(INTERNAL_API_KEY)
    expect(system.logged()).to.not.include(PASSWORD_PEPPER)
    expect(system.logged().toLowerCase()).to.not.match(/authorization|bearer|password_hash|\$2b\$/)
  })
})
