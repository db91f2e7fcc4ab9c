import { expect } from 'chai'
import fc from 'fast-check'
import pg from 'pg'
import type { RecordsQuery } from '../../../../src/app/ports/audit-records.ts'
import { INDEX_ORDER_SETTINGS } from '../../../../src/infra/postgres/audit/audit-query.ts'
import { postgresAuditRecords } from '../../../../src/infra/postgres/audit/audit-records.ts'
import { type Database, openDatabase } from '../../../../src/infra/postgres/connection/database.ts'
import { silent } from '../../../support/log.ts'
import { type TestDatabase, testDatabase } from '../../../support/postgres.ts'

/** More than a page looks at. */
const ROWS = 25_000

describe('Records in PostgreSQL', () => {
  let database: TestDatabase
  let sql: pg.Client
  let db: Database
  let asked: { text: string; values: readonly unknown[] }[] = []

  before(async () => {
    database = await testDatabase()
    sql = new pg.Client(database.url)
    await sql.connect()
    // One rare type, one user in ten, and an address of all but one row.
    await sql.query(`
      insert into security_events (type, user_id, ip, request_id, details, occurred_at, recorded_at)
        select case when n in (3, ${ROWS - 2}) then 'rare' else 'login_failed' end, n % 10,
          case when n = 7 then '192.0.2.7' else '192.0.2.1' end, 'r-' || n / 5, '{}',
          now() - make_interval(secs => ${ROWS} - n), now() - make_interval(secs => ${ROWS} - n)
        from generate_series(1, ${ROWS}) n;
      analyze security_events`)
    const opened = openDatabase({
      ...database.config,
      role: 'tasktrail_task',
      settings: INDEX_ORDER_SETTINGS,
      log: silent,
    })
    db = {
      ...opened,
      query: (statement, values) => {
        asked.push({ text: statement.text, values })
        return opened.query(statement, values)
      },
    }
  })
  after(async () => {
    await db.close()
    await sql.end()
    await database.drop()
  })

  const all = async (query: RecordsQuery, descending: boolean, limit: number) => {
    const { find } = postgresAuditRecords(db)
    const ids: number[] = []
    let pages = 0
    for (let after: number | undefined; ; ) {
      const { records, next } = await find('security_events', query, { descending, limit, after })
      ids.push(...records.map(({ id }) => id))
      pages++
      if (next === null) return { ids, pages }
      after = next
    }
  }

  it('are found page by page as one statement would find them, whatever the conditions', async () => {
    const condition = fc.record(
      {
        user_id: fc.nat(11),
        type: fc.constantFrom(['rare'], ['login_failed'], ['rare', 'login_failed'], ['none']),
        ip: fc.constantFrom('192.0.2.1', '192.0.2.7'),
        request_id: fc.nat(5_100).map((n) => `r-${n}`),
        from: fc.nat(ROWS + 10).map((s) => new Date(Date.now() - s * 1_000).toISOString()),
        to: fc.nat(ROWS + 10).map((s) => new Date(Date.now() - s * 1_000).toISOString()),
      },
      { requiredKeys: [] },
    )
    await fc.assert(
      fc.asyncProperty(condition, fc.boolean(), async (query, descending) => {
        const { user_id, type, ip, request_id, from, to } = query
        const { rows } = await sql.query(
          `select id::int from security_events where ($1::bigint is null or user_id = $1)
             and ($2::text[] is null or type = any ($2)) and ($3::text is null or ip = $3)
             and ($4::text is null or request_id = $4) and ($5::timestamptz is null or recorded_at >= $5)
             and ($6::timestamptz is null or recorded_at < $6) order by id ${descending ? 'desc' : 'asc'}`,
          [user_id, type, ip, request_id, from, to],
        )
        const { ids } = await all(query, descending, 5_000)
        expect(ids).to.deep.equal(rows.map(({ id }) => id))
      }),
      { numRuns: 60 },
    )
  })

  it('that are rare among those of one address end pages early, and are found all the same', async () => {
    const { ids, pages } = await all({ ip: '192.0.2.1', type: ['rare'] }, true, 50)
    expect(ids).to.deep.equal([ROWS - 2, 3])
    expect(pages).to.equal(3)
  })

  it('that go while all are read are not left out in silence', async () => {
    const { read, last } = postgresAuditRecords(db)
    const end = await last('security_events')
    const whole: number[] = []
    for await (const batch of read('security_events', {}, end)) whole.push(batch.length)
    expect(whole.reduce((sum, some) => sum + some, 0)).to.equal(ROWS)

    await sql.query('begin; alter table security_events disable trigger all')
    await sql.query('create table kept as select * from security_events; commit')
    const remove = (upTo: number) => sql.query('delete from security_events where id <= $1', [upTo])
    const readWhile = async (removed: number) => {
      let batches = 0
      try {
        for await (const _ of read('security_events', {}, end)) {
          if (++batches === 1) await remove(removed)
        }
        return 'all'
      } catch (error) {
        return (error as Error).message
      }
    }
    expect(await readWhile(999)).to.equal('all')
    expect(await readWhile(4_000)).to.equal('security_events expired while they were read')
    await sql.query(`insert into security_events overriding system value
      select * from kept where id not in (select id from security_events);
      alter table security_events enable trigger all; drop table kept`)
  })

  it('are read by an index whatever is asked for, never by a scan or a sort of all', async () => {
    asked = []
    const { find } = postgresAuditRecords(db)
    const from = new Date(Date.now() - 60_000).toISOString()
    for (const query of [
      {},
      { user_id: 3 },
      { type: ['rare'] },
      { type: ['rare', 'login_failed'] },
      { ip: '192.0.2.7' },
      { request_id: 'r-9' },
      { user_id: 3, ip: '192.0.2.1', type: ['rare'] },
      { from },
      { from, to: from, user_id: 3 },
    ]) {
      for (const descending of [true, false]) {
        await find('security_events', query, { descending, limit: 50 })
      }
    }
    await sql.query(
      Object.entries(INDEX_ORDER_SETTINGS)
        .map(([name, value]) => `set ${name} = ${value}`)
        .join(';'),
    )
    for (const { text, values } of asked.filter(({ text }) => !text.includes('recursive'))) {
      const literal = values.reduce<string>((query, value, at) => {
        const written = value === null ? 'null' : pg.escapeLiteral(String(value))
        return query.replaceAll(new RegExp(`\\$${at + 1}(?!\\d)`, 'g'), () => written)
      }, text)
      const { rows } = await sql.query(`explain ${literal}`)
      const plan = rows.map((row) => row['QUERY PLAN']).join('\n')
      expect(plan, plan).not.to.match(/Seq Scan on security_events|(^|-> ) *Sort /)
      if (/(user_id|type|ip|request_id) = /.test(plan)) expect(plan).not.to.include('_pkey')
    }
  })
})
