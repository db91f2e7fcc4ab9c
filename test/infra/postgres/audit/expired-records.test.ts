import { expect } from 'chai'
import pg from 'pg'
import { expiredRecords } from '../../../../src/infra/postgres/audit/expired-records.ts'
import { type Database, openDatabase } from '../../../../src/infra/postgres/connection/database.ts'
import { silent } from '../../../support/log.ts'
import { type TestDatabase, testDatabase } from '../../../support/postgres.ts'
import { until } from '../../../support/processes.ts'

describe('The record of accesses', () => {
  let test: TestDatabase
  let sql: pg.Client
  let worker: Database
  beforeEach(async () => {
    test = await testDatabase()
    sql = new pg.Client(test.url)
    await sql.connect()
    worker = openDatabase({ ...test.config, role: 'tasktrail_worker', log: silent })
  })
  afterEach(async () => {
    await worker.close()
    await sql.end()
    await test.drop()
  })

  const given = (count: number, daysAgo: number) =>
    sql.query(
      `insert into audit_accesses (kind, user_id, role, request_id, query, accessed_at, recorded_at)
         select 'looked', 1, 'auditor', 'r', '{}', at, at
         from (select now() - make_interval(days => $2) as at from generate_series(1, $1)) times`,
      [count, daysAgo],
    )
  const days = async () => {
    const { rows } = await sql.query(
      `select extract(day from now() - recorded_at)::int as days, count(*)::int as n
       from audit_accesses group by 1 order by 1 desc`,
    )
    return rows.map(({ days, n }) => [days, n])
  }

  it('goes when it is older than it has to be kept, and nothing younger does', async () => {
    await given(2_500, 101)
    await given(3, 99)
    await given(2, 0)
    const expired = expiredRecords(worker, { audit_accesses: 100, security_events: 40 }, silent)
    await until(async () => (await days()).length === 2, 'the old ones to be gone')
    await expired.close()
    expect(await days()).to.deep.equal([
      [99, 3],
      [0, 2],
    ])
  })

  it('does not go while an older one that is younger by its time is there', async () => {
    for (const ago of [101, 99, 101, 101]) await given(1, ago)
    for (let step = 0; step < 3; step++) {
      await worker.query(
        { name: 'now', text: "select remove_expired_records('audit_accesses', 100, 2)" },
        [],
      )
    }
    expect(await days()).to.deep.equal([
      [101, 2],
      [99, 1],
    ])
  })

  it('is kept for 30 days, whoever wants to delete it', async () => {
    await given(1, 31)
    await given(1, 29)
    await worker.query(
      { name: 'now', text: "select remove_expired_records('audit_accesses', 0, 1000)" },
      [],
    )
    expect(await days()).to.deep.equal([[29, 1]])
    for (const statement of [
      'delete from audit_accesses',
      'truncate audit_accesses',
      'update audit_accesses set user_id = 2',
    ]) {
      const refused = await sql.query(statement).catch(({ message }) => message)
      expect(refused, statement).to.match(/^audit_accesses is append-only/)
    }
  })

  it('of security events goes by its own number of days, and no younger one, whoever wants it', async () => {
    for (const [count, ago] of [
      [1_500, 41],
      [2, 39],
      [1, 0],
    ]) {
      await sql.query(
        `insert into security_events (type, request_id, details, occurred_at, recorded_at)
           select 'login_failed', 'r', '{}', at, at
           from (select now() - make_interval(days => $2) as at from generate_series(1, $1)) times`,
        [count, ago],
      )
    }
    const left = async () => (await sql.query('select from security_events')).rowCount
    const expired = expiredRecords(worker, { audit_accesses: 100, security_events: 40 }, silent)
    await until(async () => (await left()) === 3, 'the old ones to be gone')
    await expired.close()
    expect(await left()).to.equal(3)
    for (const statement of ['delete from security_events', 'truncate security_events']) {
      const refused = await sql.query(statement).catch(({ message }) => message)
      expect(refused, statement).to.match(/^security_events is append-only/)
    }
  })

  it('is nothing else: sessions and tries go, of users who never come again; events do not', async () => {
    await sql.query(`
      insert into users (username, email, password_hash, created_at, updated_at)
        values ('ann', 'ann@example.com', '', now(), now());
      insert into sessions (id, user_id, credentials_version, created_at, last_used_at, expires_at)
        select gen_random_uuid(), users.id, 1, now(), now(), now() - make_interval(days => ago)
        from users, generate_series(1, 40) ago, generate_series(1, 100);
      insert into login_attempts (account, ip, tries, last_try_at)
        select 'ann', n::text, 1, now() - make_interval(hours => n) from generate_series(1, 50) n`)
    const count = async (table: string) => (await sql.query(`select from ${table}`)).rowCount
    const days = { audit_accesses: 100, security_events: 100 }
    const expired = expiredRecords(worker, days, silent)
    await until(async () => (await count('sessions')) === 2_900, 'the old sessions to be gone')
    await expired.close()
    expect(await count('login_attempts')).to.equal(23)
    const events = worker.query(
      { name: 'events', text: "select remove_expired_records('events', 30, 1)" },
      [],
    )
    expect(
      await events.then(
        () => 'done',
        ({ message }) => message,
      ),
    ).to.equal('nothing expires in events')
  })
})
