import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import pg from 'pg'
import { type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>

const NOON = Date.parse('2026-11-29T12:00:00.000Z')
const MINUTE = 60_000
const name = () => `n${randomUUID().slice(0, 18)}`

describe('The profile', () => {
  let now = NOON
  let system: System
  let sql: pg.Client

  before(async () => {
    system = await startSystem({}, () => new Date(now))
    sql = new pg.Client(system.database.url)
    await sql.connect()
  })
  afterEach(() => {
    now = NOON
  })
  after(async () => {
    await sql.end()
    await system.stop()
  })

  const change = (token: string, body: object) => system.call('PATCH', '/auth/me', { token, body })
  const login = (username: string, password: string) =>
    system.call('POST', '/auth/login', { body: { username, password } })
  const changesOf = async ({ id }: User) => {
    const text = `select username, details from security_events
      where user_id = $1 and type = 'username_changed' order by id`
    return (await sql.query(text, [id])).rows
  }

  it('gets another username, under which alone its user logs in, and keeps its sessions', async () => {
    const ann = await system.newUser()
    const next = name()
    const { status, body } = await change(ann.token, { username: next })
    expect(status).to.equal(200)
    expect(body.user).to.include({ id: ann.id, username: next })
    expect((await login(next, ann.password)).status).to.equal(200)
    expect((await login(ann.username, ann.password)).body.code).to.equal('invalid_credentials')
    const me = await system.call('GET', '/auth/me', { token: ann.token })
    expect(me.body.user.username).to.equal(next)
    expect(await changesOf(ann)).to.deep.equal([
      { username: next, details: { from: ann.username, to: next } },
    ])
  })

  it('gets no name that somebody else has, in whatever letter case', async () => {
    const [ann, bob] = [await system.newUser(), await system.newUser()]
    const taken = await change(ann.token, { username: bob.username.toUpperCase() })
    expect([taken.status, taken.body.code]).to.deep.equal([409, 'username_taken'])
    expect(await changesOf(ann)).to.deep.equal([])
  })

  it('gets its own name in another letter case', async () => {
    const ann = await system.newUser()
    const { body } = await change(ann.token, { username: ann.username.toUpperCase() })
    expect(body.user.username).to.equal(ann.username.toUpperCase())
  })

  it('stays as it is, and is not recorded, if nothing changes', async () => {
    const ann = await system.newUser()
    for (const body of [{}, { username: ann.username }]) {
      const answer = await change(ann.token, body)
      expect(answer.status).to.equal(200)
      expect(answer.body.user.username).to.equal(ann.username)
    }
    expect(await changesOf(ann)).to.deep.equal([])
  })

  it('takes a name as a registration does, and nothing that it does not know', async () => {
    const ann = await system.newUser()
    expect((await change(ann.token, { username: 'a b' })).status).to.equal(400)
    expect((await change(ann.token, { role: 'admin' })).status).to.equal(400)
  })

  it('asks for a recent proof before the name changes', async () => {
    const ann = await system.newUser()
    now += 11 * MINUTE
    const next = name()
    const refused = await change(ann.token, { username: next })
    expect([refused.status, refused.body.code]).to.deep.equal([403, 'step_up_required'])
    const proof = { token: ann.token, body: { password: ann.password } }
    const { token } = (await system.call('POST', '/auth/step-up', proof)).body
    expect((await change(token, { username: next })).status).to.equal(200)
  })

  it('gives no new tries at the password with a new name', async () => {
    const ann = await system.newUser()
    const wrong = { token: ann.token, body: { password: 'a wrong password' } }
    const tryOnce = () => system.call('POST', '/auth/step-up', wrong)
    for (let tries = 0; tries < 5; tries++) {
      expect((await tryOnce()).body.code).to.equal('wrong_password')
    }
    await change(ann.token, { username: name() })
    expect((await tryOnce()).body.code).to.equal('too_many_attempts')
  })

  it('gives a name to one of those who want it at the same moment', async () => {
    const users = await Promise.all(Array.from({ length: 5 }, () => system.newUser()))
    const username = name()
    const answers = await Promise.all(users.map(({ token }) => change(token, { username })))
    const statuses = answers.map(({ status }) => status).toSorted()
    expect(statuses).to.deep.equal([200, 409, 409, 409, 409])
  })
})
