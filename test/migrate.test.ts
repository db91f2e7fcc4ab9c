import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { expect } from 'chai'
import pg from 'pg'
import { keepSecrets, postgresDirectory } from '../src/infra/local/data-dir.ts'
import { startEmbeddedPostgres } from '../src/infra/local/embedded-postgres.ts'
import { freePorts } from '../src/infra/local/free-ports.ts'
import { livePostmaster } from '../src/infra/local/postmaster.ts'
import { makeMigration, migrations } from '../src/infra/postgres/connection/migrations.ts'
import { type TestDatabase, testDatabase } from './support/postgres.ts'
import { startProcess } from './support/processes.ts'

describe('npm run migrate', () => {
  let database: TestDatabase
  let all: string[]
  before(async () => {
    all = (await readdir('db/migrations')).sort()
  })
  beforeEach(async () => {
    database = await testDatabase()
  })
  afterEach(() => database.drop())

  const migrate = async (
    args: string[],
    env: Record<string, string> = { DATABASE_URL: database.url },
  ) => {
    const { out, err, ended } = startProcess(process.execPath, ['src/migrate.ts', ...args], { env })
    return { ended: await ended, out, err }
  }
  const query = async (sql: string) => {
    const client = new pg.Client(database.url)
    await client.connect()
    return client.query(sql).finally(() => client.end())
  }
  /** Nothing is lost on the way to the migration of that name, which stays. */
  const backTo = async (name: string) => {
    const schema = migrations(database.config)
    while ((await schema.status()).completed.at(-1) !== name) await schema.rollback(false)
    await schema.close()
  }
  const backToNothing = async () => {
    const schema = migrations(database.config)
    while ((await schema.rollback(true)) !== null);
    await schema.close()
  }
  /** By another version, which has a migration of this name. */
  const ranBefore = (name: string) =>
    query(`insert into knex_migrations (name, batch) values ('${name}', 2)`)

  it('brings the schema up, and tells how far it is', async () => {
    expect(await migrate(['latest'])).to.deep.equal({
      ended: 'code 0',
      out: ['Nothing to migrate.'],
      err: [],
    })
    await backToNothing()
    const { out } = await migrate(['status'])
    expect(out).to.deep.equal(all.map((name) => `pending  ${name}`))
    const { rowCount } = await query("select from pg_tables where tablename in ('users', 'events')")
    expect(rowCount).to.equal(0)

    const up = await migrate(['latest'])
    expect(up).to.deep.equal({
      ended: 'code 0',
      out: all.map((name) => `Migrated ${name}`),
      err: [],
    })
    expect((await migrate(['status'])).out).to.deep.equal(all.map((name) => `done     ${name}`))
    await query('select from users, events')
  })

  it('rolls back one migration per call', async () => {
    for (const last of [-1, -2]) {
      expect(await migrate(['rollback'])).to.deep.equal({
        ended: 'code 0',
        out: [`Rolled back ${all.at(last)}`],
        err: [],
      })
    }
    const { out } = await migrate(['status'])
    const pending = all.slice(-2).map((name) => `pending  ${name}`)
    expect(out.filter((line) => line.startsWith('pending'))).to.deep.equal(pending)
  })

  describe('with data in the tables', () => {
    /** What is in them, and the last migration that would drop some of it. */
    const KEPT: readonly (readonly [table: string, row: string, migration: RegExp])[] = [
      [
        'users',
        "(username, email, password_hash, created_at, updated_at) values ('a', 'b', 'c', now(), now())",
        /\d_users/,
      ],
      ['user_keys', '(user_id, destroyed_at) values (1, now())', /\d_events/],
      ['events, streams', '', /\d_events/],
      ['log_tiles', "values (0, 0, sha256(''))", /\d_transparency_log/],
      ['security_events', "(type, details, occurred_at) values ('x', '{}', now())", /\d_users/],
    ]
    const EVENT = `
      insert into events (stream_id, version, event_id, type, schema_version, data, actor_id, metadata,
          occurred_at, hash)
        values ('user-1', 1, gen_random_uuid(), 'UserErased', 1, '{}', 1, '{}', now(), sha256(''));
      insert into streams (stream_id, stream_type, version, head_hash, event_types, schema_version)
        values ('user-1', 'user', 1, sha256(''), '{UserErased}', 1)`

    for (const [tables, row, migration] of KEPT) {
      it(`destroys ${tables} only when it is told to`, async () => {
        await query(row === '' ? EVENT : `insert into ${tables} ${row}`)
        const count = () => query(`select from ${tables}`).then(({ rowCount }) => rowCount)
        const before = await count()
        const name = all.findLast((name) => migration.test(name))
        await backTo(name ?? '')
        const expected = {
          ended: 'code 1',
          out: [],
          err: [
            `Rolling back ${name} would destroy ${tables}: make a backup first, and confirm ` +
              'with --destroy-the-log.',
          ],
        }
        expect(await migrate(['rollback'])).to.deep.equal(expected)
        expect(await count()).to.equal(before)
        const { ended, out } = await migrate(['rollback', '--destroy-the-log'])
        expect({ ended, out }).to.deep.equal({ ended: 'code 0', out: [`Rolled back ${name}`] })
        expect((await migrate(['latest'])).ended).to.equal('code 0')
        expect(await count()).to.equal(0)
      })
    }
  })

  it('rolls nothing back while services are connected, and says which', async () => {
    const open = async (application_name: string) => {
      const client = new pg.Client({ ...database.config.connection, application_name })
      await client.connect()
      return client
    }
    const [auth, task] = [await open('tasktrail_auth'), await open('tasktrail_task')]
    for (const args of [[], ['--destroy-the-log']]) {
      expect(await migrate(['rollback', ...args])).to.deep.equal({
        ended: 'code 1',
        out: [],
        err: [
          'Connected to this database: tasktrail_auth (1), tasktrail_task (1). Stop the services ' +
            'and whatever else uses it: no migration is rolled back under them.',
        ],
      })
    }
    expect((await migrate(['status'])).out).to.include(`done     ${all.at(-1)}`)
    await auth.end()
    await task.end()
    expect((await migrate(['rollback'])).ended).to.equal('code 0')
  })

  it("makes the services' logins, each with its role alone, and gives them new passwords", async () => {
    const { pid } = process
    const [auth, task, worker] = [`auth_${pid}`, `task_${pid}`, `worker_${pid}`]
    const users = { AUTH_DB_USER: auth, TASK_DB_USER: task, WORKER_DB_USER: worker }
    const env = { DATABASE_URL: database.url, ...users }
    const as = async (user: string, password: string, sql: string) => {
      const client = new pg.Client({ ...database.config.connection, user, password })
      try {
        await client.connect()
        return (await client.query(sql)).rows
      } catch (error) {
        return (error as { code: string }).code
      } finally {
        await client.end()
      }
    }
    try {
      const passwords = {
        AUTH_DB_PASSWORD: "it's auth",
        TASK_DB_PASSWORD: 'task',
        WORKER_DB_PASSWORD: 'worker',
      }
      const first = await migrate(['latest'], { ...env, ...passwords })
      expect(first).to.deep.equal({
        ended: 'code 0',
        out: [
          'Nothing to migrate.',
          `${auth} may log in, as tasktrail_auth`,
          `${task} may log in, as tasktrail_task`,
          `${worker} may log in, as tasktrail_worker`,
        ],
        err: [],
      })
      expect(await as(auth, "it's auth", 'select id from users')).to.deep.equal([])
      expect(await as(auth, "it's auth", 'select id from tasks')).to.equal('42501')
      expect(await as(task, 'task', 'select id from tasks')).to.deep.equal([])
      expect(await as(task, 'task', 'select id from users')).to.equal('42501')
      expect(await as(worker, 'worker', 'select n from log_tiles')).to.deep.equal([])
      expect(await as(worker, 'worker', 'select password_hash from users')).to.equal('42501')

      const changed = { ...passwords, TASK_DB_PASSWORD: 'renewed' }
      expect((await migrate(['latest'], { ...env, ...changed })).ended).to.equal('code 0')
      expect(await as(task, 'task', 'select 1')).to.equal('28P01')
      expect(await as(task, 'renewed', 'select 1')).to.have.length(1)

      await ranBefore('20991231000000_later.ts')
      expect((await migrate(['latest'], { ...env, ...passwords })).ended).to.equal('code 0')
      expect(await as(task, 'task', 'select 1')).to.have.length(1)
    } finally {
      await query(`drop role if exists ${auth}, ${task}, ${worker}`)
    }
  })

  it('has nothing to do when a newer version has run, which alone can go back', async () => {
    const later = ['20991231000001_more.ts', '20991231000002_most.ts']
    for (const name of later) await ranBefore(name)
    expect(await migrate(['latest'])).to.deep.equal({
      ended: 'code 0',
      out: [`The schema is newer than this version (${later.join(', ')}): nothing to migrate.`],
      err: [],
    })
    expect(await migrate(['rollback'])).to.deep.equal({
      ended: 'code 1',
      out: [],
      err: ['A newer version has migrated this schema: only that one can roll it back.'],
    })
    const { out } = await migrate(['status'])
    expect(out).to.deep.equal([...all, ...later].map((name) => `done     ${name}`))
  })

  it('refuses a schema whose history is not its own', async () => {
    const expectRefusal = async () => {
      const { ended, err } = await migrate(['latest'])
      expect(ended).to.equal('code 1')
      expect(err.join('\n')).to.match(/corrupt/)
    }
    await ranBefore('20201231000000_earlier.ts')
    await expectRefusal()
    await query("delete from knex_migrations where name like '2020%'")
    // Later, but on top of something else.
    await ranBefore('20991231000000_later.ts')
    await query(`delete from knex_migrations where name = '${all.at(-1)}'`)
    await expectRefusal()
  })

  it('refuses a login without its password, before it changes anything', async () => {
    const { ended, err } = await migrate(['latest'], {
      DATABASE_URL: database.url,
      TASK_DB_USER: 'task_service',
    })
    expect(ended).to.equal('code 1')
    expect(err).to.deep.equal(['The environment is not complete: TASK_DB_PASSWORD is missing.'])
  })

  it('is done once by many at the same time', async () => {
    await backToNothing()
    const runs = await Promise.all([1, 2, 3].map(() => migrate(['latest'])))
    expect(runs.map(({ ended }) => ended)).to.deep.equal(['code 0', 'code 0', 'code 0'])
    const lines = runs.flatMap(({ out }) => out)
    expect(lines.filter((line) => line.startsWith('Migrated'))).to.have.lengthOf(all.length)
    expect(lines.filter((line) => line === 'Nothing to migrate.')).to.have.lengthOf(2)
  })

  it('goes on after a run that was killed and left its mark', async () => {
    await backToNothing()
    await query('update knex_migrations_lock set is_locked = 1')
    expect((await migrate(['latest'])).ended).to.equal('code 0')
  })

  it('finds the server that npm start runs, through DATA_DIR, or runs it itself', async () => {
    const place = await mkdtemp(join(tmpdir(), 'tasktrail-migrate-'))
    const env = { DATA_DIR: place }
    const dataDir = postgresDirectory(env)
    const { DB_PASSWORD: password } = await keepSecrets(env)
    const settings = { fsync: 'off' }
    const server = await startEmbeddedPostgres({
      dataDir,
      password,
      database: 'tasktrail',
      settings,
    })
    expect((await migrate(['latest'], env)).out).to.have.lengthOf(all.length)
    await server.stop()
    expect(await migrate(['rollback'], env)).to.deep.equal({
      ended: 'code 0',
      out: [`Rolled back ${all.at(-1)}`],
      err: [],
    })
    expect(await livePostmaster(dataDir)).to.equal(null)
    const empty = { DATA_DIR: join(place, 'empty') }
    expect(await migrate(['status'], empty)).to.deep.equal({
      ended: 'code 1',
      out: [],
      err: [
        `No database: no server runs on ${postgresDirectory(empty)}. Run "npm start" in another ` +
          'terminal, or set DATABASE_URL, or DB_HOST, DB_PORT, DB_NAME, DB_USER and DB_PASSWORD.',
      ],
    })
    await rm(place, { recursive: true })
  })

  it('says in one sentence what is wrong', async () => {
    const [nowhere] = await freePorts(1)
    const url = (host: string) => ({ DATABASE_URL: `postgres://me:hidden@${host}:${nowhere}/x` })
    for (const [args, env, sentence] of [
      [
        ['status'],
        url('127.0.0.1'),
        `Cannot reach the database at 127.0.0.1:${nowhere}: nothing listens there.`,
      ],
      [
        ['status'],
        url('localhost'),
        `Cannot reach the database at localhost:${nowhere}: nothing listens there.`,
      ],
      [
        ['status'],
        { DB_HOST: 'localhost' },
        'The environment is not complete: DB_NAME is missing; DB_USER is missing; DB_PASSWORD is missing.',
      ],
    ] as [string[], Record<string, string>, string][]) {
      expect(await migrate(args, env)).to.deep.equal({ ended: 'code 1', out: [], err: [sentence] })
    }
  })

  it('refuses what its usage does not say', async () => {
    const name = 'Name the migration in lower_case_words: npm run migrate:make -- add_labels.'
    for (const [args, sentence] of [
      [['latets'], 'There is no "latets": use latest, status, rollback or make.'],
      [['constructor'], 'There is no "constructor": use latest, status, rollback or make.'],
      [['latest', 'more'], "Unexpected argument 'more'."],
      [['latest', '--destroy-the-log'], 'latest does not take --destroy-the-log.'],
      [['make'], name],
      [['make', '../x'], name],
    ] as const) {
      const { ended, out, err } = await migrate([...args])
      expect({ ended, out, sentence: err[0] }).to.deep.equal({ ended: 'code 2', out: [], sentence })
      expect(err[2]).to.match(/^Usage: npm run migrate /)
    }
  })

  it('makes a migration in the style of the others, without a database', async () => {
    const place = await mkdtemp(join(tmpdir(), 'tasktrail-migrate-'))
    const file = await makeMigration('add_labels', place)
    expect(basename(file)).to.match(/^\d{14}_add_labels\.ts$/)
    expect(await readFile(file, 'utf8')).to.match(
      /^import type \{ Knex \} from 'knex'\n\nexport async function up/,
    )
    await rm(place, { recursive: true })
  })
})
