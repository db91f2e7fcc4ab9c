import { expect } from 'chai'
import { secretKeyWrap } from '../../../../src/infra/encryption/text-cipher.ts'
import { postgresUserKeys } from '../../../../src/infra/encryption/user-keys.ts'
import type { Database } from '../../../../src/infra/postgres/connection/database.ts'
import { postgresTaskList } from '../../../../src/infra/postgres/tasks/task-list.ts'
import { insertTasks } from '../../../support/task-rows.ts'
import { type TaskWorld, taskWorld } from '../../../support/task-world.ts'

const TASKS = 60
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
})
