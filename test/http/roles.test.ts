import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import pg from 'pg'
import { authService } from '../../src/auth-service.ts'
import { authServiceConfig } from '../../src/config.ts'
import { verifyExport } from '../../src/verifier/export.ts'
import { destroyKey } from '../support/erase.ts'
import { silent } from '../support/log.ts'
import { projectAudit } from '../support/project-audit.ts'
import { giveRole } from '../support/roles.ts'
import { type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>

describe('The role of a user', () => {
  let system: System
  let sql: pg.Client
  let admin: User
  let ann: User
  let ahead = 0
  before(async () => {
    const clock = () => new Date(Date.now() + ahead)
    system = await startSystem({ FIRST_ADMIN: 'the-first' }, clock)
    sql = new pg.Client(system.database.url)
    await sql.connect()
    admin = await system.newUser()
    ann = await system.newUser()
    await giveRole(sql, admin.id, 'admin')
  })
  after(async () => {
    await sql.end()
    await system.stop()
  })

  const put = (user: User, id: number | string, body: unknown = { role: 'auditor' }) =>
    system.call('PUT', `/auth/users/${id}/role`, {
      token: user.token,
      body,
      headers: { 'x-request-id': 'the-grant' },
    })

  it('is given by an admin, and holds from the next request on', async () => {
    const { status, body } = await put(admin, ann.id)
    const user = { id: ann.id, username: ann.username, role: 'auditor' }
    expect([status, body]).to.deep.equal([200, { user }])
    const me = await system.call('GET', '/auth/me', { token: ann.token })
    expect(me.body.user.role).to.equal('auditor')
    expect((await put(admin, ann.id)).status).to.equal(200)
    expect((await put(admin, ann.id, { role: 'user' })).status).to.equal(200)
  })

  it('shows in the trail of the user, with who changed it, and in no other user’s', async () => {
    await projectAudit(system.database)
    const { body } = await system.call('GET', '/audit/events?type=UserRoleChanged', {
      token: ann.token,
    })
    const [last, first] = body.events
    expect(body.events).to.have.length(2)
    expect(first).to.deep.include({
      task_id: null,
      version: 1,
      actor: { user_id: admin.id },
      request_id: 'the-grant',
      changes: { role: { from: 'user', to: 'auditor' } },
    })
    expect(last.changes).to.deep.equal({ role: { from: 'auditor', to: 'user' } })
    const other = await system.newUser()
    const others = await system.call('GET', '/audit/events', { token: other.token })
    expect(others.body.events).to.deep.equal([])
  })

  it('is no change of a task: who changes roles goes on with the changes of their own tasks', async () => {
    for (let n = 0; n < 3; n++) {
      await put(admin, ann.id, { role: 'auditor' })
      await put(admin, ann.id, { role: 'user' })
    }
    const task = await system.call('POST', '/tasks', { token: admin.token, body: { title: 'x' } })
    expect(task.status).to.equal(201)
    const { body } = await system.call('GET', '/tasks/changes?limit=1', { token: admin.token })
    expect(body.events.map(({ type }: { type: string }) => type)).to.deep.equal(['TaskCreated'])
  })

  for (const [who, id, body, status, code] of [
    ['ann', 'admin', { role: 'admin' }, 403, 'admins_only'],
    ['ann', 'ann', { role: 'admin' }, 403, 'admins_only'],
    ['admin', '999999', { role: 'admin' }, 404, 'user_not_found'],
    ['admin', 'admin', { role: 'user' }, 409, 'last_admin'],
    ['admin', 'ann', { role: 'root' }, 400, 'validation_failed'],
    ['admin', 'ann', {}, 400, 'validation_failed'],
    ['admin', '0', { role: 'user' }, 400, 'validation_failed'],
  ] as const) {
    it(`refuses ${who} who gives ${id} ${JSON.stringify(body)}: ${code}`, async () => {
      const users: Record<string, User> = { ann, admin }
      const answer = await put(users[who] as User, users[id]?.id ?? id, body)
      expect([answer.status, answer.body.code]).to.deep.equal([status, code])
    })
  }

  it('is changed by somebody who has just proven who they are, not by a session left open', async () => {
    ahead = 11 * 60_000
    const late = await put(admin, ann.id, { role: 'auditor' })
    expect([late.status, late.body.code]).to.deep.equal([403, 'step_up_required'])
    const { password, token } = admin
    const proven = await system.call('POST', '/auth/step-up', { token, body: { password } })
    const again = await put({ ...admin, token: proven.body.token }, ann.id, { role: 'auditor' })
    expect(again.status).to.equal(200)
    ahead = 0
  })

  it('does not pass for an erasure: without UserErased nothing says that an account is gone', async () => {
    const eve = await system.newUser()
    await giveRole(sql, eve.id, 'auditor')
    await system.call('POST', '/tasks', { token: eve.token, body: { title: 'x' } })
    await projectAudit(system.database)
    await destroyKey(sql, eve.id)
    const headers = { Accept: 'application/x-ndjson' }
    const { body } = await system.call('GET', '/audit/events', { token: admin.token, headers })
    const directory = await mkdtemp(join(tmpdir(), 'tasktrail-roles-'))
    try {
      const file = join(directory, 'export.ndjson')
      await writeFile(file, body)
      const { doubtful } = await verifyExport(file, { keys: [], witnesses: [], quorum: 0 })
      expect(doubtful).to.deep.equal([eve.id])
    } finally {
      await rm(directory, { recursive: true })
    }
  })

  it('is the first admin’s from the start of a service on, if there is no other', async () => {
    const other = await startSystem()
    try {
      const ada = await other.newUser()
      const env = { ...other.env, FIRST_ADMIN: ada.username.toUpperCase() }
      for (let start = 0; start < 2; start++) {
        const auth = authService(authServiceConfig(env), silent, () => new Date())
        await auth.requireKeys().finally(auth.dispose)
      }
      const me = await other.call('GET', '/auth/me', { token: ada.token })
      expect(me.body.user.role).to.equal('admin')
      const { body } = await other.call('GET', '/auth/events', { token: ada.token })
      const [{ type, user_agent, details }] = body.events
      const expected = { from: 'user', to: 'admin', by: 0 }
      expect([type, user_agent, details]).to.deep.equal(['role_changed', 'FIRST_ADMIN', expected])
      expect(body.events).to.have.length(3)
    } finally {
      await other.stop()
    }
  })

  it('is not the first admin’s when there is another', async () => {
    const registration = { email: 'first@example.com', password: 'a long enough secret' }
    const body = { username: 'The-First', ...registration }
    const { body: registered } = await system.call('POST', '/auth/register', { body })
    expect(registered.user.role).to.equal('user')
  })
})
