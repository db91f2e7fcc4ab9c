import { expect } from 'chai'
import fc from 'fast-check'
import pg from 'pg'
import { TASK_PRIORITIES, TASK_STATUSES } from '../../src/domain/task/events.ts'
import type { TaskView } from '../../src/domain/task/view.ts'
import { nextLink } from '../support/next-link.ts'
import { type System, startSystem } from '../support/system.ts'
import { insertTasks } from '../support/task-rows.ts'

type Shown = Omit<TaskView, 'deleted_at'>
type Query = {
  readonly status?: readonly string[]
  readonly priority?: readonly string[]
  readonly due_from?: string
  readonly due_before?: string
  readonly has_due_date?: boolean
  readonly q?: string
  readonly sort?: string
}

const day = (n: number) => `2026-01-0${n}T12:00:00.000Z`
// Few values, so that many tasks are equal in what they are sorted by and near every bound.
const times = fc.integer({ min: 1, max: 5 }).map(day)
const words = fc.string({ unit: fc.constantFrom(...'aAbB%_\\éÉßñÑ'), maxLength: 6 })

const row: fc.Arbitrary<Omit<TaskView, 'id' | 'user_id' | 'version'>> = fc.record({
  title: words.map((word) => `t${word}`),
  description: fc.option(words),
  status: fc.constantFrom(...TASK_STATUSES),
  priority: fc.constantFrom(...TASK_PRIORITIES),
  due_date: fc.option(times),
  photos: fc.constant([]),
  created_at: times,
  updated_at: times,
  deleted_at: fc.oneof({ weight: 5, arbitrary: fc.constant(null) }, times),
})
const SORTS = ['created_at', 'updated_at', 'due_date', 'priority'] as const
const filters = fc.record({
  status: fc.subarray([...TASK_STATUSES], { minLength: 1 }),
  priority: fc.subarray([...TASK_PRIORITIES], { minLength: 1 }),
  due_from: times,
  due_before: times,
  has_due_date: fc.boolean(),
  q: fc.string({ unit: fc.constantFrom(...'aAb%_\\éÉ'), minLength: 1, maxLength: 2 }),
})
// Two filters at most: more would leave nothing to put in order.
const query: fc.Arbitrary<Query> = fc
  .tuple(
    filters,
    fc.subarray(['status', 'priority', 'due_from', 'due_before', 'has_due_date', 'q'], {
      maxLength: 2,
    }),
    fc.option(fc.constantFrom(...SORTS.flatMap((sort) => [sort, `-${sort}`]))),
  )
  .map(([values, names, sort]) => ({
    ...Object.fromEntries(Object.entries(values).filter(([name]) => names.includes(name))),
    ...(sort !== null && { sort }),
  }))
  .filter(({ due_from = '', due_before = '~' }: Query) => due_from <= due_before)

/** The list as the contract words it. */
function expected(tasks: readonly TaskView[], wanted: Query): TaskView[] {
  const { sort = '-created_at' } = wanted
  const name = sort.replace('-', '') as (typeof SORTS)[number]
  const sign = sort.startsWith('-') ? -1 : 1
  const q = wanted.q?.toLowerCase() ?? ''
  const place = (task: TaskView) =>
    name === 'priority' ? String(TASK_PRIORITIES.indexOf(task.priority)) : task[name]
  return tasks
    .filter((task) => task.deleted_at === null)
    .filter(({ status }) => wanted.status?.includes(status) ?? true)
    .filter(({ priority }) => wanted.priority?.includes(priority) ?? true)
    .filter(({ due_date }) => !wanted.due_before || (due_date && due_date < wanted.due_before))
    .filter(({ due_date }) => !wanted.due_from || (due_date && due_date >= wanted.due_from))
    .filter(({ due_date }) => (due_date !== null) === (wanted.has_due_date ?? due_date !== null))
    .filter((task) => `${task.title}\n${task.description ?? ''}`.toLowerCase().includes(q))
    .toSorted((one, two) => {
      const [a, b] = [place(one), place(two)]
      if (a === b) return sign * (one.id - two.id)
      if (a === null || b === null) return a === null ? 1 : -1
      return a < b ? -sign : sign
    })
}

const search = (wanted: object): string => {
  const values = Object.entries(wanted).map(([name, value]) => [name, String(value)])
  return new URLSearchParams(Object.fromEntries(values)).toString()
}

describe('The list of tasks', () => {
  let system: System
  let sql: pg.Client
  let ann: Awaited<ReturnType<System['newUser']>>
  let lastId = 1_000_000

  before(async () => {
    system = await startSystem()
    sql = new pg.Client(system.database.url)
    await sql.connect()
    ann = await system.newUser()
    const bob = await system.newUser()
    await insertTasks(sql, system.keyWrap, [
      { id: lastId, user_id: bob.id, title: 'aAbB%_\\éÉ', due_date: day(3) },
    ])
  })
  after(async () => {
    await sql.end()
    await system.stop()
  })

  const list = (wanted: string | object = '') =>
    system.call('GET', `/tasks?${typeof wanted === 'string' ? wanted : search(wanted)}`, {
      token: ann.token,
    })
  const faultOf = async (wanted: string) => {
    const { status, body } = await list(wanted)
    expect(status, wanted).to.equal(400)
    expect(body.details, wanted).to.have.length(1)
    return body.details[0]
  }
  /** Leaves Ann exactly these tasks. */
  const given = async (rows: readonly Partial<TaskView>[]): Promise<TaskView[]> => {
    await sql.query('delete from tasks where user_id = $1', [ann.id])
    const owned = rows.map((fields) => ({ ...fields, id: ++lastId, user_id: ann.id }))
    await insertTasks(sql, system.keyWrap, owned)
    return owned.map((task) => ({ version: 1, ...task })) as TaskView[]
  }
  const titles = async (wanted: object) =>
    (await list(wanted)).body.tasks.map(({ title }: Shown) => title)

  it('holds what the filters let through, in the order asked for: any tasks, any query', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(row, { maxLength: 25, size: 'max' }),
        fc.array(query, { minLength: 1, maxLength: 4 }),
        async (rows, queries) => {
          const tasks = await given(rows)
          for (const wanted of queries) {
            const { status, body } = await list(wanted)
            expect(status).to.equal(200)
            const shown = expected(tasks, wanted).map(({ deleted_at, ...task }) => task)
            expect(body, JSON.stringify(wanted)).to.deep.equal({ tasks: shown })
          }
        },
      ),
      { numRuns: 100 },
    )
  })

  it('is the same page by page, whatever the size of a page', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(row, { maxLength: 25, size: 'max' }),
        query,
        fc.integer({ min: 1, max: 7 }),
        async (rows, wanted, limit) => {
          const tasks = await given(rows)
          const ids: number[] = []
          let path: string | undefined = `/tasks?${search({ ...wanted, limit })}`
          while (path !== undefined) {
            const { headers, body } = await system.call('GET', path, { token: ann.token })
            expect(body.tasks.length).to.be.at.most(limit)
            ids.push(...body.tasks.map(({ id }: Shown) => id))
            path = nextLink(headers)
            if (path === undefined) expect(body.next_cursor).to.equal(null)
            else expect(new URLSearchParams(path).get('cursor')).to.equal(body.next_cursor)
          }
          expect(ids).to.deep.equal(expected(tasks, wanted).map(({ id }) => id))
        },
      ),
      { numRuns: 100 },
    )
  })

  it('begins with the newest and ends without a cursor', async () => {
    await given([])
    for (const title of ['one', 'two', 'three']) {
      await system.call('POST', '/tasks', { token: ann.token, body: { title } })
    }
    const { body, headers } = await list()
    expect(body.tasks.map(({ title }: Shown) => title)).to.deep.equal(['three', 'two', 'one'])
    expect(body).to.have.all.keys('tasks')
    expect(nextLink(headers)).to.equal(undefined)
  })

  it('puts low before medium before high, and tasks without a due date last both ways', async () => {
    await given([
      { title: 'high, never', priority: 'high' },
      { title: 'low, late', priority: 'low', due_date: day(5) },
      { title: 'medium, soon', priority: 'medium', due_date: day(1) },
    ])
    const [never, late, soon] = ['high, never', 'low, late', 'medium, soon']
    expect(await titles({ sort: 'priority' })).to.deep.equal([late, soon, never])
    expect(await titles({ sort: '-priority' })).to.deep.equal([never, soon, late])
    expect(await titles({ sort: 'due_date' })).to.deep.equal([soon, late, never])
    expect(await titles({ sort: '-due_date' })).to.deep.equal([late, soon, never])
  })

  it('takes % and _ and \\ in a search for what they are, and letter case for nothing', async () => {
    const all = ['100%', '100 percent', 'snake_case', 'snakeXcase', 'C:\\temp', 'ÄRGER']
    await given(all.map((title) => ({ title })))
    for (const [q, found] of [
      ['%', ['100%']],
      ['0%', ['100%']],
      ['_', ['snake_case']],
      ['\\', ['C:\\temp']],
      ['\\t', ['C:\\temp']],
      ['\\%', []],
      ['ärger', ['ÄRGER']],
      ['SNAKE', ['snake_case', 'snakeXcase']],
      ["'; drop table tasks; --", []],
    ] as const) {
      expect(await titles({ q }), q).to.have.members(found)
    }
    expect((await list({ q: 'x'.repeat(200) })).status).to.equal(200)
  })

  it('compares due dates as moments: from the first one on, and before the second', async () => {
    await given([1, 2, 3].map((n) => ({ title: `day ${n}`, due_date: day(n) })))
    const noon = '2026-01-02T13:00:00+01:00'
    expect(await titles({ due_before: noon })).to.deep.equal(['day 1'])
    expect(await titles({ due_from: noon })).to.have.members(['day 2', 'day 3'])
    const between = { due_from: day(1), due_before: day(3) }
    expect(await titles(between)).to.have.members(['day 1', 'day 2'])
  })

  it('is never of anybody else', async () => {
    await given([])
    expect((await list({ due_from: day(1) })).body.tasks).to.deep.equal([])
  })

  it('refuses what it does not understand, by name', async () => {
    for (const [wanted, field, message] of [
      ['limit=0', 'limit', 'limit must be a whole number from 1 to 200'],
      ['limit=201', 'limit', 'limit must be a whole number from 1 to 200'],
      ['limit=-1', 'limit', 'limit must be a whole number from 1 to 200'],
      ['limit=1.0', 'limit', 'limit must be a whole number from 1 to 200'],
      ['limit=', 'limit', 'limit must be a whole number from 1 to 200'],
      ['status=done', 'status', /list of: pending, in_progress, completed$/],
      ['status=pending,', 'status', /list of: pending, in_progress, completed$/],
      ['priority=low,urgent,high', 'priority', /list of: low, medium, high$/],
      ['due_before=tomorrow', 'due_before', /^due_before must be an ISO 8601 time/],
      ['due_from=2026-01-01', 'due_from', /^due_from must be an ISO 8601 time/],
      [
        'due_from=2026-01-02T00:00:00Z&due_before=2026-01-01T00:00:00Z',
        'due_from',
        'due_from must not be later than due_before',
      ],
      ['has_due_date=yes', 'has_due_date', 'has_due_date must be one of: true, false'],
      [
        'due_before=2026-02-30T00:00:00Z',
        'due_before',
        /^due_before must be a day of the calendar/,
      ],
      ['q=', 'q', 'q must not be empty'],
      ['q', 'q', 'q must not be empty'],
      ['q=%00', 'q', /^q must not contain control characters other than/],
      ['q=%e2%80%8b', 'q', 'q must contain a visible character'],
      [`q=${'x'.repeat(201)}`, 'q', 'q must have at most 200 characters'],
      ['q=caf%E9', 'q', 'q must be UTF-8, percent-encoded'],
      ['q=%c3', 'q', 'q must be UTF-8, percent-encoded'],
      ['q=%ed%a0%80', 'q', 'q must be UTF-8, percent-encoded'],
      ['q=%c0%80', 'q', 'q must be UTF-8, percent-encoded'],
      ['q=100%', 'q', 'q must be UTF-8, percent-encoded'],
      ['q=%zz', 'q', 'q must be UTF-8, percent-encoded'],
      ['caf%E9=1', 'caf%E9', 'caf%E9 must be UTF-8, percent-encoded'],
      ['sort=title', 'sort', /^sort must be one of: created_at, -created_at/],
      ['sort=--created_at', 'sort', /^sort must be one of/],
      ['cursor=x', 'cursor', 'cursor must be one that this list gave'],
      ['page=2', 'page', /^Unknown parameter; allowed: limit, cursor, status, priority, due/],
      ['__proto__=1', '__proto__', /^Unknown parameter/],
      ['constructor=1', 'constructor', /^Unknown parameter/],
      ['Status=pending', 'Status', /^Unknown parameter/],
      ['limit=1&limit=1', 'limit', 'limit is given more than once'],
    ] as const) {
      const fault = await faultOf(wanted)
      expect(fault.field, wanted).to.equal(field)
      if (typeof message === 'string') expect(fault.message).to.equal(message)
      else expect(fault.message).to.match(message)
    }
    const { body } = await list('limit=0&sort=x&nope=1')
    expect(body.details.map(({ field }: { field: string }) => field)).to.have.members([
      'limit',
      'sort',
      'nope',
    ])
  })
})
