import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import fc from 'fast-check'
import pg from 'pg'
import type { TaskEvent } from '../../../../src/domain/task/events.ts'
import { type TaskView, taskStreamId } from '../../../../src/domain/task/view.ts'
import { type Database, openDatabase } from '../../../../src/infra/postgres/connection/database.ts'
import { postgresEventStore } from '../../../../src/infra/postgres/event-store/event-store.ts'
import { append, created, key, renamed } from '../../../support/appends.ts'
import { eventStoreContract } from '../../../support/event-store-contract.ts'
import { load } from '../../../support/load.ts'
import { silent } from '../../../support/log.ts'
import { memoryEventStore } from '../../../support/memory-event-store.ts'
import { type TestDatabase, testDatabase } from '../../../support/postgres.ts'
import { tcpProxy } from '../../../support/tcp-proxy.ts'

describe('The event store in memory', () => {
  const store = memoryEventStore<TaskEvent, TaskView>()
  eventStoreContract(() => store)
})

describe('The event store on PostgreSQL', () => {
  let test: TestDatabase
  let db: Database
  let superuser: pg.Client
  const store = () => postgresEventStore<TaskEvent, TaskView>(db)

  before(async () => {
    test = await testDatabase()
    db = openDatabase({ ...test.config, role: 'tasktrail_task', log: silent })
    superuser = new pg.Client(test.url)
    await superuser.connect()
  })
  after(async () => {
    await db.close()
    await superuser.end()
    await test.drop()
  })

  eventStoreContract(store)

  let lastId = 1_000_000
  const newId = () => ++lastId
  const count = async (table: string) =>
    Number((await superuser.query(`select count(*) from ${table}`)).rows[0].count)

  it('ends a page of a stream once its texts fill 1 MiB, and goes on from there', async () => {
    const id = newId()
    // PostgreSQL would compress a text that repeats itself.
    const description = () => randomBytes(30_000).toString('base64')
    const events = Array.from({ length: 60 }, (): TaskEvent => {
      return { type: 'TaskDescribed', data: { description: description() } }
    })
    await store().append(append(id, [created(), ...events]))
    const all = (await load(store(), taskStreamId(id))).events
    const first = await store().page(taskStreamId(id), { after: 0 }, 200)
    const { length } = first.events
    expect(JSON.stringify(first.events).length).to.be.within(1_000_000, 1_200_000)
    expect(first).to.deep.equal({ events: all.slice(0, length), more: true })
    const back = await store().page(taskStreamId(id), { before: length }, 200)
    expect(back).to.deep.equal({ events: all.slice(0, length - 1).toReversed(), more: false })
  })

  it('writes the read-table row in the same transaction as the events, or neither', async () => {
    const id = newId()
    const broken = append(id, [created()])
    const tooLong = { ...broken, row: { ...broken.row, status: 'unheard of' } as never }
    const before = await count('events')
    await store()
      .append(tooLong)
      .then(
        () => expect.fail('the row breaks a constraint'),
        (error) => expect(error).to.have.property('code', '23514'),
      )
    expect(await count('events')).to.equal(before)
    expect(await load(store(), taskStreamId(id))).to.have.property('version', 0)

    await store().append(broken)
    const { rows } = await superuser.query('select title, version::int from tasks where id = $1', [
      id,
    ])
    expect(rows).to.deep.equal([{ title: 'A task', version: broken.row.version }])
  })

  it('takes no row but the stream’s own: not another task’s, another owner’s or another version', async () => {
    const [id, other] = [newId(), newId()]
    for (const each of [id, other]) await store().append(append(each, [created()]))
    const { version, head_hash } = await load(store(), taskStreamId(id))
    const expected = { version, head_hash }
    const rowsNow = async () => (await superuser.query('select * from tasks order by id')).rows
    const before = await rowsNow()
    // The lock of a key may outlive its error by a moment: each append has a key of its own.
    const commands: ReturnType<typeof key>[] = []
    const newCommand = () => {
      const command = key(`foreign-${id}-${commands.length}`, 'one')
      commands.push(command)
      return command
    }
    for (const facts of [{ expected }, { expected, events: [] }]) {
      const good = append(id, [renamed('Two')], facts)
      const wrong = { id: other, user_id: 2, version: good.row.version + 1 }
      for (const [field, value] of Object.entries(wrong)) {
        const row = { ...good.row, [field]: value }
        const refused = await store()
          .append({ ...good, row, command: newCommand() })
          .catch((error) => error)
        expect(refused, field).to.have.property('code', '23514')
      }
    }
    const stolen = append(newId(), [created()])
    for (const row of [
      { ...stolen.row, id },
      { ...stolen.row, user_id: 2 },
    ]) {
      const refused = await store()
        .append({ ...stolen, row })
        .catch((error) => error)
      expect(refused).to.have.property('code', '23514')
    }
    expect(await rowsNow()).to.deep.equal(before)
    expect(await load(store(), taskStreamId(id))).to.have.property('version', 1)
    for (const command of commands) {
      expect(await store().present(taskStreamId(id), 1, command)).to.have.property('answer', null)
    }
  })

  it('refuses to change, delete or truncate events, even for the superuser', async () => {
    await store().append(append(newId(), [created()]))
    const statements = [
      'update events set type = type',
      'delete from events',
      'truncate events',
      'truncate events cascade',
      `set session_replication_role = replica; update events set type = type`,
    ]
    for (const statement of statements) {
      const refused = await superuser.query(statement).catch((error) => error)
      expect(refused, statement).to.have.property('code', '42501')
    }
    await superuser.query('set session_replication_role = default')
  })

  it('gives the service no way to write a table but through append_events', async () => {
    const service = new pg.Client({ ...test.config.connection, options: '-c role=tasktrail_task' })
    await service.connect()
    const statements = [
      `insert into events (stream_id, version, event_id, type, schema_version, data, actor_id,
         metadata, occurred_at, hash)
       values ('task-1', 99, gen_random_uuid(), 'x', 1, '{}', 1, '{}', now(), '')`,
      'update events set type = type',
      'delete from events',
      'truncate events',
      'update streams set version = version + 1',
      'delete from streams',
      'update tasks set title = title',
      'delete from commands',
      'alter table events disable trigger all',
      'drop table events',
      'select password_hash from users',
      'update security_events set type = type',
    ]
    try {
      for (const statement of statements) {
        const refused = await service.query(statement).catch((error) => error)
        expect(refused, statement).to.have.property('code', '42501')
      }
    } finally {
      await service.end()
    }
  })

  it('reads on past long transactions on other tables and in other databases', async () => {
    const other = await testDatabase()
    const elsewhere = new pg.Client(other.url)
    const here = new pg.Client(test.url)
    await Promise.all([elsewhere.connect(), here.connect()])
    try {
      await elsewhere.query('begin; create table busy (n int); select txid_current()')
      await here.query('begin; create table busy (n int); select txid_current()')
      const id = newId()
      await store().append(append(id, [created()]))
      const [last] = (await store().readAll(0, 1_000_000)).slice(-1)
      expect(last).to.have.property('stream_id', taskStreamId(id))
    } finally {
      await Promise.all([elsewhere.end(), here.end()])
      await other.drop()
    }
  })

  /** Writes events of one actor that were recorded at these times, as many seconds after `base`. */
  const recordedAt = (actor_id: number, base: string, seconds: readonly number[]) =>
    superuser.query(
      `insert into events (stream_id, version, event_id, type, schema_version, data, actor_id,
         metadata, occurred_at, hash)
       select 'task-timed-' || gen_random_uuid(), 1, gen_random_uuid(), 'TaskDeleted', 1, '{}', $1, '{}',
         $2::timestamptz + make_interval(secs => s), sha256('')
       from unnest($3::float[]) with ordinality as t (s, n) order by n`,
      [actor_id, base, seconds],
    )

  it('knows how far an actor had come by a time, also where clocks went back a little', async () => {
    const base = '2026-11-01T00:00:00.000Z'
    let actor_id = 10_000
    const disorder = fc.array(fc.tuple(fc.nat(60), fc.nat(9)), { minLength: 1, maxLength: 40 })
    await fc.assert(
      fc.asyncProperty(disorder, fc.integer({ min: -20, max: 2_500 }), async (steps, second) => {
        actor_id++
        // Each step passes some time; each event was recorded a little before that.
        const passed = (n: number) => steps.slice(0, n).reduce((sum, [step]) => sum + step, 0)
        const seconds = steps.map(([, back], n) => passed(n) - back)
        await recordedAt(actor_id, base, seconds)
        const own = await store().summariesOfActor(actor_id, 0, 100)
        const time = new Date(Date.parse(base) + second * 1000).toISOString()
        const last = own.findLast(({ recorded_at }) => recorded_at <= time)?.position ?? 0
        expect(await store().positionAt(actor_id, time)).to.equal(last)
      }),
      { numRuns: 200 },
    )
  })

  it('tells an actor of their own last event, also while somebody else is appending', async () => {
    const open = new pg.Client(test.url)
    await open.connect()
    const actor_id = newId()
    const late = '9999-12-31T23:59:59.999Z'
    try {
      // What append_events does before it draws positions.
      await open.query('begin')
      await open.query(
        'select pg_advisory_xact_lock_shared((21587::bigint << 48) | last_position())',
      )
      await store().append(append(newId(), [created()], { actor_id }))
      const own = await store().positionAt(actor_id, late)
      expect(own).to.be.above(await store().end())
      const events = await store().summariesOfActor(actor_id, 0, 100, own)
      expect(events.map(({ position }) => position)).to.deep.equal([own])
    } finally {
      await open.end()
    }
  })

  it('forgets an answer after 24 hours, and what it forgot may be done again', async () => {
    const facts = { command: key('old', 'one'), actor_id: 7 }
    await store().append(append(newId(), [created()], facts))
    await superuser.query('update commands set expires_at = now() where actor_id = 7')
    const { answer } = await store().present(taskStreamId(lastId), 7, facts.command)
    expect(answer).to.equal(null)
    const result = await store().append(append(newId(), [created()], facts))
    expect(result).to.have.property('outcome', 'appended')
    expect(await count('commands where actor_id = 7')).to.equal(1)
  })

  it('does a command once when the reply to its commit is lost and the client asks again', async () => {
    const proxy = await tcpProxy(serverOf(test))
    const { connection } = test.config
    const wire = openDatabase({
      connection: { ...connection, port: proxy.port },
      poolMax: 1,
      role: 'tasktrail_task',
      log: silent,
    })
    const wired = postgresEventStore<TaskEvent, TaskView>(wire)
    const id = newId()
    const first = append(id, [created()], { command: key(`lost-${id}`, 'one') })
    try {
      proxy.loseReply((bytes) => bytes.includes('appended'))
      const lost = await wired.append(first).catch((error) => error)
      expect(lost).to.have.property('code', 'database_unavailable')
      expect(await wired.append(first)).to.deep.include({ outcome: 'replayed' })
      expect(await load(store(), taskStreamId(id))).to.have.property('version', 1)
    } finally {
      await wire.close()
      await proxy.close()
    }
  })

  it('appends again after PostgreSQL broke off a deadlock', async () => {
    const id = newId()
    await store().append(append(id, [created()]))
    const { version, head_hash } = await load(store(), taskStreamId(id))
    await superuser.query(`alter database ${superuser.database} set deadlock_timeout = '100ms'`)
    const quick = openDatabase({ ...test.config, role: 'tasktrail_task', log: silent })
    const rival = new pg.Client(test.url)
    await rival.connect()
    try {
      // The append holds the stream and waits for the task's row; the rival the other way round.
      await rival.query(`begin; set local deadlock_timeout = '10s'`)
      await rival.query('select from tasks where id = $1 for update', [id])
      const renaming = append(id, [renamed('Two')], { expected: { version, head_hash } })
      const appended = postgresEventStore<TaskEvent, TaskView>(quick).append(renaming)
      await waitUntilBlocked(superuser)
      await rival.query('select from streams where stream_id = $1 for update', [taskStreamId(id)])
      await rival.query('rollback')
      expect(await appended).to.have.property('outcome', 'appended')
    } finally {
      await rival.end()
      await quick.close()
    }
  })
})

const serverOf = ({ config }: TestDatabase) => {
  const { host = '', port = 0 } = config.connection
  return { host, port }
}

async function waitUntilBlocked(client: pg.Client): Promise<void> {
  const deadline = Date.now() + 10_000
  for (;;) {
    const { rows } = await client.query(
      `select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`,
    )
    if (rows.length > 0) return
    if (Date.now() > deadline) throw new Error('nobody waits for a lock')
  }
}
