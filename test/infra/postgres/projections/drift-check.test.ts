import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import type { Log } from '../../../../src/app/ports/process.ts'
import { auditProjection } from '../../../../src/infra/postgres/audit/audit-projection.ts'
import type { Drift } from '../../../../src/infra/postgres/projections/drift/drift.ts'
import {
  type DriftCheck,
  driftCheck,
} from '../../../../src/infra/postgres/projections/drift/drift-check.ts'
import { projector } from '../../../../src/infra/postgres/projections/projector.ts'
import { rebuild } from '../../../../src/infra/postgres/projections/rebuild/rebuild.ts'
import { destroyKey, eraseUser } from '../../../support/erase.ts'
import { silent } from '../../../support/log.ts'
import { until } from '../../../support/processes.ts'
import { busyWriters, FIELDS, type TaskWorld, taskWorld } from '../../../support/task-world.ts'

describe('The drift check', () => {
  let world: TaskWorld
  let check: DriftCheck
  let checked: number
  let drifted: Drift[]
  let lines: { facts: object; message: string }[]

  beforeEach(async () => {
    world = await taskWorld()
    checked = 0
    drifted = []
    lines = []
    const error = (facts: object, message: string) => void lines.push({ facts, message })
    const log: Log = { ...silent, error }
    check = driftCheck({
      db: world.db,
      keys: world.keys,
      log,
      onChecked: (tasks) => {
        checked += tasks
      },
      onDrift: (drift) => void drifted.push(drift),
    })
  })
  afterEach(() => world.close())

  /** Until the audit has the whole log. */
  const project = async () => {
    const { db, test } = world
    const { connection } = test.config
    const wake = { subscribe: () => () => {} }
    const facts = { connection, role: 'tasktrail_worker', db, wake, log: silent }
    const worker = projector({ projection: auditProjection(), ...facts })
    await until(async () => {
      const { rows } = await world.sql.query(
        `select from projections where name = 'audit' and position = last_position()`,
      )
      return rows.length === 1
    }, 'the worker')
    await worker.close()
  }
  const change = (id: number, title: string) =>
    world.handle(id, { type: 'ChangeTask', actor_id: 1, changes: { title } })

  it('finds nothing where nothing is wrong, also while tasks are written', async function () {
    this.timeout(60_000)
    const writers = busyWriters(world, 3, 1)
    try {
      for (let round = 0; round < 15; round++) {
        await writers.more(10)
        expect(await check.round()).to.deep.equal([])
      }
    } finally {
      await writers.stop()
    }
    expect(writers.written.failures).to.deep.equal([])
    await project()
    for (let round = 0; round < 10; round++) expect(await check.round()).to.deep.equal([])
    expect(checked).to.be.greaterThan(100)
    expect(lines).to.deep.equal([])
  })

  it('leaves out the longest tasks when a round would be too much, and checks the others', async () => {
    for (const id of [1, 2, 3]) await world.create(id)
    const changes = { description: randomBytes(6_000).toString('base64') }
    await world.handle(2, { type: 'ChangeTask', actor_id: 1, changes })
    await world.sql.query(`update tasks set title = '"Forged"'`)
    const { db, keys } = world
    const drifts = await driftCheck({ db, keys, log: silent, bytesARound: 5_000 }).round()
    expect(drifts.map(({ stream_id }) => stream_id)).to.deep.equal(['task-1', 'task-3'])
    expect(await check.round()).to.have.length(3)
  })

  it('finds nothing while rebuilt tables take the place of others', async function () {
    this.timeout(60_000)
    for (let id = 1; id <= 20; id++) await world.create(id)
    const writers = busyWriters(world, 1, 100)
    let rebuilding = true
    const { db, keys, test } = world
    const rebuilds = (async () => {
      for (const name of ['tasks', 'audit', 'tasks', 'audit'] as const) {
        await rebuild({ name, connection: test.config.connection, db, keys, rest: 0 })
      }
    })().finally(() => {
      rebuilding = false
    })
    const found: Drift[] = []
    while (rebuilding) found.push(...(await check.round()))
    await rebuilds.finally(writers.stop)
    expect(found).to.deep.equal([])
    expect(writers.written.failures).to.deep.equal([])
  })

  const of = (projection: Drift['projection'], kind: Drift['kind'], fields: string[] = []) => {
    return { projection, stream_id: 'task-2', kind, fields }
  }
  for (const [what, statement, drift] of [
    [
      'a changed title',
      `update tasks set title = '"Forged"' where id = 2`,
      of('tasks', 'different', ['title']),
    ],
    [
      'a changed time',
      `update tasks set updated_at = updated_at + interval '1 ms' where id = 2`,
      of('tasks', 'different', ['updated_at']),
    ],
    [
      'another owner',
      'update tasks set user_id = 7 where id = 2',
      of('tasks', 'different', ['user_id']),
    ],
    [
      'a row that a search does not find any more',
      `update tasks set ngrams = '{}' where id = 2`,
      of('tasks', 'different', ['ngrams']),
    ],
    [
      'a wrong version',
      'update tasks set version = 1 where id = 2',
      of('tasks', 'different', ['version']),
    ],
    [
      'a task that is deleted in the row alone',
      'update tasks set deleted_at = now() where id = 2',
      of('tasks', 'different', ['deleted_at']),
    ],
    ['a missing row', 'delete from tasks where id = 2', of('tasks', 'missing')],
    [
      'an event that is missing in the audit',
      'delete from audit_events where task_id = 2 and version = 2',
      of('audit', 'missing', ['2']),
    ],
    [
      'an event too many in the audit',
      `insert into audit_events select -1, task_id, user_id, 3, type, actor_id, occurred_at,
         recorded_at, request_id, changes, undoes, hash from audit_events
         where task_id = 2 and version = 2`,
      of('audit', 'extra', ['3']),
    ],
    [
      'another change in the audit',
      `update audit_events set changes = '{}', actor_id = 9 where task_id = 2 and version = 2`,
      of('audit', 'different', ['2.actor_id', '2.changes']),
    ],
  ] as const) {
    it(`finds ${what}, and says so without a text`, async () => {
      for (const id of [1, 2, 3]) await world.create(id)
      await change(2, 'Renamed')
      await project()
      await world.sql.query(statement)
      expect(await check.round()).to.deep.equal([drift])
      expect(drifted).to.deep.equal([drift])
      expect(lines).to.deep.equal([{ facts: drift, message: 'drift found' }])
      expect(checked).to.equal(3)
    })
  }

  it('finds a row without events', async () => {
    await world.create(2)
    await world.sql.query(`
      insert into tasks select 77, user_id, title, description, status, priority, due_date,
        created_at, updated_at, version, deleted_at from tasks where id = 2`)
    expect(await check.round()).to.deep.equal([{ ...of('tasks', 'extra'), stream_id: 'task-77' }])
  })

  it('comes to every task, and to the newest at once', async () => {
    const wrong = [1, 25, 60]
    for (let id = 1; id <= 60; id++) await world.create(id)
    await world.sql.query(`update tasks set title = '"Forged"' where id = any ($1)`, [wrong])
    const found = new Set<string>()
    expect((await check.round()).map(({ stream_id }) => stream_id)).to.include('task-60')
    for (let round = 0; round < 12; round++) {
      for (const { stream_id } of await check.round()) found.add(stream_id)
    }
    expect([...found].toSorted()).to.deep.equal(['task-1', 'task-25', 'task-60'])
  })

  describe('of an erased user', () => {
    it('wants no row, and gives it time to go', async () => {
      await world.create(2)
      await eraseUser(world.sql, 1)
      expect(await check.round()).to.deep.equal([])
      await world.sql.query(`
        alter table events disable trigger user;
        update events set occurred_at = now() - interval '1 hour' where type = 'UserErased'`)
      expect(await check.round()).to.deep.equal([of('tasks', 'extra')])
      await world.sql.query('select remove_erased_rows(1)')
      expect(await check.round()).to.deep.equal([])
    })

    const ofUser = (
      projection: Drift['projection'],
      kind: Drift['kind'],
      fields: string[] = [],
    ) => {
      return { projection, stream_id: 'user-1', kind, fields }
    }

    for (const [what, forge] of [
      [
        'destroyed',
        `update user_keys set wrapped_key = null, wrapped_by = null, destroyed_at = now()`,
      ],
      ['taken away', 'delete from user_keys'],
    ] as const) {
      it(`finds a key that was ${what} though the log has no erasure`, async () => {
        for (const id of [2, 3]) await world.create(id)
        await project()
        await world.sql.query(forge)
        expect(await check.round()).to.deep.equal([ofUser('user_keys', 'missing')])
        expect(lines.map(({ message }) => message)).to.deep.equal(['drift found'])
        const { db, keys, test } = world
        const rebuilt = await rebuild({
          name: 'tasks',
          connection: test.config.connection,
          db,
          keys,
        }).then(
          () => null,
          ({ message }: Error) => message,
        )
        expect(rebuilt).to.match(/^The key of user-1 is gone, but the log has no erasure/)
        expect(await world.rows()).to.have.length(2)
      })
    }

    it('finds such a key also of a user without tasks', async () => {
      await destroyKey(world.sql, 1)
      expect(await check.round()).to.deep.equal([ofUser('user_keys', 'missing')])
    })

    it('finds a key that was overwritten', async () => {
      await world.create(2)
      await project()
      await world.sql.query(`update user_keys set wrapped_key = sha512(wrapped_key)`)
      expect(await check.round()).to.deep.equal([ofUser('user_keys', 'different', ['wrapped_key'])])
    })

    it('finds a key that was put back', async () => {
      await world.create(2)
      await world.sql.query('create table aside as select * from user_keys')
      await eraseUser(world.sql, 1)
      await world.sql.query('select remove_erased_rows(1)')
      await world.sql.query('delete from user_keys; insert into user_keys select * from aside')
      expect(await check.round()).to.deep.equal([ofUser('user_keys', 'extra')])
    })

    for (const [what, forge, drift, known] of [
      [
        'is missing in the audit',
        'delete from audit_events where task_id is null',
        ofUser('audit', 'missing', ['1']),
        1,
      ],
      [
        'says something else there',
        `update audit_events set actor_id = 9, changes = '{"x":{}}' where task_id is null`,
        ofUser('audit', 'different', ['1.actor_id', '1.changes']),
        1,
      ],
      [
        'stands there twice',
        `insert into audit_events select -1, task_id, user_id, version + 1, type, actor_id, occurred_at,
           recorded_at, request_id, changes, undoes, hash from audit_events where task_id is null`,
        ofUser('audit', 'extra', ['2']),
        1,
      ],
      [
        'is of another user there',
        'update audit_events set user_id = 7 where task_id is null',
        { ...ofUser('audit', 'extra', ['1']), stream_id: 'user-7' },
        2,
      ],
    ] as const) {
      it(`finds that the erasure ${what}, and so does a rebuild`, async () => {
        await world.create(2)
        await eraseUser(world.sql, 1)
        await world.sql.query('select remove_erased_rows(1)')
        await project()
        expect(await check.round()).to.deep.equal([])
        await world.sql.query(forge)
        expect(await check.round())
          .to.deep.include(drift)
          .and.have.lengthOf(known)
        const { db, keys, test } = world
        const { connection } = test.config
        const rebuilt = await rebuild({ name: 'audit', connection, db, keys, rest: 0 })
        expect(rebuilt.differences).to.equal(1)
        expect(await check.round()).to.deep.equal([])
      })
    }
  })

  it('finds a row of the audit that is of no stream of the log', async () => {
    await world.create(2)
    await project()
    await world.sql.query(`
      insert into audit_events select 1000000, 77, user_id, 1, type, actor_id, occurred_at, recorded_at,
        request_id, changes, undoes, hash from audit_events`)
    const forged = { ...of('audit', 'extra', ['1']), stream_id: 'task-77' }
    expect(await check.round()).to.deep.equal([forged])
    const { db, keys, test } = world
    const rebuilt = await rebuild({ name: 'audit', connection: test.config.connection, db, keys })
    expect(rebuilt).to.deep.include({ differences: 1, first: [forged] })
  })

  it('takes a parked stream as far as it is parked', async () => {
    await world.create(2)
    await project()
    await world.sql.query(`insert into parked_streams (projection, stream_id, position, version, error)
      values ('audit', 'task-2', 2, 2, 'bad')`)
    await change(2, 'Renamed')
    await world.create(3)
    await project()
    expect(await check.round()).to.deep.equal([])
  })

  it('is not kept from the other tasks by one whose texts are not what was encrypted', async () => {
    for (const id of [1, 2, 3]) await world.create(id)
    await world.sql.query(`
      alter table events disable trigger user;
      update events set data = jsonb_set(data, '{title,cipher}', '"${'A'.repeat(80)}"')
        where stream_id = 'task-1';
      update tasks set title = '"Forged"' where id = 2`)
    expect(await check.round()).to.deep.equal([of('tasks', 'different', ['title'])])
    const messages = lines.map(({ message }) => message)
    expect(messages).to.deep.equal(['cannot check a task for drift', 'drift found'])
    expect(JSON.stringify(lines)).not.to.include(FIELDS.title)
  })
})
