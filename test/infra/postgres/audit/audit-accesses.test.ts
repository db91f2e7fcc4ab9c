import { expect } from 'chai'
import pg from 'pg'
import { expiredAccesses } from '../../../../src/infra/postgres/audit/audit-accesses.ts'
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
    const expired = expiredAccesses(worker, 100, silent)
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
      await worker.query({ name: 'now', text: 'select remove_expired_accesses(100, 2)' }, [])
    }
    expect(await days()).to.deep.equal([
      [101, 2],
      [99, 1],
    ])
  })

  it('is kept for 30 days, whoever wants to delete it', async () => {
    await given(1, 31)
    await given(1, 29)
    await worker.query({ name: 'now', text: 'select remove_expired_accesses(0, 1000)' }, [])
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
})
