import { expect } from 'chai'
import pg from 'pg'
import type { TaskEvent } from '../../../../src/domain/task/events.ts'
import type { TaskView } from '../../../../src/domain/task/view.ts'
import { type Database, openDatabase } from '../../../../src/infra/postgres/connection/database.ts'
import { postgresEventStore } from '../../../../src/infra/postgres/event-store/event-store.ts'
import { expiredAnswers } from '../../../../src/infra/postgres/event-store/expired-answers.ts'
import { append, created, key } from '../../../support/appends.ts'
import { silent } from '../../../support/log.ts'
import { type TestDatabase, testDatabase } from '../../../support/postgres.ts'
import { until } from '../../../support/processes.ts'

describe('Stored answers that have expired', () => {
  let test: TestDatabase
  let sql: pg.Client
  let databases: Database[]
  let removing: ReturnType<typeof expiredAnswers> | undefined

  beforeEach(async () => {
    test = await testDatabase()
    sql = new pg.Client(test.url)
    await sql.connect()
    databases = []
  })
  afterEach(async () => {
    await removing?.close()
    removing = undefined
    await Promise.all([sql.end(), ...databases.map(({ close }) => close())])
    await test.drop()
  })

  const as = (role: string): Database => {
    const db = openDatabase({ ...test.config, role, log: silent })
    databases.push(db)
    return db
  }
  const keep = (actor_id: number, count: number, expires: string) =>
    sql.query(
      `insert into commands (actor_id, key, fingerprint, stream_id, version, expires_at)
       select $1, $3 || n, '', 'task-1', 1, now() + $3::interval
       from generate_series(1, $2) n`,
      [actor_id, count, expires],
    )
  const left = async () =>
    (
      await sql.query(
        'select actor_id::int, count(*)::int as n from commands group by 1 order by 1',
      )
    ).rows.map(({ actor_id, n }) => [actor_id, n])

  it('cost an append nothing, however many there are', async () => {
    await keep(1, 5_000, '-1 hour')
    const store = postgresEventStore<TaskEvent, TaskView>(as('tasktrail_task'))
    const facts = append(1, [created()], { command: key('new', 'one') })
    expect(await store.append(facts)).to.have.property('outcome', 'appended')
    expect(await left()).to.deep.equal([[1, 5_001]])
  })

  it('are removed by the worker in bounded steps, also of who sends no key any more; no others are', async () => {
    await keep(1, 2_500, '-1 hour')
    await keep(2, 10, '-1 second')
    await keep(2, 3, '1 hour')
    const steps: number[] = []
    removing = expiredAnswers(as('tasktrail_worker'), silent, (count) => steps.push(count), 5)
    await until(async () => (await left()).length === 1, 'the removal')
    expect(await left()).to.deep.equal([[2, 3]])
    expect(steps.filter((count) => count > 0)).to.deep.equal([1_000, 1_000, 510])
    await keep(3, 1, '-1 second')
    await until(async () => (await left()).length === 1, 'the removal after some time')
  })

  it('are removed later, when the database is away', async () => {
    await keep(1, 1, '-1 hour')
    const db = as('tasktrail_worker')
    let isAway = true
    const warned: unknown[] = []
    const log = { ...silent, warn: (facts: object) => void warned.push(facts) }
    const away: Database = {
      ...db,
      query: (...call) => (isAway ? Promise.reject(new Error('away')) : db.query(...call)),
    }
    removing = expiredAnswers(away, log, () => {}, 5)
    await until(async () => warned.length > 1, 'two tries')
    expect(warned[0]).to.deep.equal({ err: 'away' })
    isAway = false
    await until(async () => (await left()).length === 0, 'the removal')
  })
})
