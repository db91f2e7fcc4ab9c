import { readdir } from 'node:fs/promises'
import { expect } from 'chai'
import pg from 'pg'
import { SERVICES } from '../cdk/catalogue.ts'
import { route } from '../src/http/routing.ts'
import { freePorts } from '../src/infra/local/free-ports.ts'
import { killAll, startProcess, until } from './support/processes.ts'
import { ADMINISTRATOR, DATABASE, type RdsPostgres, rdsPostgres } from './support/rds-postgres.ts'
import { client, newUser } from './support/system.ts'

const KEYS = {
  TEXT_KEY: 'a text key of forty characters, at least',
  LOG_KEY: 'a seal key of forty characters, at least',
  JWT_SECRET: 'a signing key of forty characters, or so',
  INTERNAL_API_KEY: 'an-internal-api-key',
  PASSWORD_PEPPER: 'a pepper of enough characters',
}
const { 'auth-service': AUTH, 'task-service': TASK, worker: WORKER } = SERVICES
const PASSWORDS: Record<string, string> = {
  [AUTH.databaseUser]: 'of auth-service',
  [TASK.databaseUser]: 'of task-service',
  [WORKER.databaseUser]: 'of the worker',
}

describe('An administrator who is not a superuser, as on RDS', function () {
  // Some fifteen processes; on a busy machine they take as long as they take.
  this.timeout(600_000)
  let server: RdsPostgres
  const pids: number[] = []

  before(async () => {
    server = await rdsPostgres()
  })
  after(async () => {
    killAll(pids)
    await server.stop()
  })

  const start = (script: string, args: readonly string[], env: Record<string, string>) => {
    const started = startProcess(process.execPath, [`src/${script}.ts`, ...args], { env })
    pids.push(started.pid)
    return started
  }
  const run = async (script: string, args: readonly string[], env: Record<string, string>) => {
    const { out, err, ended } = start(script, args, env)
    return { ended: await ended, err, out }
  }
  const administrator = () => server.envOf(ADMINISTRATOR, server.password)
  const loginOf = (user: string) => server.envOf(user, PASSWORDS[user] ?? '')
  /** With the variables that the migration's task has (cdk/stacks/services.ts). */
  const migrate = () =>
    run('migrate', ['latest'], {
      ...administrator(),
      ...Object.fromEntries(
        Object.values(SERVICES).flatMap(({ databasePrefix, databaseUser }) => [
          [`${databasePrefix}_DB_USER`, databaseUser],
          [`${databasePrefix}_DB_PASSWORD`, PASSWORDS[databaseUser] ?? ''],
        ]),
      ),
    })
  /** The rows, or the code of the error. */
  const as = async (user: string, password: string, sql: string) => {
    const { DB_PORT } = server.envOf(user, password)
    const connection = { host: '127.0.0.1', port: Number(DB_PORT), database: DATABASE }
    const login = new pg.Client({ ...connection, user, password })
    try {
      await login.connect()
      return (await login.query(sql)).rows
    } catch (error) {
      return (error as { code: string }).code
    } finally {
      await login.end()
    }
  }

  it('is indeed not one', async () => {
    const { rows } = await server.root.query(
      `select rolsuper, rolbypassrls, rolreplication from pg_roles where rolname = $1`,
      [ADMINISTRATOR],
    )
    expect(rows).to.deep.equal([{ rolsuper: false, rolbypassrls: false, rolreplication: false }])
  })

  it('brings an empty database to the current schema and makes the logins of the services', async () => {
    const migrated = (await readdir('db/migrations')).sort().map((name) => `Migrated ${name}`)
    const logins = [
      'auth_service may log in, as tasktrail_auth',
      'task_service may log in, as tasktrail_task',
      'worker may log in, as tasktrail_worker',
    ]
    expect(await migrate()).to.deep.equal({
      ended: 'code 0',
      out: [...migrated, ...logins],
      err: [],
    })
    expect(await migrate()).to.deep.equal({
      ended: 'code 0',
      out: ['Nothing to migrate.', ...logins],
      err: [],
    })
  })

  it('gives each login the rights of its own role and no others', async () => {
    for (const [user, may, mayNot] of [
      [AUTH.databaseUser, 'users', 'tasks'],
      [TASK.databaseUser, 'tasks', 'users'],
      [WORKER.databaseUser, 'log_records', 'login_attempts'],
    ] as const) {
      const password = PASSWORDS[user] ?? ''
      expect(await as(user, password, `select from ${may}`)).to.deep.equal([])
      expect(await as(user, password, `select from ${mayNot}`)).to.equal('42501')
      expect(await as(user, password, 'delete from events')).to.equal('42501')
      expect(await as(user, password, `set role ${ADMINISTRATOR}`)).to.equal('42501')
    }
  })

  it('gives a login the new password of its secret, by another run of the migration', async () => {
    const { databaseUser: user } = TASK
    const before = PASSWORDS[user] ?? ''
    PASSWORDS[user] = "it's renewed"
    expect((await migrate()).ended).to.equal('code 0')
    expect(await as(user, before, 'select 1')).to.equal('28P01')
    expect(await as(user, "it's renewed", 'select')).to.have.length(1)
  })

  it('has created a database that works for the services, the worker and the manual commands', async () => {
    const [auth = 0, task = 0, health = 0] = await freePorts(3)
    const common = { HOST: '127.0.0.1', DRAIN_SECONDS: '0', ...KEYS }
    const place = (port: number) => ({ ...common, PORT: String(port) })
    const AUTH_SERVICE_URL = `http://127.0.0.1:${auth}`
    const worker = { ...place(health), ...loginOf(WORKER.databaseUser) }
    const processes = [
      start('auth-service', [], {
        ...place(auth),
        BCRYPT_COST: '10',
        ...loginOf(AUTH.databaseUser),
      }),
      start('task-service', [], {
        ...place(task),
        AUTH_SERVICE_URL,
        ...loginOf(TASK.databaseUser),
      }),
      start('worker', [], worker),
    ]
    for (const { line } of processes) await line(/"listening"/)
    const call = client((path) =>
      route(path) === 'task-service' ? `http://127.0.0.1:${task}` : AUTH_SERVICE_URL,
    )
    const { username, token } = await newUser(call)
    const made = await call('POST', '/tasks', { token, body: { title: 'On RDS' } })
    expect(made.status).to.equal(201)

    // What docs/deploy.md has run by hand, with the worker's login and with the administrator's.
    const succeeds = async (script: string, args: string[], env: Record<string, string>) => {
      const { ended, err, out } = await run(script, args, { ...KEYS, ...env })
      expect({ ended, err }, `${script} ${args}`).to.deep.equal({ ended: 'code 0', err: [] })
      return out.join('\n')
    }
    const logged = `
      select from log_checkpoint where published_position >= (select max(position) from events)`
    await until(async () => {
      const rows = await as(ADMINISTRATOR, server.password, logged)
      return Array.isArray(rows) && rows.length > 0
    }, 'a checkpoint over all events')
    expect(await succeeds('projections', ['status'], worker)).to.include('up to date')
    await succeeds('audit-verify', [], worker)
    await succeeds('projections', ['rebuild', 'tasks'], administrator())
    await succeeds('projections', ['rebuild', 'audit'], administrator())
    await succeeds('grant-role', [username, 'auditor'], administrator())
    const tasks = await call('GET', '/tasks', { token })
    expect(tasks.body.tasks.map(({ title }: { title: string }) => title)).to.deep.equal(['On RDS'])

    for (const { child } of processes) child.kill('SIGTERM')
    for (const { ended } of processes) expect(await ended).to.equal('code 0')
  })
})
