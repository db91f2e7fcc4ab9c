import { expect } from 'chai'
import fc from 'fast-check'
import pg from 'pg'
import type { AuditQuery } from '../../../../src/app/ports/audit.ts'
import { postgresAuditFacets } from '../../../../src/infra/postgres/audit/audit-facets.ts'
import { INDEX_ORDER_SETTINGS } from '../../../../src/infra/postgres/audit/audit-query.ts'
import { type Database, openDatabase } from '../../../../src/infra/postgres/connection/database.ts'
import {
  arbitraryQuery,
  arbitraryRows,
  insertRows,
  isWanted,
  type Row,
} from '../../../support/audit-rows.ts'
import { silent } from '../../../support/log.ts'
import { type TestDatabase, testDatabase } from '../../../support/postgres.ts'

const ALL: AuditQuery = { user_id: null }

describe('The counts of the audit trail', () => {
  let database: TestDatabase
  let sql: pg.Client
  let db: Database
  let statements = 0
  before(async () => {
    database = await testDatabase()
    sql = new pg.Client(database.url)
    await sql.connect()
    const settings = INDEX_ORDER_SETTINGS
    const real = openDatabase({ ...database.config, role: 'tasktrail_task', settings, log: silent })
    db = {
      ...real,
      query: (...asked) => {
        statements++
        return real.query(...asked)
      },
    }
  })
  after(async () => {
    await db.close()
    await sql.end()
    await database.drop()
  })
  const empty = async () => {
    await sql.query('truncate audit_events')
    await sql.query("update projections set position = 0 where name = 'audit'")
    await sql.query('truncate parked_streams')
  }
  beforeEach(empty)

  const model = (rows: readonly Row[], query: AuditQuery) => {
    const counts: Record<string, number> = {}
    for (const { type, recorded_at } of rows.filter(isWanted(query))) {
      const name = `${type} ${recorded_at.slice(0, 10)}`
      counts[name] = (counts[name] ?? 0) + 1
    }
    return counts
  }
  const counted = ({ counts }: Awaited<ReturnType<ReturnType<typeof postgresAuditFacets>>>) =>
    Object.fromEntries(counts.map(({ type, day, events }) => [`${type} ${day}`, events]))

  it('are those of a plain count, for any events and any query, also when some come later', async () => {
    const law = fc.asyncProperty(
      arbitraryRows(120),
      fc.array(arbitraryQuery, { minLength: 1, maxLength: 4 }),
      fc.nat(120),
      async (rows, queries, first) => {
        await empty()
        const facets = postgresAuditFacets(db, 40)
        let there: readonly Row[] = []
        for (const some of [rows.slice(0, first), rows.slice(first)]) {
          if (some.length > 0) await insertRows(sql, some)
          there = [...there, ...some]
          for (const query of queries) {
            expect(counted(await facets(query))).to.deep.equal(model(there, query))
          }
        }
      },
    )
    await fc.assert(law, { numRuns: 100 })
  })

  const row = (position: number): Row => ({
    position,
    task_id: 1,
    user_id: 1,
    actor_id: 1,
    type: 'TaskCreated',
    recorded_at: '2026-01-01T00:00:00.000Z',
    request_id: 'r',
  })

  it('read what has come since, once for all who ask at the same time', async () => {
    const facets = postgresAuditFacets(db, 1_000)
    await insertRows(
      sql,
      Array.from({ length: 5_000 }, (_, n) => row(n + 1)),
    )
    const asked = async () => {
      statements = 0
      const [one] = await Promise.all([facets(ALL), facets(ALL), facets(ALL)])
      return [statements, ...Object.values(counted(one as Awaited<ReturnType<typeof facets>>))]
    }
    expect(await asked()).to.deep.equal([6, 5_000])
    expect(await asked()).to.deep.equal([1, 5_000])
    await insertRows(sql, [row(5_001)])
    expect(await asked()).to.deep.equal([2, 5_001])
  })

  it('are counted again when a parked stream was resumed', async () => {
    const facets = postgresAuditFacets(db)
    await insertRows(sql, [row(1), row(3)])
    await sql.query(
      `insert into events (stream_id, version, event_id, type, schema_version, data, actor_id, metadata,
         occurred_at, hash)
       overriding system value
       select 'task-2', 1, gen_random_uuid(), 'TaskCreated', 1, '{}', 1, '{}', now(), sha256('')`,
    )
    await sql.query(
      `insert into parked_streams (projection, stream_id, position, version, error)
       select 'audit', 'task-2', position, 1, 'bad' from events`,
    )
    await sql.query("update projections set position = 10 where name = 'audit'")
    expect((await facets(ALL)).parked).to.deep.equal([['task-2', 1]])
    await insertRows(sql, [row(2)])
    await sql.query("update projections set position = 10 where name = 'audit'")
    await sql.query('truncate parked_streams')
    expect(Object.values(counted(await facets(ALL)))).to.deep.equal([3])
  })
})
