import { randomUUID } from 'node:crypto'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import pg from 'pg'
import {
  type EmbeddedPostgres,
  SUPERUSER,
  startEmbeddedPostgres,
} from '../../../src/infra/local/embedded-postgres.ts'
import type { DatabaseConfig } from '../../../src/infra/postgres/connection/database.ts'
import {
  IRREPLACEABLE,
  type Migrations,
  migrations,
} from '../../../src/infra/postgres/connection/migrations.ts'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'
import { startProcess, until } from '../../support/processes.ts'
import { startSystem } from '../../support/system.ts'

const ROLES = ['tasktrail_auth', 'tasktrail_task', 'tasktrail_worker', 'tasktrail_auditor'] as const

/** What each role may do to each table; to a table that is not named, nothing. */
const TABLES: Record<(typeof ROLES)[number], Record<string, string>> = {
  tasktrail_auth: {
    account_links: 'select update(used_at)',
    challenges: 'delete insert select update(expires_at)',
    email_changes: 'insert select update',
    factors: 'delete insert select update(last_step) update(last_used_at) update(sign_count)',
    former_passwords: 'delete insert select',
    key_fingerprints: 'select',
    login_attempts: 'delete insert select update',
    recovery_codes: 'delete insert select',
    identities: 'delete insert select',
    pool_challenges: 'delete insert select update(asked_at)',
    pool_sessions: 'insert select',
    provider_sign_ins: 'delete insert select update(begun_at)',
    refresh_tokens: 'insert(hash) insert(session_id)',
    security_events:
      'insert(details) insert(ip) insert(occurred_at) insert(request_id) insert(session_id) ' +
      'insert(type) insert(user_agent) insert(user_id) insert(username) select(details) select(id) ' +
      'select(ip) select(occurred_at) select(session_id) select(type) select(user_agent) select(user_id)',
    sessions:
      'delete insert select update(amr) update(auth_time) update(ended_at) update(last_used_at)',
    users: 'insert select update(credentials_version) update(password_hash) update(updated_at)',
  },
  tasktrail_task: {
    audit_accesses:
      'insert(accessed_at) insert(ip) insert(kind) insert(query) insert(request_id) insert(role) ' +
      'insert(session_id) insert(user_id) select',
    audit_events: 'select',
    commands: 'select',
    events: 'select',
    key_fingerprints: 'select',
    log_bundles: 'select',
    log_checkpoint: 'select',
    log_records: 'select',
    log_tiles: 'select',
    parked_streams: 'select(projection) select(stream_id) select(version)',
    photos: 'select update(height) update(version) update(width)',
    projections: 'select',
    replica_marks: 'delete insert select',
    security_events: 'select',
    streams: 'select',
    tasks: 'select',
    user_keys: 'insert(user_id) insert(wrapped_by) insert(wrapped_key) select',
  },
  tasktrail_worker: {
    account_links: 'insert select update(used_at)',
    audit_accesses: 'select',
    audit_events: 'delete insert select update',
    audit_facts: 'delete insert select update',
    email_changes: 'select',
    events: 'select',
    key_fingerprints: 'select update(fingerprint) update(since)',
    log_bundles: 'insert select update(first_position) update(places)',
    log_checkpoint: 'select update',
    log_records: 'insert select',
    log_tiles: 'insert select update(hashes)',
    mails:
      'delete select update(given_up_at) update(next_try_at) update(sent_at) update(tries) ' +
      'update(user_id) update(why)',
    parked_streams: 'delete insert select update',
    photos:
      'delete select update(gone_at) update(thumbnails) update(thumbnails_due_at) ' +
      'update(thumbnails_failed)',
    projections: 'insert select update',
    security_events: 'select',
    streams: 'select',
    tasks: 'select',
    user_keys: 'select update(wrapped_by) update(wrapped_key)',
    user_usage: 'delete insert select update',
    users:
      'select(credentials_version) select(email) select(email_confirmed_at) select(id) ' +
      'select(role) select(username)',
  },
  tasktrail_auditor: {
    audit_accesses: 'select',
    audit_events: 'select',
    events: 'select',
    log_bundles: 'select',
    log_checkpoint: 'select',
    log_records: 'select',
    log_tiles: 'select',
    parked_streams: 'select(projection) select(stream_id) select(version)',
    photos: 'select',
    projections: 'select',
    security_events: 'select',
    streams: 'select',
    users: 'select(id) select(role)',
  },
}
const SEQUENCES = {
  tasktrail_auth: [],
  tasktrail_task: ['task_ids'],
  tasktrail_worker: [],
  tasktrail_auditor: [],
}
const FUNCTIONS = {
  tasktrail_auth: [
    'account_records',
    'change_role',
    'claim_key',
    'confirm_address',
    'erase_user',
    'lock_user',
    'refresh_session',
    'remove_erased_rows',
    'rename_user',
    'request_password_reset',
    'unlink_identity',
    'unlock_user',
    'user_ngrams',
  ],
  tasktrail_task: ['append_events', 'claim_key', 'last_position', 'offer_photo', 'safe_position'],
  tasktrail_worker: [
    'claim_key',
    'count_keyed_answers',
    'drop_rebuild_remains',
    'last_position',
    'photos_erased',
    'remove_erased_rows',
    'remove_expired_answers',
    'remove_expired_records',
    'remove_old_logins',
    'remove_old_mails',
    'safe_position',
    'settled_id',
  ],
  tasktrail_auditor: ['safe_position'],
}

const PRIVILEGES = `
  select relname as name, string_agg(can, ' ' order by can) as can from (
    select relname, lower(privilege) as can
      from pg_class, unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES',
        'TRIGGER']) privilege
      where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm')
        and has_table_privilege($1, pg_class.oid, privilege)
    union all
    select relname, lower(privilege) || '(' || attname || ')'
      from pg_class join pg_attribute on attrelid = pg_class.oid and attnum > 0,
        unnest(array['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) privilege
      where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm')
        and has_column_privilege($1, pg_class.oid, attnum, privilege)
        and not has_table_privilege($1, pg_class.oid, privilege)
  ) allowed group by relname`

async function connected(config: DatabaseConfig): Promise<pg.Client> {
  const client = new pg.Client(config.connection)
  await client.connect()
  return client
}

const message = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (error: Error) => error.message,
  )

describe('The roles of the database', () => {
  let database: TestDatabase
  let sql: pg.Client

  before(async () => {
    database = await testDatabase()
    sql = await connected(database.config)
  })
  after(async () => {
    await sql.end()
    await database.drop()
  })

  const names = async (text: string, role: string): Promise<string[]> =>
    (await sql.query(text, [role])).rows.map(({ name }) => name)

  for (const role of ROLES) {
    describe(role, () => {
      it('may do to the tables what is listed, and no more', async () => {
        const { rows } = await sql.query(PRIVILEGES, [role])
        const found = Object.fromEntries(rows.map(({ name, can }) => [name, can]))
        expect(found).to.deep.equal(TABLES[role])
      })

      it('draws from the sequences that are listed, and no others', async () => {
        const usable = `
          select relname as name from pg_class
          where relnamespace = 'public'::regnamespace and relkind = 'S' and (
            has_sequence_privilege($1, oid, 'USAGE') or has_sequence_privilege($1, oid, 'UPDATE')
            or has_sequence_privilege($1, oid, 'SELECT'))`
        expect(await names(usable, role)).to.deep.equal(SEQUENCES[role])
      })

      it('calls the functions that are listed, and no others but those of triggers', async () => {
        const callable = `
          select proname as name from pg_proc
          where pronamespace = 'public'::regnamespace and prorettype <> 'trigger'::regtype
            and has_function_privilege($1, oid, 'EXECUTE') order by proname`
        expect(await names(callable, role)).to.deep.equal(FUNCTIONS[role])
      })

      it('cannot log in, make anything, or pass for another role', async () => {
        const { rows } = await sql.query(
          `select rolcanlogin or rolsuper or rolcreatedb or rolcreaterole or rolbypassrls
              or rolreplication as attributes,
            has_schema_privilege(oid, 'public', 'create') as in_schema,
            has_database_privilege(oid, current_database(), 'create') as in_database,
            exists (select from pg_auth_members where member = pg_roles.oid) as memberships
          from pg_roles where rolname = $1`,
          [role],
        )
        expect(rows).to.deep.equal([
          { attributes: false, in_schema: false, in_database: false, memberships: false },
        ])
      })
    })
  }

  const REFUSED: Record<(typeof ROLES)[number], readonly string[]> = {
    tasktrail_auth: [
      `update users set username = 'admin'`,
      `update users set email = 'x@example.com'`,
      `update users set role = 'admin'`,
      'update users set email_confirmed_at = now()',
      'select from mails',
      'delete from account_links',
      'delete from users',
      'update sessions set user_id = 1',
      `update sessions set expires_at = 'infinity'`,
      'select from tasks',
      'select from events',
      'select from user_keys',
      'select username from security_events',
      'delete from security_events',
      'drop table users',
      'create table loot (password text)',
      'alter table security_events disable trigger all',
      'set session_replication_role = replica',
    ],
    tasktrail_task: [
      'select from users',
      'select from sessions',
      'select from login_attempts',
      `insert into events (stream_id) values ('task-1')`,
      `update events set type = 'TaskDeleted'`,
      'delete from events',
      'truncate events',
      'update streams set version = 1',
      `update tasks set title = '"mine now"'`,
      'delete from commands',
      'update user_keys set wrapped_key = null',
      'delete from user_keys',
      'update audit_events set actor_id = 1',
      'delete from audit_accesses',
      'update log_checkpoint set position = 1',
      'select remove_erased_rows(1)',
      `select setval('task_ids', 1)`,
      'alter table events disable trigger all',
    ],
    tasktrail_worker: [
      'select password_hash from users',
      'update users set email_confirmed_at = now()',
      'insert into mails default values',
      'insert into security_events default values',
      'insert into audit_accesses default values',
      'select from commands',
      'delete from events',
      'update streams set version = 1',
      'delete from tasks',
      'update log_records set leaf = 1',
      'delete from log_checkpoint',
      'insert into log_checkpoint default values',
      'delete from user_keys',
      'update user_keys set destroyed_at = now()',
      'update user_keys set user_id = 1',
      'update user_keys set rows_removed_at = now()',
      'alter table log_tiles disable trigger all',
    ],
    tasktrail_auditor: [
      'select from user_keys',
      'delete from audit_accesses',
      'update log_tiles set n = 1',
      'select username from users',
      'select from sessions',
      'select from tasks',
      'select from commands',
      'delete from events',
      'delete from security_events',
      `select nextval('task_ids')`,
    ],
  }
  for (const role of ROLES) {
    for (const statement of REFUSED[role]) {
      it(`refuse ${role}: ${statement}`, async () => {
        await sql.query(`begin; set local role ${role}`)
        const outcome = await message(sql.query(statement))
        await sql.query('rollback')
        expect(outcome).to.match(/^(permission denied|must be owner)/)
      })
    }
  }
})

/** The whole of what migrations can leave behind in the schema, their own record aside. */
const OBJECTS = `
  select format('%s %s', relkind, relname) as name from pg_class
    where relnamespace = 'public'::regnamespace and relname not like 'knex%' and relkind <> 'i'
  union all select 'function ' || proname from pg_proc where pronamespace = 'public'::regnamespace
  union all select 'type ' || typname from pg_type
    where typnamespace = 'public'::regnamespace and typtype = 'e'
  order by 1`

/** What is lost with these is made again: from the log, or by the next login or request. */
const REPLACEABLE = [
  'pool_challenges',
  'pool_sessions',
  'provider_sign_ins',
  ...['tasks', 'audit_events', 'audit_facts', 'projections', 'parked_streams'],
  ...['user_usage', 'keyed_answers'],
  ...[
    'commands',
    'sessions',
    'refresh_tokens',
    'challenges',
    'login_attempts',
    'key_fingerprints',
    'mails',
    'account_links',
    'email_changes',
    'replica_marks',
  ],
  // Nobody can make the same signatures again, but without their tiles they prove nothing.
  ...['log_bundles', 'log_checkpoint', 'log_records'],
]

describe('The migrations', () => {
  const directory = new URL('../../../db/migrations', import.meta.url)
  let all: string[]

  before(async () => {
    all = (await readdir(directory)).toSorted()
  })

  const objects = async (config: DatabaseConfig): Promise<string[]> => {
    const client = await connected(config)
    const { rows } = await client.query(OBJECTS).finally(() => client.end())
    return rows.map(({ name }) => name)
  }
  const backToNothing = async ({ rollback }: Migrations): Promise<string[]> => {
    const names: string[] = []
    for (let name = await rollback(true); name !== null; name = await rollback(true))
      names.push(name)
    return names
  }
  /** A user and a task are made over HTTP, by services that log in as the URL says. */
  const use = async (database: TestDatabase) => {
    const system = await startSystem({}, undefined, database)
    try {
      const { token } = await system.newUser()
      const { status } = await system.call('POST', '/tasks', { token, body: { title: 'Migrate' } })
      expect(status).to.equal(201)
    } finally {
      await system.stop()
    }
  }

  it('make no table of which nobody has said whether it can be replaced', async () => {
    const database = await testDatabase()
    const made = await objects(database.config)
    const tables = made.flatMap((name) => (name.startsWith('r ') ? [name.slice(2)] : []))
    expect(tables).to.have.members([...IRREPLACEABLE, ...REPLACEABLE])
    await database.drop()
  })

  it('go back with data in the tables, and forward again', async () => {
    const database = await testDatabase()
    const schema = migrations(database.config)
    const before = await objects(database.config)
    await use(database)
    expect(await backToNothing(schema)).to.deep.equal(all.toReversed())
    expect(await objects(database.config)).to.deep.equal([])
    expect(await schema.rollback(true)).to.equal(null)
    expect(await schema.latest()).to.deep.equal(all)
    expect(await schema.latest()).to.deep.equal([])
    expect(await objects(database.config)).to.deep.equal(before)
    await use(database)
    await schema.close()
    await database.drop()
  })

  describe('of an owner that is no superuser, on a server that has seen none', () => {
    const password = randomUUID()
    let dataDir: string
    let server: EmbeddedPostgres
    let root: pg.Client

    const place = (user: string, database: string): DatabaseConfig['connection'] => {
      return { host: '127.0.0.1', port: server.port, user, password, database }
    }
    const databaseOf = (user: string, name: string): TestDatabase => ({
      config: { connection: place(user, name), poolMax: 2 },
      url: `postgres://${user}:${password}@127.0.0.1:${server.port}/${name}`,
      drop: async () => {},
    })

    before(async () => {
      dataDir = await mkdtemp(join(tmpdir(), 'tasktrail-roles-'))
      const settings = { fsync: 'off', synchronous_commit: 'off' }
      server = await startEmbeddedPostgres({ dataDir: join(dataDir, 'pg'), password, settings })
      root = await connected({ connection: place(SUPERUSER, 'postgres'), poolMax: 1 })
      await root.query(`create role owner login createrole password '${password}'`)
      await root.query(`create role app login password '${password}'`)
      for (const name of ['one', 'two', 'three'])
        await root.query(`create database ${name} owner owner`)
    })
    after(async () => {
      await root.end()
      await server.stop()
      await rm(dataDir, { recursive: true, force: true })
    })

    it('make the roles once, though several databases are migrated at the same time', async () => {
      const runs = ['one', 'two', 'three'].map((name) => {
        const schema = migrations(databaseOf('owner', name).config)
        return schema.latest().finally(schema.close)
      })
      expect(await Promise.all(runs)).to.deep.equal([all, all, all])
    })

    it('find no fault in a membership that another migration grants at this moment', async () => {
      await root.query(`create role late login createrole password '${password}'`)
      await root.query('create database four owner late')
      const other = await connected({ connection: place(SUPERUSER, 'postgres'), poolMax: 1 })
      await other.query('begin; grant tasktrail_auth, tasktrail_task, tasktrail_auditor to late')
      const schema = migrations(databaseOf('late', 'four').config)
      const run = schema.latest().finally(schema.close)
      const waiting = `select from pg_stat_activity
        where datname = 'four' and wait_event = 'transactionid'`
      await until(async () => (await root.query(waiting)).rows.length > 0, 'a migration that waits')
      await other.query('commit')
      await other.end()
      expect(await run).to.deep.equal(all)
    })

    it('serve the services with the rights of their roles', async () => {
      await use(databaseOf('owner', 'one'))
      const owner = await connected(databaseOf('owner', 'one').config)
      expect(await message(owner.query('delete from events'))).to.match(/append-only/)
      expect(await message(owner.query('truncate security_events'))).to.match(/append-only/)
      await owner.end()
    })

    it('let their owner rebuild the views and grant roles, by hand', async () => {
      const owned = databaseOf('owner', 'one')
      const system = await startSystem({}, undefined, owned)
      try {
        const { username, token } = await system.newUser()
        await system.call('POST', '/tasks', { token, body: { title: 'Rebuild' } })
        const { TEXT_KEY = '' } = system.env
        for (const [script, args] of [
          ['projections', ['rebuild', 'tasks']],
          ['projections', ['rebuild', 'audit']],
          ['grant-role', [username, 'auditor']],
        ] as const) {
          const { ended, err } = startProcess(process.execPath, [`src/${script}.ts`, ...args], {
            env: { DATABASE_URL: owned.url, TEXT_KEY },
          })
          expect({ ended: await ended, err }, script).to.deep.equal({ ended: 'code 0', err: [] })
        }
      } finally {
        await system.stop()
      }
    })

    it('let no stranger in, whose locks would hold up the trail, changes and the log', async () => {
      await root.query(`create role stranger login password '${password}'`)
      const { config } = databaseOf('stranger', 'one')
      const holdUp = async () => {
        const stranger = await connected(config)
        // As an append does it that never ends.
        const lock = 'select pg_advisory_lock_shared(21587::bigint << 48)'
        await stranger.query(lock).finally(() => stranger.end())
      }
      expect(await message(holdUp())).to.equal('permission denied for database "one"')
      await root.query('grant tasktrail_auditor to stranger')
      await (await connected(config)).end()
    })

    it('serve a login that is nothing but a member of the roles', async () => {
      await root.query('grant tasktrail_auth, tasktrail_task to app')
      await use(databaseOf('app', 'two'))
      const app = await connected(databaseOf('app', 'two').config)
      const attempts = ['drop table users', 'delete from events', 'select from knex_migrations']
      for (const attempt of attempts) {
        expect(await message(app.query(attempt))).to.match(/^(permission denied|must be owner)/)
      }
      await app.end()
    })

    it('go back with data in the tables, and forward again', async () => {
      const database = databaseOf('owner', 'one')
      const schema = migrations(database.config)
      expect(await backToNothing(schema)).to.deep.equal(all.toReversed())
      expect(await objects(database.config)).to.deep.equal([])
      expect(await schema.latest()).to.deep.equal(all)
      await use(database)
      await schema.close()
    })
  })
})
