import { expect } from 'chai'
import pg from 'pg'
import { giveRole } from '../support/roles.ts'
import { type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>

describe('The events of an account', () => {
  let system: System
  let ann: User
  before(async () => {
    system = await startSystem()
    ann = await system.newUser()
    const headers = { 'x-forwarded-for': '203.0.113.1', 'user-agent': 'Guesser/1.0' }
    const body = { username: ann.username, password: 'wrong' }
    await system.call('POST', '/auth/login', { body, headers })
    const sql = new pg.Client(system.database.url)
    await sql.connect()
    await giveRole(sql, ann.id, 'auditor').finally(() => sql.end())
    await system.newUser()
  })
  after(() => system.stop())

  const events = (query = '', token = ann.token) =>
    system.call('GET', `/auth/events${query}`, { token })

  it('are shown to their user alone, the newest first, with who tried from where', async () => {
    const { status, body } = await events()
    expect(status).to.equal(200)
    expect(body.next_cursor).to.equal(null)
    const [role, failed, login, registered] = body.events
    expect(body.events).to.have.length(4)
    expect(role).to.deep.include({
      type: 'role_changed',
      details: { from: 'user', to: 'auditor', by: 0 },
    })
    expect(failed).to.deep.include({
      type: 'login_failed',
      ip: '203.0.113.1',
      user_agent: 'Guesser/1.0',
      session_id: null,
    })
    expect(login.type).to.equal('login_succeeded')
    expect(login.session_id).to.be.a('string')
    expect(registered.type).to.equal('registered')
  })

  it('come page by page', async () => {
    const all = (await events()).body.events
    const pages: unknown[] = []
    for (let cursor = ''; ; ) {
      const { body } = await events(`?limit=3${cursor}`)
      pages.push(...body.events)
      if (body.next_cursor === null) break
      cursor = `&cursor=${body.next_cursor}`
    }
    expect(pages).to.deep.equal(all)
    expect((await events('?cursor=x')).status).to.equal(400)
    expect((await events('', 'no token')).status).to.equal(401)
  })
})
