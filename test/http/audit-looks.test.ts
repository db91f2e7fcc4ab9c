import { expect } from 'chai'
import pg from 'pg'
import { giveRole } from '../support/roles.ts'
import { type System, startSystem } from '../support/system.ts'

describe("The record of auditors' looks", () => {
  let system: System
  let sql: pg.Client
  let now: Date
  let token: string

  beforeEach(async () => {
    now = new Date('2026-11-27T12:00:00Z')
    system = await startSystem({}, () => now)
    sql = new pg.Client(system.database.url)
    await sql.connect()
    const user = await system.newUser()
    await giveRole(sql, user.id, 'auditor')
    token = user.token
  })
  afterEach(async () => {
    await sql.end()
    await system.stop()
  })

  const look = async (query = '') => {
    const { status } = await system.call('GET', `/audit/events${query}`, { token })
    expect(status).to.equal(200)
  }
  const recorded = async () => (await sql.query('select from audit_accesses')).rowCount

  it('grows by one row a minute, however often the same is asked', async () => {
    await Promise.all(Array.from({ length: 5 }, () => look()))
    for (let n = 0; n < 20; n++) await look()
    expect(await recorded()).to.equal(1)
    now = new Date(now.getTime() + 60_000)
    for (let n = 0; n < 20; n++) await look()
    expect(await recorded()).to.equal(2)
  })

  it('has every other question, and the same from another session', async () => {
    await look()
    await look('?type=TaskDeleted')
    await look('?order=asc')
    expect(await recorded()).to.equal(3)
    const other = await system.newUser()
    await giveRole(sql, other.id, 'auditor')
    token = other.token
    await look()
    expect(await recorded()).to.equal(4)
  })

  it('takes in a look whose recording has failed before', async () => {
    await sql.query('alter table audit_accesses rename to away')
    expect((await system.call('GET', '/audit/events', { token })).status).to.equal(500)
    await sql.query('alter table away rename to audit_accesses')
    await look()
    expect(await recorded()).to.equal(1)
  })
})
