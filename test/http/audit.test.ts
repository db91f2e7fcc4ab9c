import { expect } from 'chai'
import pg from 'pg'
import { projectAudit } from '../support/project-audit.ts'
import { giveRole } from '../support/roles.ts'
import { type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>
type Event = { position: number; task_id: number; type: string; request_id: string }

describe('The audit trail', () => {
  let system: System
  let ann: User
  let bob: User
  let auditor: User
  let sql: pg.Client
  const tasks: number[] = []
  before(async () => {
    system = await startSystem()
    sql = new pg.Client(system.database.url)
    await sql.connect()
    ann = await system.newUser()
    bob = await system.newUser()
    auditor = await system.newUser()
    await giveRole(sql, auditor.id, 'auditor')
    for (const { token } of [ann, ann, bob]) {
      const body = { title: 'One', description: 'words' }
      tasks.push((await system.call('POST', '/tasks', { token, body })).body.task.id)
    }
    const headers = { 'X-Request-Id': 'the-rename' }
    const body = { title: 'Two', status: 'completed' }
    await system.call('PUT', `/tasks/${tasks[0]}`, { token: ann.token, body, headers })
    await system.call('DELETE', `/tasks/${tasks[1]}`, { token: ann.token })
    await projectAudit(system.database)
  })
  after(async () => {
    await sql.end()
    await system.stop()
  })

  const ask = (query: string, { token }: User = ann, headers = {}) =>
    system.call('GET', `/audit/events${query}`, { token, headers })
  const found = async (query: string, user: User = ann): Promise<Event[]> => {
    const { status, body } = await ask(query, user)
    expect(status, JSON.stringify(body)).to.equal(200)
    return body.events
  }
  const types = async (query: string, user?: User) =>
    (await found(query, user)).map(({ type }) => type)
  const ANNS = ['TaskDeleted', 'TaskCompleted', 'TaskRenamed', 'TaskCreated', 'TaskCreated']

  it('tells its owner what happened, the latest first, field by field', async () => {
    expect(await types('')).to.deep.equal(ANNS)
    expect(await types('?order=asc')).to.deep.equal(ANNS.toReversed())
    const [renamed] = await found('?type=TaskRenamed')
    expect(renamed).to.deep.include({
      task_id: tasks[0],
      version: 2,
      request_id: 'the-rename',
      actor: { user_id: ann.id },
      changes: { title: { from: 'One', to: 'Two' } },
    })
  })

  it('shows an event as the history of its task does', async () => {
    const { body } = await system.call('GET', `/tasks/${tasks[0]}/history`, { token: ann.token })
    expect(await found(`?task_id=${tasks[0]}&order=asc`)).to.deep.equal(body.events)
  })

  it('finds by actor, task, type, time and request', async () => {
    expect(await types(`?actor_id=${ann.id}`)).to.deep.equal(ANNS)
    expect(await types(`?actor_id=${bob.id}`)).to.deep.equal([])
    expect(await types(`?task_id=${tasks[1]}`)).to.deep.equal(['TaskDeleted', 'TaskCreated'])
    expect(await types('?type=TaskCreated,TaskDeleted')).to.deep.equal([
      'TaskDeleted',
      'TaskCreated',
      'TaskCreated',
    ])
    expect(await types('?request_id=the-rename')).to.deep.equal(['TaskCompleted', 'TaskRenamed'])
    const { rows } = await sql.query(
      `select recorded_at as at from events where type = 'TaskDeleted'`,
    )
    const at: string = rows[0].at.toISOString()
    expect(await types(`?from=${at}`)).to.deep.equal(['TaskDeleted'])
    expect(await types(`?to=${at}`)).to.deep.equal(ANNS.slice(1))
    expect(await types(`?from=${at}&to=${at}`)).to.deep.equal([])
  })

  it('comes page by page, in either order', async () => {
    for (const order of ['asc', 'desc']) {
      const pages: string[] = []
      for (let cursor = ''; ; ) {
        const { body } = await ask(`?order=${order}&limit=2${cursor}`)
        pages.push(...body.events.map(({ type }: Event) => type))
        expect(body.events.length).to.be.at.most(2)
        if (body.next_cursor === null) break
        cursor = `&cursor=${body.next_cursor}`
      }
      expect(pages).to.deep.equal(order === 'desc' ? ANNS : ANNS.toReversed())
    }
  })

  it('shows a user their own events, and an auditor and an admin all', async () => {
    expect(await types('', bob)).to.deep.equal(['TaskCreated'])
    expect(await types(`?task_id=${tasks[0]}`, bob)).to.deep.equal([])
    expect(await types('?request_id=the-rename', bob)).to.deep.equal([])
    const all = [...ANNS.toReversed(), 'TaskCreated', 'UserRoleChanged']
    expect(await types('', auditor)).to.have.members(all)
    expect(await types(`?actor_id=${bob.id}`, auditor)).to.deep.equal(['TaskCreated'])
    await giveRole(sql, (await system.newUser()).id, 'admin')
    await giveRole(sql, auditor.id, 'admin')
    expect(await types('', auditor)).to.have.members(all)
    await giveRole(sql, auditor.id, 'auditor')
    await projectAudit(system.database)
  })

  it('says how far it has got, and shows nothing beyond', async () => {
    const { headers } = await ask('')
    const { rows } = await sql.query(`select max(position) as end from events`)
    expect(headers.get('audit-position')).to.equal(rows[0].end)
    expect(headers.get('vary')).to.equal('Accept')
  })

  it('names every invalid parameter', async () => {
    const fields = async (query: string, headers = {}) => {
      const { status, body } = await ask(query, ann, headers)
      expect(status, query).to.equal(400)
      return body.details.map(({ field }: { field: string }) => field)
    }
    const wrong = {
      actor_id: 'x',
      task_id: '0',
      type: 'TaskCreated,Nonsense',
      from: 'yesterday',
      to: '2026-01-01',
      request_id: 'no spaces',
      order: 'up',
      limit: '201',
      nonsense: '1',
    }
    const query = `?${new URLSearchParams(wrong)}`
    expect(await fields(query)).to.have.members(Object.keys(wrong))
    expect(await fields('?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z')).to.deep.equal([
      'from',
    ])
    expect(await fields('?limit=0')).to.deep.equal(['limit'])
    expect(await fields('?cursor=nonsense')).to.deep.equal(['cursor'])
    const { body } = await ask('?limit=1&order=asc')
    expect(await fields(`?limit=1&order=desc&cursor=${body.next_cursor}`)).to.deep.equal(['cursor'])
  })

  it('records every access: who, in which role, when, from where, and the query', async () => {
    const began = new Date()
    const headers = { 'X-Request-Id': 'a-look' }
    await ask('?type=TaskCreated&limit=3', auditor, headers)
    const { rows } = await sql.query('select * from audit_accesses order by id desc limit 1')
    expect(rows[0]).to.deep.include({
      kind: 'looked',
      user_id: String(auditor.id),
      role: 'auditor',
      request_id: 'a-look',
      query: { type: ['TaskCreated'], order: 'desc', limit: 3 },
    })
    expect(rows[0].session_id).to.match(/^[0-9a-f-]{36}$/)
    expect(rows[0].ip).to.match(/127\.0\.0\.1$/)
    expect(rows[0].accessed_at.getTime()).to.be.within(began.getTime(), Date.now())
  })

  it("does not record users' access to their own events", async () => {
    const count = async () => (await sql.query('select from audit_accesses')).rowCount
    const before = await count()
    const user = await system.newUser()
    for (const query of ['', `?actor_id=${user.id}`, `?actor_id=${auditor.id}`]) {
      expect((await ask(query, user)).status).to.equal(200)
    }
    expect(await count()).to.equal(before)
    await ask(`?actor_id=${auditor.id}`, auditor)
    expect(await count()).to.equal((before ?? 0) + 1)
  })

  it('shows nothing if the access cannot be recorded', async () => {
    await sql.query('revoke insert on audit_accesses from tasktrail_task')
    // Not what has been asked, and recorded, a moment before.
    const { status, body } = await ask('?limit=41', auditor)
    await sql.query('grant insert on audit_accesses to tasktrail_task')
    expect(status).to.be.at.least(500)
    expect(body).to.not.have.property('events')
    // As when the database is away for this one statement.
    await sql.query('begin; lock table audit_accesses in exclusive mode')
    const waited = await ask('?limit=41', auditor)
    await sql.query('rollback')
    expect([waited.status, waited.body.code]).to.deep.equal([503, 'database_unavailable'])
    expect(waited.headers.get('retry-after')).to.match(/^\d+$/)
  })

  it('shows an erased text as null, and says so', async () => {
    const user = await system.newUser()
    const { token } = user
    await system.call('POST', '/tasks', { token, body: { title: 'Gone', description: 'too' } })
    await projectAudit(system.database)
    await sql.query(
      'update user_keys set wrapped_key = null, wrapped_by = null, destroyed_at = now() where user_id = $1',
      [user.id],
    )
    const [event] = await found('', user)
    expect(event).to.deep.include({ erased: true })
    expect(event)
      .to.have.nested.property('changes.title')
      .that.deep.equals({ from: null, to: null })
    expect(event).to.have.nested.property('changes.status.to', 'pending')
  })
})
