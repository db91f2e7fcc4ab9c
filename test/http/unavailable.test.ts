import { expect } from 'chai'
import pg from 'pg'
import { type Answer, type System, startSystem } from '../support/system.ts'
import { type TcpProxy, tcpProxy } from '../support/tcp-proxy.ts'

type User = Awaited<ReturnType<System['newUser']>>

const eventually = async (call: () => Promise<Answer>, status: number): Promise<Answer> => {
  for (;;) {
    const answer = await call()
    if (answer.status === status) return answer
    expect(answer.status).to.equal(503)
  }
}

describe('Without its database', () => {
  /** Everything works here; its auth-service also validates for the others. */
  let whole: System
  /** The same database over a wire that can be cut. */
  let wired: System
  let wire: TcpProxy
  let sql: pg.Client
  let ann: User
  let path: string

  before(async () => {
    whole = await startSystem()
    const { database } = whole
    const { host = '', port = 0 } = database.config.connection
    wire = await tcpProxy({ host, port })
    const env = {
      DATABASE_URL: database.url.replace(`:${port}/`, `:${wire.port}/`),
      AUTH_SERVICE_URL: whole.urls.auth,
    }
    wired = await startSystem(env, undefined, database)
    sql = new pg.Client(database.url)
    await sql.connect()
    ann = await whole.newUser()
    const body = { title: 'A task' }
    const created = await wired.call('POST', '/tasks', { token: ann.token, body })
    path = `/tasks/${created.body.task.id}`
  })
  after(async () => {
    await wired.stop()
    await wire.close()
    await sql.end()
    await whole.stop()
  })

  const calls: readonly (readonly [method: string, path: () => string, body?: object])[] = [
    ['GET', () => '/tasks'],
    ['POST', () => '/tasks', { title: 'Another' }],
    ['GET', () => path],
    ['PUT', () => path, { title: 'Changed' }],
    ['PATCH', () => path, { title: 'Changed' }],
    ['DELETE', () => path],
    ['GET', () => '/auth/me'],
    ['POST', () => '/auth/login', { username: 'ann', password: 'a-password' }],
  ]
  const call = (method: string, target: string, body?: object) =>
    wired.call(method, target, { token: ann.token, body })
  const isUnavailable = ({ status, headers, body }: Answer) => {
    expect(status, JSON.stringify(body)).to.equal(503)
    expect(body.code).to.equal('database_unavailable')
    expect(body.message).to.equal('Database connection failed')
    expect(Number(headers.get('retry-after'))).to.be.at.least(1)
  }

  it('a service says 503, that it may come back, and nothing of the reason; then it works', async () => {
    wire.cut()
    for (const [method, target, body] of calls) {
      const answer = await call(method, target(), body)
      isUnavailable(answer)
      expect(JSON.stringify(answer.body)).to.not.match(/ECONN|terminated|postgres|127\.0\.0\.1/)
    }
    wire.restore()
    expect((await call('GET', path)).body.task).to.include({ title: 'A task', version: 1 })
  })

  it('a service is healthy but not ready', async () => {
    wire.cut()
    for (const [name, at] of [
      ['task', '/tasks/health'],
      ['auth', '/auth/health'],
    ] as const) {
      const { status, body } = await wired.call('GET', at)
      expect(status).to.equal(200)
      expect(body).to.deep.equal({ status: 'healthy', service: name })
    }
    for (const url of Object.values(wired.urls)) {
      expect((await fetch(`${url}/ready`)).status).to.equal(503)
    }
    wire.restore()
    for (const url of Object.values(wired.urls)) {
      const ready = await fetch(`${url}/ready`)
      expect(ready.status).to.equal(200)
      expect(await ready.json()).to.deep.equal({ status: 'ready' })
    }
  })

  it('a service survives that all its connections end at once, idle and at work', async () => {
    await sql.query('begin')
    await sql.query('lock table tasks in access exclusive mode')
    const waiting = call('GET', path)
    const blocked = `select pid from pg_stat_activity where wait_event_type = 'Lock'
      and datname = current_database()`
    while ((await sql.query(blocked)).rowCount === 0);
    await sql.query(`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid()`)
    isUnavailable(await waiting)
    await sql.query('rollback')
    await eventually(() => call('GET', path), 200)
    await eventually(() => whole.call('GET', '/tasks', { token: ann.token }), 200)
  })

  it('a service does not wait forever: a long lock is 503', async () => {
    await sql.query('begin')
    await sql.query('lock table tasks in access exclusive mode')
    const began = performance.now()
    isUnavailable(await call('GET', path))
    expect(performance.now() - began).to.be.below(3_000)
    await sql.query('rollback')
    expect((await call('GET', path)).status).to.equal(200)
  })

  it('a write that was cut off is done once, when it is tried again with its key', async () => {
    const body = { title: 'Exactly once' }
    const send = () =>
      wired.call('POST', '/tasks', {
        token: ann.token,
        body,
        headers: { 'idempotency-key': 'a-cut-write' },
      })
    wire.loseReply((bytes) => bytes.includes('appended'))
    isUnavailable(await send())
    const { headers } = await eventually(send, 201)
    expect(headers.get('idempotent-replayed')).to.equal('true')
    const { body: found } = await call('GET', '/tasks?q=exactly+once')
    expect(found.tasks).to.have.length(1)
  })

  it('a service says so while the database takes no connections', async () => {
    const { database: name } = whole.database.config.connection
    const outside = new pg.Client({ ...whole.database.config.connection, database: 'postgres' })
    await outside.connect()
    try {
      await outside.query(`alter database ${name} with allow_connections false`)
      await outside.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = $1 and application_name = 'tasktrail_task'`,
        [name],
      )
      // More calls than the pool has connections, so that new ones are tried.
      for (let n = 0; n < 12; n++) isUnavailable(await call('GET', path))
    } finally {
      await outside.query(`alter database ${name} with allow_connections true`)
      await outside.end()
    }
    await eventually(() => call('GET', path), 200)
  })
})

describe('Without auth-service', () => {
  it('task-service lets nobody in, says 503 and when to come back, and is healthy', async () => {
    const system = await startSystem({ AUTH_SERVICE_URL: 'http://127.0.0.1:1' })
    const { token } = await system.newUser()
    const { status, headers, body } = await system.call('GET', '/tasks', { token })
    expect(status).to.equal(503)
    expect(body.code).to.equal('auth_service_unavailable')
    expect(body.message).to.equal('Authentication service unavailable')
    expect(Number(headers.get('retry-after'))).to.be.at.least(1)
    expect((await system.call('GET', '/tasks/health')).status).to.equal(200)
    const whole = await system.call('GET', '/health')
    expect([whole.status, whole.body.code]).to.deep.equal([503, 'auth_service_unavailable'])
    await system.stop()
  })
})

describe('With a key other than the data needs', () => {
  it('task-service answers 503 as long as it runs, and says which key in its log alone', async () => {
    const system = await startSystem()
    const { token } = await system.newUser()
    await system.call('POST', '/tasks', { token, body: { title: 'A task' } })
    const TEXT_KEY = 'another key than the one that wrapped'
    const other = await startSystem({ TEXT_KEY }, undefined, system.database)
    const { status, body } = await other.call('GET', '/tasks', { token })
    expect([status, body.code]).to.deep.equal([503, 'database_unavailable'])
    expect(other.logged()).to.include('TEXT_KEY is not the key that')
    await other.stop()
    await system.stop()
  })
})

describe('Without the key that texts are encrypted under', () => {
  it('task-service says 503 where they are needed, and the log names the key', async () => {
    const system = await startSystem()
    const { token } = await system.newUser()
    const created = await system.call('POST', '/tasks', { token, body: { title: 'A task' } })
    const path = `/tasks/${created.body.task.id}`
    const TEXT_KEY = 'another key than the one that wrapped'
    // As `npm run keys -- forget TEXT_KEY` does: else task-service would not even start.
    const sql = new pg.Client(system.database.url)
    await sql.connect()
    await sql
      .query("update key_fingerprints set fingerprint = null where name = 'TEXT_KEY'")
      .finally(() => sql.end())
    const other = await startSystem({ TEXT_KEY }, undefined, system.database)
    const calls: readonly (readonly [method: string, path: string, body?: object])[] = [
      ['POST', '/tasks', { title: 'Another' }],
      ['PUT', path, { title: 'Changed' }],
      ['DELETE', path],
      ['GET', path],
      ['GET', '/tasks'],
      ['GET', `${path}?version=1`],
      ['GET', `${path}/history`],
      ['GET', `/tasks?as_of=${new Date().toISOString()}`],
      ['GET', '/tasks/changes'],
    ]
    for (const [method, target, body] of calls) {
      const answer = await other.call(method, target, { token, body })
      expect(answer.status, `${method} ${target}`).to.equal(503)
      expect(answer.body.code).to.equal('texts_unavailable')
      expect(Number(answer.headers.get('retry-after'))).to.be.at.least(1)
    }
    expect(other.logged()).to.match(/None of the given TEXT_KEYs is the one named [0-9a-f]{16}/)
    await other.stop()
    await system.stop()
  })
})
