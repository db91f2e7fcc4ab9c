import { expect } from 'chai'
import pg from 'pg'
import type { TaskCursor, TaskQuery } from '../../../../src/app/ports/tasks.ts'
import { ngramsOf, ngramsToFind } from '../../../../src/infra/encryption/blind-index.ts'
import { newDataKey } from '../../../../src/infra/encryption/text-cipher.ts'
import {
  type Prepared,
  pageStamps,
  taskPage,
  type Way,
  waysTo,
} from '../../../../src/infra/postgres/tasks/task-page.ts'
import { type TestDatabase, testDatabase } from '../../../support/postgres.ts'

// One user with very many tasks among many with few: what the planner believes of a user is wrong for
// this one.
const BIG = 1
const KEY = newDataKey()
const TASKS = 100_000
const OTHERS = 2_000
const LIMIT = 51

const MIXED = ['Buy milk', 'Call the bank', 'Plan the journey', 'Write minutes', 'Water the plants']
const RARE = 'Ornithopter'

// Every 1,000th task is in progress, and has a rare title; every tenth has no due date.
const FILL = `
  insert into tasks (id, user_id, title, status, priority, due_date, created_at, updated_at, version,
      ngrams)
    select n, case when n <= ${TASKS} then ${BIG} else 2 + n % ${OTHERS} end, to_jsonb(text.title),
      case when n % 1000 = 0 then 'in_progress' when n % 2 = 0 then 'completed' else 'pending' end,
      (array['low', 'medium', 'high'])[1 + n % 3]::task_priority,
      case when n % 10 > 0 then timestamptz '2026-01-01' + n * interval '1 minute' end,
      timestamptz '2026-01-01' + n * interval '1 second',
      timestamptz '2027-01-01' - n * interval '1 second', 1, text.ngrams
    from generate_series(1, ${TASKS + 20_000}) n
      join jsonb_to_recordset($1) as text (place int, title text, ngrams int[])
        on place = case when n % 1000 = 0 then 0 else 1 + n % ${MIXED.length} end`

const FILL_KEYS = `
  insert into user_keys (user_id, wrapped_key, wrapped_by)
    select distinct user_id, '\\x00'::bytea, 'no key' from tasks`

type Node = {
  readonly 'Relation Name'?: string
  readonly 'Actual Rows': number
  readonly 'Actual Loops': number
  readonly 'Rows Removed by Filter'?: number
  readonly 'Rows Removed by Index Recheck'?: number
  readonly Plans?: readonly Node[]
}

/** Rows of the table that were looked at. */
function lookedAt(node: Node): number {
  const below = (node.Plans ?? []).reduce((sum, plan) => sum + lookedAt(plan), 0)
  if (node['Relation Name'] !== 'tasks') return below
  const rows =
    node['Actual Rows'] +
    (node['Rows Removed by Filter'] ?? 0) +
    (node['Rows Removed by Index Recheck'] ?? 0)
  return below + rows * node['Actual Loops']
}

const literal = (value: unknown): string => {
  if (value === null) return 'null'
  if (typeof value === 'number') return String(value)
  return pg.escapeLiteral(Array.isArray(value) ? `{${value.join(',')}}` : String(value))
}

describe('A page of very many tasks', function () {
  this.timeout(180_000)
  let test: TestDatabase
  let sql: pg.Client
  before(async () => {
    test = await testDatabase()
    sql = new pg.Client(test.url)
    await sql.connect()
    const texts = [RARE, ...MIXED].map((title, place) => ({
      place,
      title,
      ngrams: ngramsOf(KEY, [title]),
    }))
    await sql.query(FILL, [JSON.stringify(texts)])
    await sql.query(FILL_KEYS)
    await sql.query('vacuum analyze tasks')
    await sql.query('set plan_cache_mode = force_generic_plan')
  })
  after(async () => {
    await sql.end()
    await test.drop()
  })

  /** How many rows one statement looks at and finds, under the plan for any values. */
  const cost = (query: TaskQuery, way: Way) =>
    costOf(taskPage(query, way, LIMIT, ngramsToFind(KEY, query.q ?? '')))
  const costOf = async ({ statement, values }: Prepared) => {
    await sql.query(`prepare page as ${statement.text}`)
    const { rows } = await sql.query<{ 'QUERY PLAN': [{ Plan: Node }] }>(
      `explain (analyze, format json) execute page (${values.map(literal).join(', ')})`,
    )
    await sql.query('deallocate page')
    const [plan] = rows[0]?.['QUERY PLAN'] ?? []
    if (plan === undefined) throw new Error('no plan')
    return { looked: lookedAt(plan.Plan), found: plan.Plan['Actual Rows'] }
  }

  const ORDERS = (['created_at', 'updated_at', 'due_date', 'priority'] as const).flatMap((sort) =>
    [true, false].map((descending) => ({ user_id: BIG, limit: LIMIT - 1, sort, descending })),
  )
  /** Somewhere in the middle. */
  const middle = async ({ sort }: { sort: TaskQuery['sort'] }): Promise<TaskCursor> => {
    const text = `
      select ${sort}::text as value, id::int from tasks where user_id = $1 and ${sort} is not null
      order by ${sort}, id offset ${TASKS / 2} limit 1`
    const { rows } = await sql.query<TaskCursor>(text, [BIG])
    if (rows[0] === undefined) throw new Error('nothing in the middle')
    return rows[0]
  }
  const both = async (order: (typeof ORDERS)[number]): Promise<TaskQuery[]> => [
    order,
    { ...order, after: await middle(order) },
  ]

  it('looks at no more than a page of each status and priority, whatever the order, anywhere', async () => {
    const filters: Partial<TaskQuery>[] = [
      {},
      { status: ['in_progress'] },
      { status: ['pending', 'in_progress'] },
      { priority: ['low'] },
      { status: ['completed'], priority: ['high', 'medium'] },
    ]
    for (const order of ORDERS) {
      for (const place of await both(order)) {
        for (const filter of filters) {
          const query = { ...place, ...filter }
          expect(waysTo(query)).to.deep.equal(['order'])
          const { looked, found } = await cost(query, 'order')
          const ranges = (filter.status?.length ?? 3) * (filter.priority?.length ?? 3)
          // Of a priority that is behind the place there are none.
          if (!(order.sort === 'priority' && filter.priority)) {
            expect(found, JSON.stringify(query)).to.be.above(15)
          }
          expect(looked, JSON.stringify(query)).to.be.at.most((ranges + 1) * LIMIT)
          const { statement, values } = pageStamps(query, LIMIT)
          const stamps = await costOf({ statement, values: [[BIG], ...values] })
          expect(stamps.looked, JSON.stringify(query)).to.be.at.most(ranges * LIMIT)
        }
      }
    }
  })

  it('looks at no more by due date either, in their order', async () => {
    for (const order of ORDERS.filter(({ sort }) => sort === 'due_date')) {
      for (const filter of [
        { has_due_date: true },
        { has_due_date: false },
        { due_before: '2026-02-01T00:00:00Z' },
        { due_from: '2026-02-01T00:00:00Z' },
        { due_from: '2026-02-01T00:00:00Z', due_before: '2026-02-01T02:00:00Z' },
      ]) {
        const query = { ...order, ...filter }
        expect(waysTo(query)).to.deep.equal(['order'])
        const { looked, found } = await cost(query, 'order')
        expect(found, JSON.stringify(query)).to.be.above(40)
        expect(looked, JSON.stringify(query)).to.be.at.most(10 * LIMIT)
      }
    }
  })

  it('is found near, or among few, by due date in another order and by text', async () => {
    const many: Partial<TaskQuery>[] = [
      { has_due_date: true },
      { due_from: '2025-12-01T00:00:00Z', due_before: '2026-04-01T00:00:00Z' },
      { q: 'the' },
      { q: 'e', status: ['completed'] },
      { q: 'the', has_due_date: true },
    ]
    const few: (Partial<TaskQuery> & { all: number })[] = [
      { due_from: '2026-02-01T00:00:00Z', due_before: '2026-02-01T02:00:00Z', all: 120 },
      { q: RARE, all: 120 },
      { q: 'ornith', all: 120 },
      { q: 'zz', all: 0 },
      { q: 'no such words in any of them', all: 0 },
      { q: 'thopter', status: ['in_progress'], priority: ['low'], all: 120 },
    ]
    for (const order of ORDERS) {
      for (const place of await both(order)) {
        for (const filter of many) {
          const query = { ...place, ...filter }
          if (waysTo(query)[0] === 'order') continue
          const { looked, found } = await cost(query, 'near')
          expect(found, JSON.stringify(query)).to.equal(LIMIT)
          expect(looked, JSON.stringify(query)).to.be.at.most(10_000)
        }
        for (const { all, ...filter } of few) {
          const query = { ...place, ...filter }
          if (waysTo(query)[0] === 'order') continue
          expect(waysTo(query)).to.deep.equal(['near', 'conditions'])
          const { looked } = await cost(query, 'conditions')
          expect(looked, JSON.stringify(query)).to.be.at.most(2 * all)
        }
      }
    }
  })
})
