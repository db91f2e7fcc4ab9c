import { expect } from 'chai'
import type pg from 'pg'
import { renamed } from './support/appends.ts'
import { caughtUp, connect, expectFoldOfLog } from './support/audit-fold.ts'
import { type TestDatabase, testDatabase } from './support/postgres.ts'
import { startProcess, until } from './support/processes.ts'
import { tasksInLog } from './support/tasks-in-log.ts'
import { workers } from './support/workers.ts'

describe('npm run projections', () => {
  let database: TestDatabase
  let sql: pg.Client
  let log: ReturnType<typeof tasksInLog>
  let processes: ReturnType<typeof workers>

  beforeEach(async () => {
    database = await testDatabase()
    sql = await connect(database.url)
    log = tasksInLog(database)
    processes = workers(database.url)
  })
  afterEach(async () => {
    processes.killAll()
    await Promise.all([log.close(), sql.end()])
    await database.drop()
  })

  const run = async (args: string[], env = { DATABASE_URL: database.url }) => {
    const { out, err, ended } = startProcess(process.execPath, ['src/projections.ts', ...args], {
      env,
    })
    return { ended: await ended, out, err }
  }
  const says = async (...args: string[]) => {
    const { ended, out, err } = await run(args)
    expect([ended, err]).to.deep.equal(['code 0', []])
    return out
  }
  const refuses = async (...args: string[]) => {
    const { ended, out, err } = await run(args)
    expect([ended, out]).to.deep.equal(['code 1', []])
    return err
  }

  it('says how far they are', async () => {
    expect(await says('status')).to.deep.equal(['audit       live, at 0 of 0, up to date'])
    await log.create(1)
    const [line] = await says()
    expect(line).to.match(/^audit {7}live, at 0 of 2, 2 positions and \d+\.\d s behind$/)
  })

  it('parks a projection and resumes it', async () => {
    expect(await says('park', 'audit')).to.deep.equal([
      'The projection audit is parked at position 0.',
    ])
    expect(await says('status')).to.deep.equal(['audit       parked, at 0 of 0, no new events'])
    expect(await refuses('park', 'audit')).to.deep.equal([
      'The projection audit is parked, not live.',
    ])
    expect(await says('resume', 'audit')).to.deep.equal([
      'The projection audit resumes at position 0.',
    ])
    expect(await refuses('resume', 'audit')).to.deep.equal([
      'The projection audit is live, not parked.',
    ])
  })

  it('shows a stream that is parked, and resumes it once the fault is fixed', async () => {
    await sql.query(
      'alter table audit_events add constraint none check (version <> 2 or task_id <> 1)',
    )
    await processes.start()
    const [bad, other] = [await log.create(2), await log.create(2)]
    await until(
      async () => (await sql.query('select from parked_streams')).rowCount === 1,
      'parking',
    )
    await log.add(bad, [renamed('Meanwhile')])
    await log.add(other, [renamed('Meanwhile')])
    await caughtUp(sql)
    const [line, parked] = await says('status')
    expect(line).to.equal('audit       live, at 8 of 8, up to date except for 1 parked stream')
    expect(parked).to.match(/^ {2}task-1 from version 2 on, since 20\S+Z: new row .* "none"$/)
    expect(await refuses('resume', 'audit', 'task-1')).to.deep.equal([
      'new row for relation "audit_events" violates check constraint "none"',
    ])
    await sql.query('alter table audit_events drop constraint none')
    expect(await says('resume', 'audit', 'task-1')).to.deep.equal([
      'task-1 is resumed in audit: 3 events processed, up to position 8.',
    ])
    await log.add(bad, [renamed('After')])
    await caughtUp(sql)
    await expectFoldOfLog(database)
    expect(await says('status')).to.deep.equal(['audit       live, at 9 of 9, up to date'])
  })

  it('resumes a long stream in steps, while the worker goes on with the others', async () => {
    const names = (count: number) => Array.from({ length: count }, (_, n) => renamed(`Name ${n}`))
    const long = await log.create(0)
    expect(await says('park', 'audit', `task-${long}`)).to.have.length(1)
    for (let step = 0; step < 12; step++) await log.add(long, names(100))
    await processes.start()
    await caughtUp(sql)
    // The 1,000th row waits until the test lets it go.
    await sql.query(`
      create function wait_for_test() returns trigger language plpgsql as $$
        begin
          if new.version = 1000 then perform pg_advisory_xact_lock(42); end if;
          return new;
        end $$;
      create trigger wait_for_test before insert on audit_events
        for each row execute function wait_for_test()`)
    await sql.query('select pg_advisory_lock(42)')
    const resumed = says('resume', 'audit', `task-${long}`)
    const waiting = `select from pg_locks where locktype = 'advisory' and objid = 42 and not granted`
    await until(async () => (await sql.query(waiting)).rowCount === 1, 'the resume at work')
    const other = await log.create(1)
    await caughtUp(sql)
    const rows = `select from audit_events where task_id = ${other}`
    expect((await sql.query(rows)).rowCount).to.equal(2)
    await log.add(long, names(1))
    await caughtUp(sql)
    await sql.query('select pg_advisory_unlock(42)')
    expect(await resumed).to.deep.equal([
      `task-${long} is resumed in audit: 1202 events processed, up to position 1204.`,
    ])
    await expectFoldOfLog(database)
  })

  it('goes on with a resume that was cut off where it was', async () => {
    const id = await log.create(0)
    await says('park', 'audit', `task-${id}`)
    for (let step = 0; step < 7; step++)
      await log.add(
        id,
        Array.from({ length: 100 }, (_, n) => renamed(`Name ${n}`)),
      )
    await processes.start()
    await caughtUp(sql)
    await sql.query('alter table audit_events add constraint none check (version <> 600)')
    expect(await refuses('resume', 'audit', `task-${id}`)).to.match(/"none"/)
    const { rows } = await sql.query('select version::int, position::int from parked_streams')
    expect(rows).to.deep.equal([{ version: 501, position: 501 }])
    await sql.query('alter table audit_events drop constraint none')
    expect(await says('resume', 'audit', `task-${id}`)).to.deep.equal([
      `task-${id} is resumed in audit: 201 events processed, up to position 701.`,
    ])
    await log.add(id, [renamed('After')])
    await caughtUp(sql)
    await expectFoldOfLog(database)
  })

  it('parks one stream by hand', async () => {
    await log.create(1)
    expect(await says('park', 'audit', 'task-1')).to.deep.equal([
      'task-1 is parked for audit from version 1 on.',
    ])
    expect(await refuses('park', 'audit', 'task-1')).to.deep.equal([
      'task-1 is already parked for audit.',
    ])
    expect(await says('resume', 'audit', 'task-1')).to.deep.equal([
      'task-1 is resumed in audit: 0 events processed, up to position 0.',
    ])
  })

  it('refuses in one sentence what it cannot do', async () => {
    for (const [args, sentence] of [
      [['sing'], 'There is no "sing": use status, park, resume, rebuild.'],
      [['park', 'nope'], 'There is no projection "nope": use audit.'],
      [['park'], 'park takes the name of a projection.'],
      [['status', 'audit'], "Unexpected argument 'audit'."],
    ] as const) {
      const { ended, out, err } = await run([...args])
      expect({ ended, out, sentence: err[0] }).to.deep.equal({ ended: 'code 2', out: [], sentence })
      expect(err[2]).to.match(/^Usage: npm run projections /)
    }
    expect(await refuses('park', 'audit', 'task-9')).to.deep.equal(['There is no stream "task-9".'])
    expect(await refuses('resume', 'audit', 'task-9')).to.deep.equal([
      'audit has no parked stream "task-9".',
    ])
    const { err } = await run(['status'], { DATABASE_URL: 'postgres://x@127.0.0.1:1/x' })
    expect(err).to.deep.equal(['Cannot reach the database at 127.0.0.1:1: nothing listens there.'])
  })
})
