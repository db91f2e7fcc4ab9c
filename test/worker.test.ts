import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import type pg from 'pg'
import { newDataKey, secretKeyWrap } from '../src/infra/encryption/text-cipher.ts'
import { caughtUp, connect, expectFoldOfLog } from './support/audit-fold.ts'
import { eraseUser } from './support/erase.ts'
import { type TestDatabase, testDatabase } from './support/postgres.ts'
import { isRunning, until } from './support/processes.ts'
import { tasksInLog } from './support/tasks-in-log.ts'
import { type TcpProxy, tcpProxy } from './support/tcp-proxy.ts'
import { WORKER_SECRETS, workers } from './support/workers.ts'

describe('The worker as a process', () => {
  let database: TestDatabase
  let sql: pg.Client
  let log: ReturnType<typeof tasksInLog>
  let processes: ReturnType<typeof workers>
  let proxy: TcpProxy | undefined

  beforeEach(async () => {
    database = await testDatabase()
    sql = await connect(database.url)
    log = tasksInLog(database)
    processes = workers(database.url)
  })
  afterEach(async () => {
    processes.killAll()
    await proxy?.close()
    proxy = undefined
    await Promise.all([log.close(), sql.end()])
    await database.drop()
  })

  /** The key of a user, as a worker with other secrets wrapped it. */
  const addKey = (user_id: number, wrapped: Buffer, by: string) =>
    sql.query('insert into user_keys (user_id, wrapped_key, wrapped_by) values ($1, $2, $3)', [
      user_id,
      wrapped,
      by,
    ])

  const one = async (statement: string): Promise<number> => {
    const { rows } = await sql.query(statement)
    return Number(rows[0].n)
  }
  const published = () => one('select published_position as n from log_checkpoint')
  const head = () => one('select max(position) as n from events')

  it('says all that its environment misses or holds that makes no sense, at once', async () => {
    const worker = await processes.start({
      DATABASE_URL: '',
      TEXT_KEY: '',
      LOG_KEY: 'brief-secret',
      LOG_INTERVAL_MS: '0',
      TEXT_KEY_PREVIOUS: 'brief-secret',
      DRAIN_SECONDS: '-1',
    })
    expect(await worker.ended).to.equal('code 1')
    expect(worker.out).to.deep.equal([])
    expect(worker.err).to.deep.equal([
      'The environment is not complete: TEXT_KEY is missing; DB_HOST is missing; ' +
        'DB_NAME is missing; DB_USER is missing; DB_PASSWORD is missing. ' +
        'The environment is malformed: DRAIN_SECONDS must be a whole number from 0 to 60; ' +
        'TEXT_KEY_PREVIOUS must be at least 32 characters long; ' +
        'LOG_KEY must be at least 32 characters long; ' +
        'LOG_INTERVAL_MS must be a whole number from 50 to 60000.',
    ])
  })

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`lets go of its locks and ends with 0 on ${signal}`, async () => {
      const worker = await processes.start()
      await until(worker.leads, 'a leader')
      worker.child.kill(signal)
      expect(await worker.ended).to.equal('code 0')
      const sessions = `select from pg_stat_activity
        where datname = current_database() and application_name like 'tasktrail_worker%'`
      await until(async () => (await sql.query(sessions)).rowCount === 0, 'the end of its sessions')
    })
  }

  it('shows how far each projection is, to people and to Prometheus', async () => {
    const worker = await processes.start()
    await log.create(3)
    await caughtUp(sql)
    await until(worker.leads, 'a leader')
    expect(await worker.health()).to.deep.equal({
      status: 'healthy',
      service: 'worker',
      projections: [
        {
          name: 'audit',
          state: 'live',
          position: 4,
          head: 4,
          lag_positions: 0,
          lag_seconds: 0,
          leader: true,
          parked_streams: 0,
          parked: [],
        },
      ],
    })
    const metrics = await (await fetch(`${worker.url}/worker/metrics`)).text()
    for (const line of [
      'tasktrail_projection_lag_positions{projection="audit"} 0',
      'tasktrail_projection_lag_seconds{projection="audit"} 0',
      'tasktrail_projection_parked_streams{projection="audit"} 0',
      'tasktrail_projection_events_total{projection="audit"} 4',
    ]) {
      expect(metrics.split('\n')).to.include(line)
    }
    expect((await fetch(`${worker.url}/ready`)).status).to.equal(200)
    const lag = JSON.parse(await worker.line(/"projection lag"/))
    expect(lag).to.include({ projection: 'audit', state: 'live', parked_streams: 0 })
    expect(lag.lag_seconds).to.be.a('number')
    expect(JSON.parse(await worker.line(/"log lag"/)).unlogged_seconds).to.be.a('number')
  })

  it('shows a lag while it cannot continue', async () => {
    const worker = await processes.start()
    await sql.query(`update projections set state = 'parked'`)
    await log.create(1)
    await until(async () => {
      const [audit] = (await worker.health().catch(() => ({}))).projections ?? []
      return audit?.state === 'parked' && audit.lag_positions === 2 && audit.lag_seconds > 0
    }, 'a lag')
  })

  it('is healthy while the database is down, and continues when it is back', async () => {
    const { host = '', port = 0 } = database.config.connection
    proxy = await tcpProxy({ host, port })
    proxy.cut()
    const url = new URL(database.url)
    url.port = String(proxy.port)
    const worker = await processes.start({ DATABASE_URL: url.href })
    await worker.line(/"listening"/)
    const metrics = async () => {
      const response = await fetch(`${worker.url}/worker/metrics`)
      expect(response.status).to.equal(200)
      return response.text()
    }
    const lag = 'tasktrail_projection_lag_seconds{'
    for (let round = 0; round < 2; round++) {
      expect(await worker.health()).to.deep.equal({ status: 'healthy', service: 'worker' })
      expect(await metrics()).not.to.include(lag)
      expect((await fetch(`${worker.url}/ready`)).status).to.equal(503)
      await log.create(2)
      proxy.restore()
      await caughtUp(sql)
      await until(async () => (await metrics()).includes(lag), 'a lag')
      proxy.cut()
    }
    expect(isRunning(worker.pid)).to.equal(true)
    await expectFoldOfLog(database)
  })

  it('signs what has been written, within a second', async () => {
    const worker = await processes.start()
    await log.create(2)
    await until(async () => (await published()) === (await head()), 'a checkpoint')
    const metrics = await (await fetch(`${worker.url}/worker/metrics`)).text()
    expect(metrics).to.match(/^tasktrail_checkpoints_total [1-9]/m)
    expect(metrics).to.match(/^tasktrail_logged_events_total 3$/m)
  })

  it('signs nothing when the checkpoint was removed, and says so', async () => {
    const worker = await processes.start()
    await log.create(2)
    await until(async () => (await published()) === (await head()), 'a checkpoint')
    await sql.query('alter table log_checkpoint disable trigger all; delete from log_checkpoint')
    await log.create(3)
    const { level, err } = JSON.parse(
      await worker.line(/"signing has stopped: the log of checkpoints/),
    )
    expect({ level, err }).to.eql({ level: 'error', err: 'the checkpoint is missing' })
    const metrics = await (await fetch(`${worker.url}/worker/metrics`)).text()
    expect(metrics).to.match(/^tasktrail_checkpoint_refusals_total [1-9]/m)
    expect((await sql.query('select from log_checkpoint')).rowCount).to.equal(0)
  })

  it('signs no event that was changed since it was appended, and says so', async () => {
    await log.create(2)
    await sql.query(
      `alter table events disable trigger all; update events set actor_id = actor_id + 1`,
    )
    const worker = await processes.start()
    const { level, err } = JSON.parse(
      await worker.line(/"signing has stopped: an event was changed"/),
    )
    expect(level).to.equal('error')
    expect(err).to.match(/^task-\d+ version 1 \(position 1\) has a hash/)
    expect(await published()).to.equal(0)
  })

  it('rewraps data keys that a previous key has wrapped, and no others', async () => {
    const [previous, lost] = [randomUUID(), randomUUID()]
    const [before, foreign] = [secretKeyWrap(previous), secretKeyWrap(lost)]
    const now = secretKeyWrap(WORKER_SECRETS.TEXT_KEY)
    const key = newDataKey()
    await addKey(1, await before.wrap(key, 1), before.id)
    await addKey(2, await now.wrap(key, 2), now.id)
    await addKey(3, await foreign.wrap(key, 3), foreign.id)
    await sql.query('insert into user_keys (user_id, destroyed_at) values (4, now())')
    const worker = await processes.start({ TEXT_KEY_PREVIOUS: previous })
    expect(JSON.parse(await worker.line(/"rewrapped data keys"/))).to.include({ keys: 1 })
    const left = JSON.parse(await worker.line(/cannot rewrap data keys/))
    expect(left).to.include({ level: 'error', keys: 1 })
    expect(left.err).to.include(foreign.id)
    const { rows } = await sql.query('select * from user_keys order by user_id')
    expect(rows.map(({ wrapped_by }) => wrapped_by)).to.deep.equal([
      now.id,
      now.id,
      foreign.id,
      null,
    ])
    expect(await now.unwrap(rows[0].wrapped_key, now.id, 1)).to.deep.equal(key)
  })

  it('removes what is left of erased users, at the start and when it projects an erasure', async () => {
    const leaveTask = async (id: number, user_id: number) => {
      await sql.query(
        `insert into tasks (id, user_id, title, status, priority, created_at, updated_at, version)
        values ($1, $2, '"Private"', 'pending', 'low', now(), now(), 1)`,
        [id, user_id],
      )
    }
    const noTask = async () => (await sql.query('select from tasks')).rowCount === 0
    await leaveTask(1, 11)
    await eraseUser(sql, 11)
    const worker = await processes.start()
    await until(noTask, 'the removal at the start')
    await until(worker.leads, 'a leader')
    await leaveTask(2, 12)
    await eraseUser(sql, 12)
    await until(noTask, 'the removal after an erasure')
    await caughtUp(sql)
    const { rows } = await sql.query('select task_id, user_id, type, changes from audit_events')
    expect(rows).to.deep.equal(
      ['11', '12'].map((user_id) => ({ task_id: null, user_id, type: 'UserErased', changes: {} })),
    )
  })
})
