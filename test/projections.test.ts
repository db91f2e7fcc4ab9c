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
      'The projection audit goes on from position 0.',
    ])
    expect(await refuses('resume', 'audit')).to.deep.equal([
      'The projection audit is live, not parked.',
    ])
  })

  it('shows a stream that is parked, and resumes it once what was wrong is mended', async () => {
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
    expect(parked).to.match(/^ {2}task-1 from its event 2 on, since 20\S+Z: new row .* "none"$/)
    expect(await refuses('resume', 'audit', 'task-1')).to.deep.equal([
      'new row for relation "audit_events" violates check constraint "none"',
    ])
    await sql.query('alter table audit_events drop constraint none')
    expect(await says('resume', 'audit', 'task-1')).to.deep.equal([
      'task-1 goes on in audit: 3 events made up for, up to position 8.',
    ])
    await log.add(bad, [renamed('After')])
    await caughtUp(sql)
    await expectFoldOfLog(database)
    expect(await says('status')).to.deep.equal(['audit       live, at 9 of 9, up to date'])
  })

  it('parks one stream by hand', async () => {
    await log.create(1)
    expect(await says('park', 'audit', 'task-1')).to.deep.equal([
      'task-1 is parked for audit from its event 1 on.',
    ])
    expect(await refuses('park', 'audit', 'task-1')).to.deep.equal([
      'task-1 is parked for audit already.',
    ])
    expect(await says('resume', 'audit', 'task-1')).to.deep.equal([
      'task-1 goes on in audit: 0 events made up for, up to position 0.',
    ])
  })

  it('refuses in one sentence what it cannot do', async () => {
    expect(await refuses('sing')).to.have.lengthOf(1)
    expect(await refuses('park', 'nope')).to.deep.equal([
      'There is no projection "nope": use audit.',
    ])
    expect(await refuses('park')).to.deep.equal([
      'Use it so: npm run projections -- park <name> [stream]',
    ])
    expect(await refuses('park', 'audit', 'task-9')).to.deep.equal(['There is no stream "task-9".'])
    expect(await refuses('resume', 'audit', 'task-9')).to.deep.equal([
      'audit has no parked stream "task-9".',
    ])
    const { err } = await run(['status'], { DATABASE_URL: 'postgres://x@127.0.0.1:1/x' })
    expect(err).to.deep.equal(['Cannot reach the database at 127.0.0.1:1: nothing listens there.'])
  })
})
