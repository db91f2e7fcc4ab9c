import { expect } from 'chai'
import type pg from 'pg'
import { auditProjection } from '../../../../src/infra/postgres/audit/audit-projection.ts'
import { type Database, openDatabase } from '../../../../src/infra/postgres/connection/database.ts'
import type { Leadership } from '../../../../src/infra/postgres/connection/leader.ts'
import { listenForEvents } from '../../../../src/infra/postgres/connection/wake-up.ts'
import { park, resume } from '../../../../src/infra/postgres/projections/parking.ts'
import { BadEvent, type Projection } from '../../../../src/infra/postgres/projections/projection.ts'
import { projectionStatus } from '../../../../src/infra/postgres/projections/projection-status.ts'
import {
  type ProjectorOptions,
  projector,
} from '../../../../src/infra/postgres/projections/projector.ts'
import { created, renamed } from '../../../support/appends.ts'
import { caughtUp, connect, expectFoldOfLog } from '../../../support/audit-fold.ts'
import { lateWriters } from '../../../support/late-writers.ts'
import { silent } from '../../../support/log.ts'
import { type TestDatabase, testDatabase } from '../../../support/postgres.ts'
import { until } from '../../../support/processes.ts'
import { tasksInLog } from '../../../support/tasks-in-log.ts'
import { tcpProxy } from '../../../support/tcp-proxy.ts'

const ROLE = 'tasktrail_worker'
const NEVER = { subscribe: () => () => {} }

/** Serves as the audit projection, but for events that are called bad. */
const failing = (isBad: (stream_id: string, version: number) => boolean): Projection => ({
  name: 'audit',
  begin(read) {
    const { project } = auditProjection().begin(read)
    return {
      async project(events) {
        const bad = events.find(({ stream_id, version }) => isBad(stream_id, version))
        if (bad !== undefined) throw new BadEvent(bad, new Error('it is bad'))
        return project(events)
      },
    }
  },
})

describe('A projector', () => {
  let database: TestDatabase
  let db: Database
  let sql: pg.Client
  let log: ReturnType<typeof tasksInLog>
  let running: Leadership[]

  beforeEach(async () => {
    database = await testDatabase()
    db = openDatabase({ ...database.config, role: ROLE, log: silent })
    sql = await connect(database.url)
    log = tasksInLog(database)
    running = []
  })
  afterEach(async () => {
    await Promise.all(running.map(({ close }) => close()))
    await Promise.all([db.close(), log.close(), sql.end()])
    await database.drop()
  })

  const start = (options: Partial<ProjectorOptions> = {}) => {
    const { connection } = database.config
    const place = { connection, role: ROLE, db, wake: NEVER, log: silent }
    const started = projector({ projection: auditProjection(), ...place, ...options })
    running.push(started)
    return started
  }
  const status = async () => {
    const [found] = await projectionStatus(db.query)
    if (found === undefined) throw new Error('no status')
    return found
  }
  const rowsOf = async (id: number) =>
    (
      await sql.query('select version from audit_events where task_id = $1 order by position', [id])
    ).rows.map(({ version }) => Number(version))

  it('writes the fold of the log, in small batches as in large ones', async () => {
    for (let task = 0; task < 20; task++) await log.create(task % 4)
    start({ batchSize: 3 })
    await caughtUp(sql)
    expect(await expectFoldOfLog(database)).to.equal(50)
    expect(await status()).to.deep.include({ lag_positions: 0, lag_seconds: 0, parked: [] })
  })

  it('goes on from where another one stopped', async () => {
    const id = await log.create(2)
    const first = start()
    await caughtUp(sql)
    await first.close()
    start()
    await caughtUp(sql)
    await log.add(id, [renamed('One more')])
    await caughtUp(sql)
    await expectFoldOfLog(database)
  })

  it('skips and repeats none of 8 writers that commit late or roll back', async () => {
    start({ batchSize: 10 })
    await lateWriters(database.url, { writers: 8, ms: 2_000 })
    await caughtUp(sql)
    await expectFoldOfLog(database)
  })

  it('writes a batch and its checkpoint, or neither', async () => {
    await sql.query(`alter table audit_facts add constraint none check (stream_id <> 'task-3')`)
    for (let task = 0; task < 3; task++) await log.create()
    start({ batchSize: 3 })
    await until(async () => (await status()).parked_streams > 0, 'a parked stream')
    // The rows of events were written before the facts failed, each of five times.
    expect(await rowsOf(1)).to.deep.equal([1])
    expect(await rowsOf(2)).to.deep.equal([1])
    expect(await rowsOf(3)).to.deep.equal([])
  })

  it('aborts when the checkpoint is not where it left it, and begins again from there', async () => {
    await log.create()
    start()
    await caughtUp(sql)
    // As another worker would, past an event that this one then must not write.
    await sql.query('begin')
    await sql.query(`
      update projections set position = position + 1, updated_at = clock_timestamp()`)
    const skipped = await log.create()
    await sql.query('commit')
    const next = await log.create()
    await caughtUp(sql)
    expect(await rowsOf(skipped)).to.deep.equal([])
    expect(await rowsOf(next)).to.deep.equal([1])
  })

  it('is not held up by a long transaction on another table', async () => {
    const other = await connect(database.url)
    await other.query('begin; create table busy (n int); select txid_current()')
    start()
    await log.create(1)
    await caughtUp(sql, 5_000)
    await other.end()
  })

  it('learns of events at once, and by polling when nobody notifies it', async () => {
    const { connection } = database.config
    const listener = listenForEvents({ connection, role: ROLE, log: silent })
    try {
      start({ wake: listener })
      await log.create()
      await caughtUp(sql)
      const killed = await sql.query(`
        select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = '${ROLE} listener' and datname = current_database()`)
      expect(killed.rowCount).to.equal(1)
      await log.create()
      await caughtUp(sql, 5_000)
    } finally {
      await listener.close()
    }
  })

  it('goes on after the database was away', async () => {
    const { connection } = database.config
    const { host = '', port = 0 } = connection
    const proxy = await tcpProxy({ host, port })
    start({ connection: { ...connection, port: proxy.port } })
    await log.create()
    await caughtUp(sql)
    proxy.cut()
    await log.create()
    proxy.restore()
    await caughtUp(sql)
    await expectFoldOfLog(database)
    await proxy.close()
  })

  it('does nothing while it is parked, and goes on when it is resumed', async () => {
    start()
    await log.create()
    await caughtUp(sql)
    expect(await park(database.config, auditProjection())).to.equal(
      'The projection audit is parked at position 1.',
    )
    const id = await log.create()
    await until(async () => (await status()).lag_seconds > 1, 'a lag')
    expect(await status()).to.deep.include({ state: 'parked', position: 1, head: 2 })
    expect(await rowsOf(id)).to.deep.equal([])
    await resume(database.config, auditProjection())
    await caughtUp(sql)
    await expectFoldOfLog(database)
  })

  describe('that meets a bad event', () => {
    it('parks its stream, and brings all others up to date', async () => {
      const before = await log.create(1)
      const bad = await log.create(3)
      const after = await log.create(2)
      const said: string[] = []
      const error = (_: object, what: string) => void said.push(what)
      const projection = failing((stream_id, version) => stream_id === `task-${bad}` && version > 1)
      start({ projection, log: { ...silent, error } })
      await caughtUp(sql)
      expect(said).to.deep.equal(['stream parked'])
      expect(await rowsOf(before)).to.deep.equal([1, 2])
      expect(await rowsOf(bad)).to.deep.equal([1])
      expect(await rowsOf(after)).to.deep.equal([1, 2, 3])
      const [parked] = (await status()).parked
      expect(parked).to.include({ stream_id: `task-${bad}`, version: 2, position: 4 })
      expect(parked?.error).to.equal(`event 2 of task-${bad} (position 4): it is bad`)
    })

    it('parks hundreds of streams in one batch, which brings all others up to date', async () => {
      for (let task = 0; task < 300; task++) await log.create(1)
      const good = await log.create(1)
      let batches = 0
      const isBad = (stream_id: string, version: number) =>
        version === 2 && stream_id !== `task-${good}`
      start({ projection: failing(isBad), onBatch: () => void batches++ })
      await caughtUp(sql)
      expect(batches).to.equal(1)
      expect(await status()).to.include({ parked_streams: 300 })
      expect(await rowsOf(1)).to.deep.equal([1])
      expect(await rowsOf(good)).to.deep.equal([1, 2])
    })

    it('leaves out what follows in its stream, whichever batch that is in', async () => {
      const bad = await log.create(3)
      await log.create(1)
      await log.add(bad, [renamed('Later')])
      start({ projection: failing((_, version) => version === 3), batchSize: 2 })
      await caughtUp(sql)
      expect(await rowsOf(bad)).to.deep.equal([1, 2])
      await resume(database.config, auditProjection(), `task-${bad}`)
      await expectFoldOfLog(database)
    })

    it('resumes the stream in order once it is no longer bad, with what came meanwhile', async () => {
      const bad = await log.create(2)
      const first = start({ projection: failing((_, version) => version === 2) })
      await caughtUp(sql)
      await log.add(bad, [renamed('Later')])
      await caughtUp(sql)
      expect(await rowsOf(bad)).to.deep.equal([1])
      const refused = await resume(
        database.config,
        failing(() => true),
        `task-${bad}`,
      ).catch(({ message }) => message)
      expect(refused).to.include('it is bad')
      expect(await status()).to.have.property('parked_streams', 1)
      await first.close()

      start()
      expect(await resume(database.config, auditProjection(), `task-${bad}`)).to.equal(
        `task-${bad} is resumed in audit: 3 events processed, up to position 4.`,
      )
      await log.add(bad, [renamed('Last')])
      await caughtUp(sql)
      expect(await status()).to.have.property('parked_streams', 0)
      await expectFoldOfLog(database)
    })

    it('goes on when whoever resumes a stream froze', async () => {
      const id = await log.create()
      start()
      await caughtUp(sql)
      await park(database.config, auditProjection(), `task-${id}`)
      await log.add(id, [renamed('Later')])
      await caughtUp(sql)
      const frozen = Promise.withResolvers<void>()
      const thawed = Promise.withResolvers<[]>()
      // The first step leaves the checkpoint free, so it moves on; the last one holds it, and freezes.
      let steps = 0
      const project = async () => {
        steps++
        if (steps > 1) {
          frozen.resolve()
          return thawed.promise
        }
        await log.add(id, [renamed('Meanwhile')])
        await caughtUp(sql)
        return []
      }
      const freezing = { name: 'audit', begin: () => ({ project }) }
      const resuming = resume(database.config, freezing, `task-${id}`).catch(
        ({ message }) => message,
      )
      await frozen.promise
      const other = await log.create()
      await caughtUp(sql, 15_000)
      expect(await rowsOf(other)).to.deep.equal([1])
      thawed.resolve([])
      expect(await resuming)
        .to.be.a('string')
        .and.not.include('goes on')
      expect(await status()).to.have.property('parked_streams', 1)
    })

    it('loses none of a stream that is resumed while events come in', async () => {
      const id = await log.create()
      start({ batchSize: 2 })
      for (let round = 0; round < 10; round++) {
        await park(database.config, auditProjection(), `task-${id}`)
        const writing = (async () => {
          for (let n = 0; n < 5; n++) await log.add(id, [renamed(`${round} ${n}`)])
        })()
        await resume(database.config, auditProjection(), `task-${id}`)
        await writing
      }
      await caughtUp(sql)
      await expectFoldOfLog(database)
    })

    it('tries five times when it is the database that refuses the rows', async () => {
      await sql.query('alter table audit_events add constraint none check (task_id <> 2)')
      for (let task = 0; task < 3; task++) await log.create(1)
      const tries: number[] = []
      const warn = (facts: object) => void tries.push((facts as { tries: number }).tries)
      start({ log: { ...silent, warn } })
      await caughtUp(sql)
      expect(tries).to.deep.equal([1, 2, 3, 4, 5])
      expect(await rowsOf(3)).to.deep.equal([1, 2])
      const [parked] = (await status()).parked
      expect(parked).to.deep.include({ stream_id: 'task-2', version: 1 })
      await sql.query('alter table audit_events drop constraint none')
      await resume(database.config, auditProjection(), 'task-2')
      await expectFoldOfLog(database)
    })

    for (const set of [`type = 'TaskSnoozed'`, 'schema_version = 2']) {
      it(`waits with the stream of an event that it does not know (${set}), and goes on by itself once it does`, async () => {
        const [id, other] = [await log.create(1), await log.create(1)]
        const { rows } = await sql.query(
          `select type, schema_version from events where stream_id = $1 and version = 2`,
          [`task-${id}`],
        )
        const change = (assignments: string) =>
          sql.query(`
            alter table events disable trigger all;
            update events set ${assignments} where stream_id = 'task-${id}' and version = 2;
            alter table events enable trigger all`)
        await change(set)
        const older = start()
        await caughtUp(sql)
        expect([await rowsOf(id), await rowsOf(other)]).to.deep.equal([[1], [1, 2]])
        const [parked] = (await status()).parked
        expect(parked?.error).to.include('this version does not know')
        await older.close()
        // What is unknown to one version is known to the next.
        await change(`type = '${rows[0].type}', schema_version = ${rows[0].schema_version}`)
        await log.add(id, [renamed('Later')])
        start()
        await until(async () => (await rowsOf(id)).length === 3, 'the rest of the stream')
        expect((await status()).parked).to.deep.equal([])
        await expectFoldOfLog(database)
      })
    }

    it('finds in a log that is damaged the streams that are not', async () => {
      await sql.query(`
        insert into events (stream_id, version, event_id, type, schema_version, data, actor_id,
            metadata, occurred_at, hash)
          values ('task-7', 1, gen_random_uuid(), 'TaskRenamed', 1, '{"title":"Never created"}', 1,
            '{"request_id":"r"}', now(), sha256(''))`)
      await log.add(8, [created()])
      start()
      await caughtUp(sql)
      expect(await rowsOf(8)).to.deep.equal([1])
      const [parked] = (await status()).parked
      expect(parked?.error).to.include('TaskRenamed of a task that was never created')
    })
  })
})
