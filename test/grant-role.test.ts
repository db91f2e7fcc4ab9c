import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import pg from 'pg'
import { databaseConfig } from '../src/config.ts'
import {
  EMBEDDED_DATABASE,
  embeddedEnv,
  keepSecrets,
  postgresDirectory,
} from '../src/infra/local/data-dir.ts'
import { startEmbeddedPostgres } from '../src/infra/local/embedded-postgres.ts'
import { freePorts } from '../src/infra/local/free-ports.ts'
import { migrations } from '../src/infra/postgres/connection/migrations.ts'
import { type TestDatabase, testDatabase } from './support/postgres.ts'
import { startProcess } from './support/processes.ts'

const ADD = `
  insert into users (username, email, password_hash, created_at, updated_at)
  values ($1::text, $1::text || '@example.com', 'x', now(), now()) returning id`

describe('npm run grant-role', () => {
  let database: TestDatabase
  let sql: pg.Client

  before(async () => {
    database = await testDatabase()
    sql = new pg.Client(database.url)
    await sql.connect()
  })
  after(async () => {
    await sql.end()
    await database.drop()
  })

  const grant = async (args: readonly string[], env: Record<string, string> = {}) => {
    const run = startProcess(process.execPath, ['src/grant-role.ts', ...args], {
      env: { DATABASE_URL: database.url, ...env },
    })
    return { ended: await run.ended, out: run.out, err: run.err }
  }
  const user = async (username: string): Promise<number> =>
    (await sql.query(ADD, [username])).rows[0].id
  const rolesGranted = async (id: number) => {
    const { rows } = await sql.query(
      `select username, details from security_events
       where user_id = $1 and type = 'role_changed' order by id`,
      [id],
    )
    return rows
  }

  it('gives a user the role, in any letter case of the name, and records it', async () => {
    const id = await user('Ada')
    expect(await grant(['ada', 'auditor'])).to.deep.equal({
      ended: 'code 0',
      out: ['Ada now has the role auditor.'],
      err: [],
    })
    expect((await grant(['ADA', 'user'])).out).to.deep.equal(['Ada now has the role user.'])
    const { rows } = await sql.query('select role from users where id = $1', [id])
    expect(rows).to.deep.equal([{ role: 'user' }])
    expect(await rolesGranted(id)).to.deep.equal([
      { username: 'Ada', details: { from: 'user', to: 'auditor', by: 0 } },
      { username: 'Ada', details: { from: 'auditor', to: 'user', by: 0 } },
    ])
  })

  for (const [args, code, sentence] of [
    [[], 2, 'An argument is missing.'],
    [['bob'], 2, 'An argument is missing.'],
    [['bob', 'auditor', 'admin'], 2, "Unexpected argument 'admin'."],
    [['bob', 'root'], 2, 'There is no role "root": use user, auditor, admin.'],
    [['bob', 'Admin'], 2, 'There is no role "Admin": use user, auditor, admin.'],
    [['bob', 'constructor'], 2, 'There is no role "constructor": use user, auditor, admin.'],
    [['nobody', 'admin'], 1, 'There is no user "nobody".'],
    [["x' or true --", 'admin'], 1, 'There is no user "x\' or true --".'],
    [['%', 'admin'], 1, 'There is no user "%".'],
  ] as const) {
    it(`refuses "${args.join(' ')}" in one sentence`, async () => {
      const { ended, out, err } = await grant(args)
      expect({ ended, out }).to.deep.equal({ ended: `code ${code}`, out: [] })
      expect(err[0]).to.equal(sentence)
      expect(err[2]).to.equal(
        code === 2 ? 'Usage: npm run grant-role -- <username> <role>' : undefined,
      )
    })
  }

  describe('without a database', () => {
    it('says that nothing listens there', async () => {
      const [port = 0] = await freePorts(1)
      const url = `postgres://tasktrail:a-password@127.0.0.1:${port}/tasktrail`
      const { ended, err } = await grant(['ada', 'admin'], { DATABASE_URL: url })
      expect(ended).to.equal('code 1')
      expect(err).to.deep.equal([
        `Cannot reach the database at 127.0.0.1:${port}: nothing listens there.`,
      ])
    })

    it('says that the password is wrong, and not which it was', async () => {
      const url = new URL(database.url)
      url.password = 'a-wrong-password'
      const { ended, err } = await grant(['ada', 'admin'], { DATABASE_URL: url.href })
      expect(ended).to.equal('code 1')
      expect(err).to.have.length(1)
      expect(err[0]).to.match(/^Cannot reach the database at .*password authentication failed/)
      expect(err[0]).not.to.include('a-wrong-password')
    })

    it('says what is missing when half of it is named', async () => {
      const { ended, err } = await grant(['ada', 'admin'], { DATABASE_URL: '', DB_HOST: 'db' })
      expect(ended).to.equal('code 1')
      expect(err).to.deep.equal([
        'The environment is not complete: DB_NAME is missing; DB_USER is missing; ' +
          'DB_PASSWORD is missing.',
      ])
    })

    it('says so when it holds no tables of Tasktrail', async () => {
      const url = new URL(database.url)
      url.pathname = '/postgres'
      expect(await grant(['ada', 'admin'], { DATABASE_URL: url.href })).to.deep.equal({
        ended: 'code 1',
        out: [],
        err: ['The database holds no tables of Tasktrail yet: run "npm run migrate".'],
      })
    })
  })

  describe('beside npm start', () => {
    let directory: string

    before(async () => {
      directory = await mkdtemp(join(tmpdir(), 'tasktrail-grant-'))
    })
    after(() => rm(directory, { recursive: true, force: true }))

    it('finds the running server through DATA_DIR, and says so when none runs', async () => {
      const env = { DATABASE_URL: '', DATA_DIR: directory }
      const { DB_PASSWORD } = await keepSecrets(env)
      const server = await startEmbeddedPostgres({
        dataDir: postgresDirectory(env),
        password: DB_PASSWORD,
        database: EMBEDDED_DATABASE,
        settings: { fsync: 'off' },
      })
      try {
        const config = databaseConfig(embeddedEnv(server.port, DB_PASSWORD))
        const schema = migrations(config)
        await schema.latest().finally(schema.close)
        const client = new pg.Client(config.connection)
        await client.connect()
        await client.query(ADD, ['grace']).finally(() => client.end())
        expect(await grant(['grace', 'admin'], env)).to.deep.equal({
          ended: 'code 0',
          out: ['grace now has the role admin.'],
          err: [],
        })
      } finally {
        await server.stop()
      }

      const { ended, err } = await grant(['grace', 'admin'], env)
      expect(ended).to.equal('code 1')
      expect(err).to.have.length(1)
      expect(err[0]).to.match(/^No database: no server runs on .*npm start/)
    })
  })
})
