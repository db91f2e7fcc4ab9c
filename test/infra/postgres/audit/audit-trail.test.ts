import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import fc from 'fast-check'
import pg from 'pg'
import { exportAudit } from '../../../../src/app/audit-export.ts'
import type { AuditQuery, AuditTrail } from '../../../../src/app/ports/audit.ts'
import { INDEX_ORDER_SETTINGS } from '../../../../src/infra/postgres/audit/audit-query.ts'
import { postgresAuditTrail } from '../../../../src/infra/postgres/audit/audit-trail.ts'
import {
  type Database,
  openDatabase,
  type Statement,
} from '../../../../src/infra/postgres/connection/database.ts'
import { postgresTransparencyLog } from '../../../../src/infra/postgres/transparency-log/log-reader.ts'
import {
  arbitraryQuery,
  arbitraryRows,
  insertRows,
  isWanted,
  type Row,
} from '../../../support/audit-rows.ts'
import { silent } from '../../../support/log.ts'
import { type TestDatabase, testDatabase } from '../../../support/postgres.ts'

const RUNS = 100
const keys = { findEach: async () => new Map() }
const HOUR = 3_600_000

describe('The audit trail on PostgreSQL', () => {
  let database: TestDatabase
  let sql: pg.Client
  let db: Database
  let trail: AuditTrail
  before(async () => {
    database = await testDatabase()
    sql = new pg.Client(database.url)
    await sql.connect()
    db = openDatabase({
      ...database.config,
      role: 'tasktrail_task',
      settings: INDEX_ORDER_SETTINGS,
      log: silent,
    })
    trail = postgresAuditTrail(db, keys, silent)
  })
  after(async () => {
    await db.close()
    await sql.end()
    await database.drop()
  })
  beforeEach(async () => {
    await sql.query('truncate audit_events')
  })

  const holding = async (rows: readonly Row[]) => {
    await sql.query('truncate audit_events')
    await insertRows(sql, rows)
  }
  const positions = (rows: readonly { position: number }[]) => rows.map(({ position }) => position)

  /** All pages of a query; `between` runs before each but the first. */
  async function pages(
    query: AuditQuery,
    descending: boolean,
    limit: number,
    between: (page: number) => Promise<void> = async () => {},
  ): Promise<number[]> {
    const found: number[] = []
    let after: number | undefined
    for (let page = 0; ; page++) {
      const { events, next } = await trail.find(query, { descending, limit, after })
      expect(events.length).to.be.at.most(limit)
      found.push(...positions(events))
      if (next === null) return found
      expect(events).to.have.length(limit)
      after = next
      await between(page)
    }
  }

  it('ends a page once its texts fill 1 MiB, and loses nothing', async () => {
    const at = { recorded_at: '2026-01-01T00:00:00.000Z', request_id: 'r' }
    const facts = { user_id: 1, actor_id: 1, type: 'TaskDescribed', ...at } as const
    await holding(
      Array.from({ length: 200 }, (_, n) => ({ position: n + 1, task_id: 1, ...facts })),
    )
    const text = { user: 1, cipher: randomBytes(30_000).toString('base64') }
    await sql.query('update audit_events set changes = $1', [
      JSON.stringify({ description: { from: text, to: text } }),
    ])
    const all = Array.from({ length: 200 }, (_, n) => n + 1)
    for (const query of [{ user_id: null }, { user_id: 1 }, { user_id: null, task_id: 1 }]) {
      for (const descending of [true, false]) {
        const seen: number[] = []
        for (let after: number | undefined; ; ) {
          const { events, next } = await trail.find(query, { descending, limit: 200, after })
          expect(events.length).to.be.within(1, 20)
          seen.push(...positions(events))
          if (next === null) break
          expect(next).to.equal(seen.at(-1))
          after = next
        }
        expect(seen).to.deep.equal(descending ? all.toReversed() : all)
      }
    }
  })

  it('finds page by page exactly what the conditions mean, in either order', async () => {
    const laws = fc.asyncProperty(
      arbitraryRows(60),
      fc.array(fc.tuple(arbitraryQuery, fc.boolean(), fc.integer({ min: 1, max: 20 })), {
        minLength: 5,
        maxLength: 5,
      }),
      async (rows, asked) => {
        await holding(rows)
        for (const [query, descending, limit] of asked) {
          const wanted = positions(rows.filter(isWanted(query)))
          if (descending) wanted.reverse()
          expect(await pages(query, descending, limit)).to.deep.equal(wanted)
        }
      },
    )
    await fc.assert(laws, { numRuns: RUNS })
  }).timeout(120_000)

  it('does not shift its pages while events arrive', async () => {
    const laws = fc.asyncProperty(
      arbitraryRows(40),
      arbitraryRows(20),
      arbitraryQuery,
      fc.boolean(),
      fc.integer({ min: 1, max: 5 }),
      async (rows, more, query, descending, limit) => {
        await holding(rows)
        const end = rows.at(-1)?.position ?? 0
        const late = more.map((row) => later(row, end))
        const waiting = [...late]
        const found = await pages(query, descending, limit, async () => {
          await insertRows(sql, waiting.splice(0, 3))
        })
        const arrived = late.slice(0, late.length - waiting.length)
        const before = positions(rows.filter(isWanted(query)))
        const since = positions(arrived.filter(isWanted(query)))
        if (descending) expect(found).to.deep.equal(before.reverse())
        else {
          // The last page is the last one there was when it was read.
          expect(found.slice(0, before.length)).to.deep.equal(before)
          expect(since.slice(0, found.length - before.length)).to.deep.equal(
            found.slice(before.length),
          )
        }
      },
    )
    await fc.assert(laws, { numRuns: RUNS })
  }).timeout(120_000)

  it('is read in batches up to where it has come, whatever arrives meanwhile', async () => {
    const laws = fc.asyncProperty(arbitraryRows(40), arbitraryQuery, async (rows, query) => {
      await holding(rows)
      const { position, batches } = await trail.read(query)
      await insertRows(sql, [{ ...NEWEST, position: position + 1 }])
      const found: number[] = []
      for await (const batch of batches) found.push(...positions(batch.map(({ event }) => event)))
      expect(position).to.equal(rows.at(-1)?.position ?? 0)
      expect(found).to.deep.equal(positions(rows.filter(isWanted(query))))
    })
    await fc.assert(laws, { numRuns: RUNS })
  }).timeout(120_000)

  it('holds few bytes at once, however large the events are', async () => {
    const rows = Array.from({ length: 40 }, (_, n): Row => ({ ...NEWEST, position: n + 1 }))
    await holding(rows)
    await sql.query(
      `update audit_events set changes = jsonb_build_object('due_date', jsonb_build_object(
        'from', null, 'to', (select string_agg(md5(n::text), '') from generate_series(1, 2000) n)))`,
    )
    const { batches } = await trail.read({ user_id: null })
    const sizes: number[] = []
    for await (const batch of batches) sizes.push(batch.length)
    expect(sizes.reduce((sum, size) => sum + size)).to.equal(40)
    expect(Math.max(...sizes)).to.be.below(20)
  })

  it('looks up the leaves of no more events at once than it reads, however long a stream is', async () => {
    const rows = Array.from({ length: 4_500 }, (_, n): Row => {
      return { ...NEWEST, position: n + 1, task_id: (n % 3) + 1 }
    })
    await holding(rows)
    await sql.query(`
      insert into events (position, stream_id, version, event_id, type, schema_version, data,
          actor_id, metadata, occurred_at, hash)
        overriding system value
        select n, 'task-' || 1 + (n - 1) % 3, 1 + (n - 1) / 3, gen_random_uuid(), 'TaskRenamed', 1,
          '{}', 1, '{}', now(), sha256('')
        from generate_series(1, 4500) n`)
    let most = 0
    const counting: Database = {
      ...db,
      async query<Found extends pg.QueryResultRow>(
        statement: Statement,
        values: readonly unknown[],
      ) {
        const found = await db.query<Found>(statement, values)
        most = Math.max(most, found.length)
        return found
      },
    }
    const { lines, trailer } = await exportAudit(
      postgresAuditTrail(counting, keys, silent),
      postgresTransparencyLog(counting),
    )({ user_id: 1 })
    let events = 0
    for await (const page of lines) events += page.length
    expect([events, trailer.count()]).to.deep.equal([4_500, 4_500])
    expect(most).to.be.at.most(1_000)
  })

  it('tells how far it has come', async () => {
    await holding([{ ...NEWEST, position: 7 }])
    const { events, position } = await trail.find({ user_id: 99 }, { descending: true, limit: 10 })
    expect([events.length, position]).to.deep.equal([0, 7])
  })
})

const later = (row: Row, by: number): Row => ({
  ...row,
  position: row.position + by,
  recorded_at: new Date(Date.parse(row.recorded_at) + HOUR).toISOString(),
})

const NEWEST: Row = {
  position: 1,
  task_id: 1,
  user_id: 1,
  actor_id: 1,
  type: 'TaskRenamed',
  recorded_at: '2026-01-01T01:00:00.000Z',
  request_id: 'request-1',
}
