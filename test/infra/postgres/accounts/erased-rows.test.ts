import { expect } from 'chai'
import pg from 'pg'
import { type ErasedRows, erasedRows } from '../../../../src/infra/postgres/accounts/erased-rows.ts'
import {
  dropRebuildRemains,
  removeErasedRows,
} from '../../../../src/infra/postgres/accounts/erasure.ts'
import { rebuild } from '../../../../src/infra/postgres/projections/rebuild/rebuild.ts'
import { destroyKey, eraseUser } from '../../../support/erase.ts'
import { silent } from '../../../support/log.ts'
import { until } from '../../../support/processes.ts'
import { type TaskWorld, taskWorld } from '../../../support/task-world.ts'

describe('What is left of erased users', () => {
  let world: TaskWorld
  let erased: ErasedRows | undefined

  beforeEach(async () => {
    world = await taskWorld()
  })
  afterEach(async () => {
    await erased?.close()
    erased = undefined
    await world.close()
  })

  const erase = (user_id: number) => eraseUser(world.sql, user_id)
  const leaveTasks = (user_id: number, count: number, from = user_id * 100_000) =>
    world.sql.query(
      `insert into tasks (id, user_id, title, status, priority, created_at, updated_at, version)
       select $2 + n, $1, '"Private"', 'pending', 'low', now(), now(), 1
       from generate_series(1, $3) n`,
      [user_id, from, count],
    )
  const leaveAnswers = (user_id: number, count: number) =>
    world.sql.query(
      `insert into commands (actor_id, key, fingerprint, stream_id, version, expires_at)
       select $1, n::text, '', 'task-1', 1, now() from generate_series(1, $2) n`,
      [user_id, count],
    )
  const tasksOf = async () => {
    const { rows } = await world.sql.query(
      'select user_id::int, count(*)::int as n from tasks group by 1 order by 1',
    )
    return rows.map(({ user_id, n }) => [user_id, n])
  }
  const marked = async () => {
    const { rows } = await world.sql.query(
      'select user_id::int from user_keys where rows_removed_at is not null order by 1',
    )
    return rows.map(({ user_id }) => user_id)
  }
  const step = () => removeErasedRows(world.db)

  it('goes in steps, user by user, and nobody else loses anything', async () => {
    for (const user of [1, 2, 3]) await leaveTasks(user, 3)
    await leaveTasks(3, 1_200, 350_000)
    await leaveAnswers(3, 1)
    for (const user of [1, 3]) await erase(user)
    const steps = [await step(), await step()]
    expect([steps, await marked()]).to.deep.equal([[3, 0], [1]])
    for (let left = await step(); left !== null; left = await step()) steps.push(left)
    expect(steps).to.deep.equal([3, 0, 1_001, 203, 0])
    expect(await marked()).to.deep.equal([1, 3])
    expect(await tasksOf()).to.deep.equal([[2, 3]])
    const { rowCount } = await world.sql.query('select from commands')
    expect(rowCount).to.equal(0)
  })

  it('is nothing of a user whose key was destroyed and who was not erased', async () => {
    for (const user of [1, 2]) await leaveTasks(user, 3)
    await leaveAnswers(1, 1)
    await destroyKey(world.sql, 1)
    await erase(2)
    while ((await step()) !== null);
    await world.sql.query('select remove_erased_rows(1)')
    expect([await tasksOf(), await marked()]).to.deep.equal([[[1, 3]], [2]])
    expect((await world.sql.query('select from commands')).rowCount).to.equal(1)
  })

  it('is not looked for again once nothing is left of a user', async () => {
    for (const user of [1, 2]) await erase(user)
    while ((await step()) !== null);
    await leaveTasks(1, 1)
    await leaveTasks(3, 1)
    await erase(3)
    while ((await step()) !== null);
    expect(await tasksOf()).to.deep.equal([[1, 1]])
  })

  it('is found without reading the whole table, whatever the statistics say', async () => {
    for (let round = 0; round < 50; round++) {
      for (const user of [1, 2]) await leaveTasks(user, 100, user * 100_000 + round * 100)
    }
    await world.sql.query('analyze tasks')
    await world.sql.query('delete from tasks where user_id = 2')
    await erase(2)
    // What was read until here is not counted any more.
    await world.sql.query('select pg_stat_force_next_flush()')
    await world.sql.query('begin')
    expect(await world.sql.query('select remove_erased_rows(2)')).to.have.property('rowCount', 1)
    const { rows } = await world.sql.query(
      `select seq_tup_read::int as read from pg_stat_xact_user_tables where relname = 'tasks'`,
    )
    await world.sql.query('rollback')
    expect(rows).to.deep.equal([{ read: 0 }])
  })

  it('is removed from the table that takes the place of the one that was waited for', async () => {
    await erase(1)
    const remover = new pg.Client(world.test.url)
    await remover.connect()
    try {
      // Its session has the plans.
      await remover.query('begin; select remove_erased_rows(1); rollback')
      await world.sql.query('begin; lock table tasks in access exclusive mode')
      const removed = remover.query('select remove_erased_rows(1)::int as n')
      const waits = `select from pg_locks where relation = 'tasks'::regclass and not granted`
      await until(async () => (await world.sql.query(waits)).rowCount === 1, 'a removal that waits')
      await world.sql.query(
        'alter table tasks rename to tasks_replaced; create table tasks (like tasks_replaced including defaults)',
      )
      await leaveTasks(1, 1)
      await world.sql.query('commit')
      expect((await removed).rows).to.deep.equal([{ n: 1 }])
      expect([await tasksOf(), await marked()]).to.deep.equal([[], []])
    } finally {
      await remover.end()
    }
  })

  it('is looked for again and again, when nobody says that there is something', async () => {
    erased = erasedRows(world.db, silent, 10)
    for (const user of [1, 2]) {
      await leaveTasks(user, 1)
      await erase(user)
      await until(async () => (await tasksOf()).length === 0, 'the removal')
    }
  })

  describe('in a rebuild of tasks', () => {
    const remains = async () => {
      const { rows } = await world.sql.query(`
        select relname as name from pg_class where relname in ('tasks_rebuild', 'tasks_replaced')
        union all select name from projections where name ~ '_rebuild' order by name`)
      return rows.map(({ name }) => name)
    }
    const start = (during: () => Promise<unknown>) => {
      const { db, keys, test } = world
      const { connection } = test.config
      const onProgress = async ({ step }: { step: string }) => {
        if (step === 'comparing') await during()
      }
      return rebuild({ name: 'tasks', connection, db, keys, rest: 0, onProgress })
    }
    const kill = () =>
      world.sql.query(`select pg_terminate_backend(pid, 5000) from pg_stat_activity
        where application_name = 'rebuild tasks' and datname = current_database()`)

    it('goes with what it left when it was killed', async () => {
      await world.create(1)
      const failed = await start(kill).then(
        () => 'rebuilt',
        () => 'failed',
      )
      await world.sql.query('create table tasks_replaced (like tasks)')
      expect(failed).to.equal('failed')
      expect(await remains()).to.deep.equal(['tasks_rebuild', 'tasks_rebuild', 'tasks_replaced'])
      erased = erasedRows(world.db, silent)
      await until(async () => (await remains()).length === 0, 'the end of what was left')
      expect(await world.rows()).to.have.length(1)
    })

    it('is left to it while it is under way', async () => {
      await world.create(1)
      let dropped: boolean | undefined
      await start(async () => {
        dropped = await dropRebuildRemains(world.db)
      })
      expect(dropped).to.equal(false)
      expect(await remains()).to.deep.equal([])
      expect(await world.rows()).to.have.length(1)
    })
  })
})
