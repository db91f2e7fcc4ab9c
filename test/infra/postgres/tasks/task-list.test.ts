import { expect } from 'chai'
import fc from 'fast-check'
import type { TaskQuery } from '../../../../src/app/ports/tasks.ts'
import { newDataKey, secretKeyWrap } from '../../../../src/infra/encryption/text-cipher.ts'
import { postgresUserKeys } from '../../../../src/infra/encryption/user-keys.ts'
import type { Database } from '../../../../src/infra/postgres/connection/database.ts'
import { postgresTaskList } from '../../../../src/infra/postgres/tasks/task-list.ts'
import { destroyKey } from '../../../support/erase.ts'
import { insertTasks } from '../../../support/task-rows.ts'
import { type TaskWorld, taskWorld } from '../../../support/task-world.ts'

const TASKS = 60
const NEWEST: Omit<TaskQuery, 'user_id'> = { sort: 'created_at', descending: true, limit: 30 }
const wrap = secretKeyWrap('a key of at least 32 characters for texts')

describe('The read table', () => {
  let world: TaskWorld
  let statements: string[]
  const list = () => {
    const db: Database = {
      ...world.db,
      query: (statement, values) => {
        statements.push(statement.name)
        return world.db.query(statement, values)
      },
    }
    return postgresTaskList(db, postgresUserKeys(db, wrap))
  }

  before(async () => {
    world = await taskWorld()
    await world.sql.query('grant usage on sequence task_ids to tasktrail_worker')
    const rows = Array.from({ length: TASKS }, (_, n) => {
      return { id: n + 1, user_id: 1 + (n % 3), title: `Task ${n + 1}` }
    })
    await insertTasks(world.sql, wrap, rows)
  })
  beforeEach(() => {
    statements = []
  })
  after(() => world.close())

  it('reads for all who wait at the same time in few statements, and gives each their own task', async () => {
    const { find } = list()
    const ids = Array.from({ length: 4 * TASKS }, (_, n) => 1 + (n % (TASKS + 1)))
    const found = await Promise.all(ids.map(find))
    expect(found.map((task) => task?.title)).to.deep.equal(
      ids.map((id) => (id > TASKS ? undefined : `Task ${id}`)),
    )
    expect(statements.length).to.be.below(8)
  })

  it('lets a task whose text is damaged spoil no other that is read with it', async () => {
    const damage = `update tasks set title = jsonb_set(title, '{cipher}', '"damaged"') where id = 7`
    await world.sql.query(damage)
    const { find } = list()
    const outcomes = await Promise.allSettled([1, 7, 8, 7, 9].map(find))
    expect(outcomes.map(({ status }) => status === 'fulfilled')).to.deep.equal([
      true,
      false,
      true,
      false,
      true,
    ])
  })

  it('shows a task as it is when it is asked for, never as it was before', async () => {
    const { find } = list()
    for (let version = 2; version < 30; version++) {
      const earlier = Array.from({ length: 20 }, () => find(3))
      await world.sql.query('update tasks set version = $1 where id = 3', [version])
      expect(await find(3)).to.have.property('version', version)
      await Promise.all(earlier)
    }
  })

  it('gives ids that nobody has had, drawn in blocks', async () => {
    const [one, other] = [list(), list()]
    const drawn = await Promise.all(
      Array.from({ length: 220 }, (_, n) => (n % 2 === 0 ? one : other).nextId()),
    )
    expect(new Set(drawn)).to.have.property('size', 220)
    expect(statements.length).to.equal(6)
  })

  it('draws again after the database was away', async () => {
    let away = true
    const db: Database = {
      ...world.db,
      query: (...statement) =>
        away ? Promise.reject(new Error('away')) : world.db.query(...statement),
    }
    const { nextId } = postgresTaskList(db, postgresUserKeys(db, wrap))
    const failed = await Promise.allSettled([nextId(), nextId()])
    expect(failed.map(({ status }) => status)).to.deep.equal(['rejected', 'rejected'])
    away = false
    expect(await nextId()).to.be.a('number')
  })

  describe('of tasks that were read lately', () => {
    const USER = 10
    const OTHERS = [11, 12, 13]
    const of = (user_id: number, more: Partial<TaskQuery> = {}) => ({ ...NEWEST, user_id, ...more })
    const damage = (id: number) =>
      world.sql.query(
        `update tasks set title = jsonb_set(title, '{cipher}', '"damaged"') where id = $1`,
        [id],
      )

    beforeEach(async () => {
      await world.sql.query('delete from tasks where user_id >= $1', [USER])
      const rows = [USER, ...OTHERS].flatMap((user_id) =>
        Array.from({ length: 10 }, (_, n) => ({
          id: user_id * 100 + n,
          user_id,
          title: `Task ${n} of ${user_id}`,
          priority: (['low', 'medium', 'high'] as const)[n % 3] ?? 'low',
          created_at: `2026-01-01T00:00:00.00${n}Z`,
        })),
      )
      await insertTasks(world.sql, wrap, rows)
    })

    it('has a page at hand once all of it was read, and only then', async () => {
      const { find, list: page, recent } = list()
      expect(await recent(of(USER))).to.equal(null)
      await find(USER * 100)
      expect(await recent(of(USER))).to.equal(null)
      const read = await page(of(USER))
      expect(await recent(of(USER))).to.deep.equal(read)
      expect(read.tasks).to.have.length(10)
    })

    const order = fc.record({
      sort: fc.constantFrom('created_at', 'updated_at', 'due_date', 'priority'),
      descending: fc.boolean(),
      limit: fc.integer({ min: 1, max: 12 }),
      status: fc.constantFrom(undefined, ['pending'] as const, ['pending', 'completed'] as const),
      priority: fc.constantFrom(undefined, ['high'] as const),
    })
    const n = fc.integer({ min: 0, max: 9 })
    const write = fc.oneof(
      fc.tuple(fc.constant(`set status = 'completed', version = version + 1`), n),
      fc.tuple(fc.constant(`set deleted_at = now(), version = version + 1`), n),
      fc.tuple(fc.constant(`set deleted_at = null, version = version + 1`), n),
      fc.tuple(fc.constant(`set due_date = '2027-01-01'`), n),
      fc.tuple(fc.constant(`set title = (select title from tasks o where o.id = tasks.id)`), n),
    )

    it('shows what it shows when it reads all of it, whatever was written meanwhile', async () => {
      const { list: page, recent } = list()
      const step = fc.oneof(write, order)
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
          for (const each of steps) {
            if (Array.isArray(each)) {
              const [set, n] = each
              await world.sql.query(`update tasks ${set} where id = $1`, [USER * 100 + n])
              continue
            }
            const query = of(USER, each as Partial<TaskQuery>)
            const lately = await recent(query)
            const whole = await page(query)
            if (lately !== null) expect(lately).to.deep.equal(whole)
            expect(await recent(query)).to.deep.equal(whole)
            if (whole.next === null) continue
            const rest = { ...query, after: whole.next }
            const end = await page(rest)
            expect(await recent(rest)).to.deep.equal(end)
          }
        }),
        { numRuns: 100 },
      )
    })

    it('does not hide that a text is damaged, though it was read when it was whole', async () => {
      const { find, list: page, recent } = list()
      await page(of(USER))
      await damage(USER * 100 + 4)
      expect(await recent(of(USER))).to.equal(null)
      for (const read of [() => page(of(USER)), () => find(USER * 100 + 4)]) {
        const error = await read().catch((thrown) => thrown)
        expect(error).to.have.property('code', 'texts_unavailable')
      }
    })

    it('shows nothing under another key than the one that decrypted it', async () => {
      const { find, list: page, recent } = list()
      await insertTasks(world.sql, wrap, [{ id: 2_100, user_id: 21, title: 'Read before' }])
      await page(of(21))
      const wrapped = await wrap.wrap(newDataKey(), 21)
      await world.sql.query('update user_keys set wrapped_key = $1 where user_id = 21', [wrapped])
      expect(await recent(of(21))).to.equal(null)
      const error = await find(2_100).catch((thrown) => thrown)
      expect(error).to.have.property('code', 'texts_unavailable')
    })

    it('shows nothing of a user whose key is destroyed', async () => {
      const { find, list: page, recent } = list()
      await insertTasks(world.sql, wrap, [{ id: 2_000, user_id: 20, title: 'Read before' }])
      expect((await page(of(20))).tasks).to.have.length(1)
      await destroyKey(world.sql, 20)
      expect(await recent(of(20))).to.deep.equal({ tasks: [], next: null })
      expect(await page(of(20))).to.deep.equal({ tasks: [], next: null })
      expect(await find(2_000)).to.equal(null)
    })

    it('asks for all who wait at the same time in few statements, and gives each their own', async () => {
      const { list: page, recent } = list()
      const users = [USER, ...OTHERS, 99]
      for (const user of users) await page(of(user))
      statements = []
      const asked = Array.from({ length: 100 }, (_, n) => users[n % users.length] as number)
      const pages = await Promise.all(asked.map((user) => recent(of(user))))
      expect(pages.map((found) => found?.tasks.map(({ title }) => title))).to.deep.equal(
        asked.map((user) =>
          user === 99 ? [] : Array.from({ length: 10 }, (_, n) => `Task ${9 - n} of ${user}`),
        ),
      )
      expect(statements.length).to.be.below(5)
    })
  })
})
