import { expect } from 'chai'
import type pg from 'pg'
import { singleConnection } from '../../../../src/infra/postgres/connection/database.ts'
import {
  type LeaderSession,
  type Leadership,
  lead,
} from '../../../../src/infra/postgres/connection/leader.ts'
import { caughtUp, connect, expectFoldOfLog } from '../../../support/audit-fold.ts'
import { silent } from '../../../support/log.ts'
import { type TestDatabase, testDatabase } from '../../../support/postgres.ts'
import { until } from '../../../support/processes.ts'
import { tasksInLog } from '../../../support/tasks-in-log.ts'
import { workers } from '../../../support/workers.ts'

const TAKE_OVER_MS = 10_000

describe('The leader of a projection', function () {
  this.timeout(120_000)
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

  /** A leader, and one that stands by. */
  const two = async () => {
    const leader = await processes.start()
    await until(leader.leads, 'a leader')
    const other = await processes.start()
    await other.line(/"listening"/)
    return { leader, other }
  }

  it('is one of two workers', async () => {
    const { leader, other } = await two()
    await log.create(3)
    await caughtUp(sql)
    expect([await leader.leads(), await other.leads()]).to.deep.equal([true, false])
    await expectFoldOfLog(database)
  })

  it('is another one soon after it stopped or was killed', async () => {
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      const { leader, other } = await two()
      leader.child.kill(signal)
      await leader.ended
      await log.create(3)
      await until(other.leads, `a leader after ${signal}`, TAKE_OVER_MS)
      await caughtUp(sql, TAKE_OVER_MS)
      other.child.kill('SIGKILL')
      await other.ended
    }
    await expectFoldOfLog(database)
  })

  it('is another one soon after it froze, and does no harm when it thaws', async () => {
    const { leader, other } = await two()
    // Frozen at any moment of its work, not only while it waits for events.
    const writing = (async () => {
      for (let task = 0; task < 200; task++) await log.create(5)
    })()
    await until(async () => (await sql.query('select from audit_events')).rowCount !== 0, 'rows')
    leader.child.kill('SIGSTOP')
    await until(other.leads, 'a leader after SIGSTOP', TAKE_OVER_MS)
    await writing
    await caughtUp(sql)
    leader.child.kill('SIGCONT')
    await log.create(3)
    await caughtUp(sql)
    await until(async () => !(await leader.leads()), 'the end of an old lead')
    expect(await other.leads()).to.equal(true)
    await expectFoldOfLog(database)
  })

  it('stays while its work reads elsewhere for longer than a session may be silent', async () => {
    const { connection } = database.config
    const role = 'tasktrail_worker'
    let begun = 0
    const work = async ({ over }: LeaderSession) => {
      begun++
      await new Promise((resolve) => over.addEventListener('abort', resolve))
    }
    const leader = lead({ name: 'slow', connection, role, log: silent, work })
    try {
      const old = async () =>
        (
          await sql.query(`
            select from pg_stat_activity where datname = current_database()
              and application_name = '${role} slow' and backend_start < now() - interval '7 s'`)
        ).rowCount === 1
      await until(old, 'an old session', 15_000)
      expect([begun, leader.leads()]).to.deep.equal([1, true])
    } finally {
      await leader.close()
    }
  })

  it('is another one also when it froze in the middle of a message', async () => {
    const { connection } = database.config
    const frozen = singleConnection(connection, 'tasktrail_worker')
    const ended = new Promise((resolve) => frozen.on('error', resolve))
    await frozen.connect()
    await frozen.query('set idle_session_timeout = 5000; set statement_timeout = 3000')
    const key = `((21589::bigint << 48) | (hashtext('x')::bigint & 4294967295))`
    await frozen.query(`select pg_try_advisory_lock${key}`)
    await frozen.query('begin')
    // A statement is parsed, and the message after it announces more bytes than will ever come.
    const { stream } = (frozen as unknown as { connection: { stream: NodeJS.WritableStream } })
      .connection
    const parse = Buffer.from('\0select $1::text\0\0\0', 'utf8')
    stream.write(Buffer.concat([Buffer.from('P'), length(parse.length), parse]))
    stream.write(Buffer.concat([Buffer.from('B'), length(1_000_000), Buffer.from('begun')]))

    let other: Leadership | undefined
    try {
      await new Promise<void>((resolve) => {
        const work = async ({ rest }: { rest: (ms: number) => Promise<void> }) => {
          resolve()
          await rest(100)
        }
        other = lead({ name: 'x', connection, role: 'tasktrail_worker', log: silent, work })
      })
      await ended
    } finally {
      await other?.close()
    }
  }).timeout(15_000)
})

/** As the protocol has it, itself included. */
function length(bytes: number): Buffer {
  const buffer = Buffer.alloc(4)
  buffer.writeInt32BE(bytes + 4)
  return buffer
}
