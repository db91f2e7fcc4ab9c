import { expect } from 'chai'
import fc from 'fast-check'
import pg from 'pg'
import { AppError } from '../../../../src/app/errors.ts'
import type { TaskRequest } from '../../../../src/app/task-aggregate.ts'
import { DomainError } from '../../../../src/domain/errors.ts'
import { auditProjection } from '../../../../src/infra/postgres/audit/audit-projection.ts'
import { projector } from '../../../../src/infra/postgres/projections/projector.ts'
import { rebuild } from '../../../../src/infra/postgres/projections/rebuild/rebuild.ts'
import type {
  Rebuildable,
  RebuildOptions,
} from '../../../../src/infra/postgres/projections/rebuild/rebuild-run.ts'
import { eraseUser } from '../../../support/erase.ts'
import { openWriter } from '../../../support/late-writers.ts'
import { silent } from '../../../support/log.ts'
import { letPhotoBe } from '../../../support/photos.ts'
import { until } from '../../../support/processes.ts'
import { busyWriters, type TaskWorld, taskWorld } from '../../../support/task-world.ts'
import { arbitraryCommand } from '../../../support/tasks.ts'

const failure = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'did not fail',
    (error: Error) => error.message,
  )

/** Has what is sent without values go through `through` while `work` is done. */
async function withQueries(
  through: (text: string, send: (text: string) => unknown) => Promise<unknown>,
  work: () => Promise<unknown>,
): Promise<void> {
  const real = pg.Client.prototype.query
  const instead = function (this: pg.Client, ...args: unknown[]) {
    const [text, ...rest] = args
    if (typeof text !== 'string' || rest.length > 0) return Reflect.apply(real, this, args)
    return through(text, (text) => Reflect.apply(real, this, [text]))
  }
  pg.Client.prototype.query = instead as typeof real
  try {
    await work()
  } finally {
    pg.Client.prototype.query = real
  }
}

describe('Rebuilding a projection', () => {
  let world: TaskWorld

  beforeEach(async () => {
    world = await taskWorld()
  })
  afterEach(() => world.close())

  const start = (name: Rebuildable, options: Partial<RebuildOptions> = {}) => {
    const { db, keys, test } = world
    const { connection } = test.config
    return rebuild({ name, connection, db, keys, rest: 0, ...options })
  }
  const change = (id: number, title: string) =>
    world.handle(id, { type: 'ChangeTask', actor_id: 1, changes: { title } })
  /** Tables, rows and states that only a rebuild under way may have. */
  const remains = async () => {
    const { rows } = await world.sql.query(`
      select relname as name from pg_class where relname ~ '_(rebuild|replaced)'
      union all select name from projections where name ~ '_rebuild'
      union all select projection from parked_streams where projection ~ '_rebuild'`)
    return rows.map(({ name }) => name)
  }
  const expectFold = async () => {
    expect(await world.rows()).to.deep.equal(await world.folded())
  }
  const projecting = () => {
    const { db, test } = world
    const { connection } = test.config
    const wake = { subscribe: () => () => {} }
    const facts = { connection, role: 'tasktrail_worker', db, wake, log: silent }
    return projector({ projection: auditProjection(), ...facts })
  }
  const liveAudit = async () => {
    const { rows } = await world.sql.query(`
      select name, state, position::int, last_position()::int as last from projections`)
    return rows
  }

  it('yields what the log says, whatever was done', async function () {
    this.timeout(120_000)
    let first = 1
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(3), arbitraryCommand), { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 5 }),
        async (commands, batchSize) => {
          for (const [task, command] of commands) await attempt(first + task, command)
          first += 4
          expect((await start('tasks', { batchSize: batchSize * 50 })).differences).to.equal(0)
          await expectFold()
          expect((await start('audit', { batchSize: batchSize * 50 })).differences).to.equal(0)
          expect(await world.auditRows()).to.deep.equal(await world.foldedAudit())
        },
      ),
      { numRuns: 100 },
    )
    expect((await world.rows()).length).to.be.greaterThan(50)
  })

  /** Each task has photos of its own. */
  function withPhotoOf(id: number, command: TaskRequest): TaskRequest {
    const own = (photo: string) =>
      photo.slice(0, -6) + String(id).padStart(5, '0') + photo.slice(-1)
    if (command.type === 'RemovePhoto') return { ...command, id: own(command.id) }
    if (command.type !== 'AddPhoto' && command.type !== 'RestorePhoto') return command
    return { ...command, photo: { ...command.photo, id: own(command.photo.id) } }
  }

  /** A command that is refused is one more kind of history. */
  async function attempt(id: number, command: TaskRequest): Promise<void> {
    const own = withPhotoOf(id, command)
    if ('photo' in own) await letPhotoBe(world.sql, id, own.photo)
    await world.handle(id, own).catch((error: unknown) => {
      const isAddedAgain = error instanceof AppError && error.code === 'photo_gone'
      if (!(error instanceof DomainError || isAddedAgain)) throw error
    })
  }

  for (const batchSize of [1, 2, 7]) {
    it(`goes on from batch to batch, of ${batchSize}`, async () => {
      for (let id = 1; id <= 5; id++) await world.create(id)
      for (let id = 5; id >= 1; id--) await change(id, `Title ${id}`)
      await start('tasks', { batchSize })
      await start('audit', { batchSize })
      await expectFold()
      expect(await world.auditRows()).to.deep.equal(await world.foldedAudit())
    })
  }

  it('fails no write and loses none, of all that go on meanwhile', async function () {
    this.timeout(120_000)
    for (let id = 1; id <= 20; id++) await world.create(id)
    const writers = busyWriters(world, 4, 1_000)
    try {
      for (let round = 0; round < 5; round++) {
        await writers.more(20)
        expect((await start('tasks', { batchSize: 100 })).first).to.deep.equal([])
      }
    } finally {
      await writers.stop()
    }
    expect(writers.written.failures).to.deep.equal([])
    await expectFold()
    expect(await remains()).to.deep.equal([])
  })

  describe('when an append begins during it and commits after its last look', () => {
    /** The rebuild's outcome; the writer commits once the rebuild has asked for the table. */
    const race = async () => {
      await world.create(1_000_001)
      const writer = await openWriter(world.test.url)
      const { rows } = await world.sql.query('select count(*)::int as n from tasks')
      let asking = false
      const running = start('tasks', {
        onProgress: async ({ step }) => {
          if (step !== 'swapping') return
          await writer.write()
          asking = true
        },
      })
      await until(() => asking, 'the swap')
      await until(async () => (await waitsOrRetries()) === true, 'a rebuild that waits')
      await writer.commit()
      const rebuilt = await running
      await writer.end()
      expect(rows).to.deep.equal([{ n: 1 }])
      return rebuilt
    }
    const waitsOrRetries = async () => {
      const { rows } = await world.sql.query(`
        select from pg_stat_activity where application_name = 'rebuild tasks'
          and (query ~ '^(rollback|lock table)' or wait_event_type = 'Lock')
          and datname = current_database()`)
      return rows.length > 0
    }

    it('has its row', async () => {
      const { asked } = await race()
      expect(asked).to.be.greaterThan(1)
      expect(await world.rows()).to.have.length(2)
      await expectFold()
    })

    it('would lose it if nothing kept writers away', async () => {
      const sent = (text: string) => (text.startsWith('lock table') ? 'select 1' : text)
      await withQueries(async (text, send) => send(sent(text)), race)
      expect(await world.rows()).to.have.length(1)
      expect(await world.folded()).to.have.length(2)
    })
  })

  it('fails no write when it is frozen at the moment of the swap: it loses the table', async () => {
    await world.create(1)
    let frozen = false
    let end = () => {}
    const thawed = new Promise<void>((resolve) => {
      end = resolve
    })
    await withQueries(
      async (text, send) => {
        if (!text.startsWith('alter index')) return send(text)
        frozen = true
        await thawed
        return send(text)
      },
      async () => {
        const failed = failure(start('tasks'))
        await until(() => frozen, 'the moment')
        await change(1, 'Written meanwhile')
        end()
        expect(await failed).to.match(/^The connection to the database was lost: /)
      },
    )
    expect((await world.rows()).map(({ version }) => version)).to.deep.equal([2])
    await expectFold()
    await start('tasks')
    await expectFold()
  })

  it('leaves a table of the same shape: columns, indexes, constraints, rights, settings', async () => {
    const shape = async () => {
      const { rows } = await world.sql.query(`
        select c.relname, c.reloptions, c.relowner, c.relacl::text,
          (select jsonb_agg(to_jsonb(col) - 'table_name' order by ordinal_position)
            from information_schema.columns col where table_name = c.relname) as columns,
          (select jsonb_agg(indexdef order by indexname) from pg_indexes
            where tablename = c.relname) as indexes,
          (select jsonb_agg(jsonb_build_array(conname, pg_get_constraintdef(oid)) order by conname)
            from pg_constraint where conrelid = c.oid) as constraints,
          (select count(*)::int from pg_trigger where tgrelid = c.oid) as triggers
        from pg_class c where relname in ('tasks', 'audit_events', 'audit_facts') order by relname`)
      return rows
    }
    const before = await shape()
    await start('tasks')
    await start('audit')
    expect(await shape()).to.deep.equal(before)
    expect(JSON.stringify(before)).to.include('fillfactor=80')
  })

  it('reports rows that are not as the log says, and repairs them', async () => {
    for (let id = 1; id <= 6; id++) await world.create(id)
    await world.sql.query(`
      update tasks set title = '"Forged"' where id = 1;
      update tasks set version = 9 where id = 2;
      delete from tasks where id = 3;
      insert into tasks select 99, user_id, title, description, status, priority, due_date,
        created_at, updated_at, version, deleted_at from tasks where id = 4;
      update tasks set version = 0, deleted_at = now() where id = 5`)
    const { differences, first } = await start('tasks')
    expect(differences).to.equal(5)
    const of = (id: number, kind: string, fields: string[] = []) => {
      return { projection: 'tasks', stream_id: `task-${id}`, kind, fields }
    }
    expect(first).to.deep.equal([
      of(1, 'different', ['title']),
      of(2, 'different', ['version']),
      of(3, 'missing'),
      of(5, 'different', ['deleted_at', 'version']),
      of(99, 'extra'),
    ])
    await expectFold()
    expect((await start('tasks')).differences).to.equal(0)
  })

  it('reports what is counted otherwise than the log says that users have stored, and repairs it', async () => {
    for (let id = 1; id <= 3; id++) await world.create(id)
    await start('audit')
    await world.sql.query('update user_usage set tasks = 0, bytes = 0')
    const { first } = await start('audit')
    const fields = ['usage']
    expect(first).to.deep.equal([
      { projection: 'audit', stream_id: 'user-1', kind: 'different', fields },
    ])
    const { rows } = await world.sql.query(
      'select tasks::int, bytes > 3 * 1024 as more from user_usage',
    )
    expect(rows).to.deep.equal([{ tasks: 3, more: true }])
    expect((await start('audit')).differences).to.equal(0)
  })

  it('says so when one of the same projection is running', async () => {
    let second = ''
    await start('tasks', {
      onProgress: async ({ step }) => {
        if (step === 'comparing') second = await failure(start('tasks'))
      },
    })
    expect(second).to.equal('A rebuild of tasks is already running.')
  })

  it('shows in projections while it runs, beside the live one', async () => {
    await world.create(1)
    let during: unknown
    await start('audit', {
      onProgress: async ({ step }) => {
        if (step === 'comparing') during = await liveAudit()
      },
    })
    expect(during).to.have.deep.members([
      { name: 'audit', state: 'live', position: 0, last: 1 },
      { name: 'audit_rebuild', state: 'rebuilding', position: 1, last: 1 },
    ])
    expect(await liveAudit()).to.deep.equal([
      { name: 'audit', state: 'live', position: 1, last: 1 },
    ])
  })

  it('leaves the live table as it is and nothing behind when an event cannot be folded', async () => {
    await world.create(1)
    await change(1, 'Two')
    await world.sql.query(`
      alter table events disable trigger user;
      update events set type = 'TaskPainted' where version = 2;
      update tasks set title = '"As it was"'`)
    expect(await failure(start('tasks'))).to.equal(
      'The rebuild ended at event 2 of task-1 (position 2): this version does not know TaskPainted of schema version 1.',
    )
    expect((await world.rows()).map(({ title }) => title)).to.deep.equal(['As it was'])
    expect(await remains()).to.deep.equal([])
  })

  it('leaves the live table as it is when its connection is lost, and starts anew', async () => {
    for (let id = 1; id <= 5; id++) await world.create(id)
    const lost = start('tasks', {
      onProgress: async ({ step }) => {
        if (step !== 'comparing') return
        await world.sql.query(`select pg_terminate_backend(pid) from pg_stat_activity
          where application_name = 'rebuild tasks' and datname = current_database()`)
      },
    })
    expect(await failure(lost)).to.match(/^The connection to the database was lost: /)
    expect(await remains()).not.to.deep.equal([])
    await expectFold()
    await start('tasks')
    expect(await remains()).to.deep.equal([])
    await expectFold()
  })

  it('is done once the tables are swapped, also when those it replaced cannot be dropped', async () => {
    await world.create(1)
    let swapping = false
    const loseConnection = `
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'rebuild tasks'`
    await withQueries(
      async (text, send) => {
        if (swapping && text.startsWith('drop table')) await world.sql.query(loseConnection, [])
        return send(text)
      },
      async () => {
        const onProgress = ({ step }: { step: string }) => {
          swapping = step === 'swapping'
        }
        expect((await start('tasks', { onProgress })).remains).to.be.a('string')
      },
    )
    await expectFold()
    expect(await remains()).to.include('tasks_replaced')
    expect(await start('tasks')).to.include({ differences: 0, remains: null })
    expect(await remains()).to.deep.equal([])
  })

  it('gives a user no row who was erased before it or during it', async () => {
    for (const user of [1, 2, 3, 4]) {
      await world.create(user, user)
    }
    const erase = async (user: number) => {
      await eraseUser(world.sql, user)
      await world.sql.query('select remove_erased_rows($1)', [user])
    }
    await erase(1)
    const { differences } = await start('tasks', {
      onProgress: async ({ step }) => {
        if (step === 'comparing') await erase(2)
        if (step === 'swapping') await erase(3)
      },
    })
    expect(differences).to.equal(0)
    expect((await world.rows()).map(({ user_id }) => user_id)).to.deep.equal([4])
  })

  it('takes over from the worker at its checkpoint, and it goes on', async function () {
    this.timeout(120_000)
    const worker = projecting()
    const writers = busyWriters(world, 2, 1)
    try {
      for (let round = 0; round < 3; round++) {
        await writers.more(20)
        expect((await start('audit', { batchSize: 100 })).first).to.deep.equal([])
      }
      await writers.stop()
      expect(writers.written.failures).to.deep.equal([])
      await until(async () => {
        const [audit] = await liveAudit()
        return audit.position === audit.last
      }, 'the worker')
      expect(await world.auditRows()).to.deep.equal(await world.foldedAudit())
    } finally {
      await writers.stop()
      await worker.close()
    }
    expect(await remains()).to.deep.equal([])
  })

  describe('with a parked stream', () => {
    const parked = async () => {
      const { rows } = await world.sql.query(
        'select projection, stream_id, version::int from parked_streams',
      )
      return rows
    }
    const damage = (type: string) =>
      world.sql.query(
        `alter table events disable trigger user;
         update events set type = '${type}' where stream_id = 'task-2' and version = 1`,
      )

    beforeEach(async () => {
      for (const id of [1, 2, 3]) await world.create(id)
      await change(2, 'Two')
      await world.sql.query(`insert into parked_streams (projection, stream_id, position, version, error)
        values ('audit', 'task-2', 2, 1, 'was bad')`)
    })

    it('unparks it when it goes through', async () => {
      const { parked: left } = await start('audit')
      expect(left).to.deep.equal([])
      expect(await parked()).to.deep.equal([])
      expect(await world.auditRows()).to.deep.equal(await world.foldedAudit())
    })

    it('keeps it parked from its first bad event on; the others go on', async () => {
      await damage('TaskRenamed')
      const { parked: left } = await start('audit')
      expect(left).to.deep.equal(['task-2'])
      expect(await parked()).to.deep.equal([
        { projection: 'audit', stream_id: 'task-2', version: 1 },
      ])
      expect((await world.auditRows()).map(({ task_id }) => task_id)).to.deep.equal([1, 3])
    })
  })
})
