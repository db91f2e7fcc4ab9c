import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import { expect } from 'chai'
import pg from 'pg'
import type { TaskEvent } from '../../src/domain/task/events.ts'
import type { TaskView } from '../../src/domain/task/view.ts'
import { startGateway } from '../../src/http/gateway.ts'
import { freePorts } from '../../src/infra/local/free-ports.ts'
import { erasedRows } from '../../src/infra/postgres/accounts/erased-rows.ts'
import { postgresSessions } from '../../src/infra/postgres/accounts/sessions.ts'
import { postgresUsers } from '../../src/infra/postgres/accounts/users.ts'
import { openDatabase } from '../../src/infra/postgres/connection/database.ts'
import { postgresEventStore } from '../../src/infra/postgres/event-store/event-store.ts'
import { eventHash } from '../../src/verifier/formats.ts'
import { append, created, ownedBy } from '../support/appends.ts'
import { findInDatabase } from '../support/find-in-database.ts'
import { load } from '../support/load.ts'
import { silent } from '../support/log.ts'
import { until } from '../support/processes.ts'
import { giveRole } from '../support/roles.ts'
import { type Call, client, type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>

const WRITERS = 16

describe('The erasure of an account', () => {
  let system: System
  let sql: pg.Client
  /** Says of every token what auth-service said when it was asked first. */
  let memory: Server
  /** A task-service whose requests have all been validated a moment ago. */
  let late: System

  before(async () => {
    system = await startSystem()
    sql = new pg.Client(system.database.url)
    await sql.connect()
    const said = new Map<string, { status: number; text: string }>()
    const remembered = async (authorization: string) => {
      const known = said.get(authorization) ?? (await validated(authorization))
      said.set(authorization, known)
      return known
    }
    const rememberedAll = async (tokens: readonly string[]) => {
      const answers = tokens.map(async (token) => {
        const answer = JSON.parse((await remembered(`Bearer ${token}`)).text)
        return { ...answer, token_end: token.slice(-16) }
      })
      return { status: 200, text: JSON.stringify({ answers: await Promise.all(answers) }) }
    }
    memory = createServer(async (req, res) => {
      const { authorization = '' } = req.headers
      const { status, text } =
        req.url === '/auth/validate/batch'
          ? await rememberedAll(((await json(req)) as { tokens: string[] }).tokens)
          : await remembered(authorization)
      res.writeHead(status, { 'content-type': 'application/json' }).end(text)
    })
    memory.listen(0, '127.0.0.1')
    await once(memory, 'listening')
    const { port } = memory.address() as AddressInfo
    const AUTH_SERVICE_URL = `http://127.0.0.1:${port}`
    late = await startSystem({ AUTH_SERVICE_URL }, undefined, system.database)
  })
  after(async () => {
    await late.stop()
    memory.closeAllConnections()
    memory.close()
    await sql.end()
    await system.stop()
  })

  const validated = async (authorization: string) => {
    const key = system.env.INTERNAL_API_KEY ?? ''
    const headers = { authorization, 'x-internal-api-key': key }
    const response = await fetch(`${system.urls.auth}/auth/validate`, { method: 'POST', headers })
    return { status: response.status, text: await response.text() }
  }
  const call = (user: User, method: string, path: string, more: Call = {}, of = system) =>
    of.call(method, path, { token: user.token, ...more })
  const erase = (user: User, password = user.password) =>
    call(user, 'DELETE', '/auth/me', { body: { password } })
  const login = ({ username, password }: User) =>
    system.call('POST', '/auth/login', { body: { username, password } })
  const key = () => ({ 'idempotency-key': randomUUID() })
  const newTask = async (user: User, fields: object, headers = {}): Promise<number> =>
    (await call(user, 'POST', '/tasks', { body: { title: 'A task', ...fields }, headers })).body
      .task.id
  const rows = async (text: string, values: unknown[] = []) => (await sql.query(text, values)).rows
  const codeOf = ({ status, body }: Awaited<ReturnType<typeof call>>) => [status, body.code]

  it('ends every session at once, and login knows the user no more', async () => {
    const ann = await system.newUser()
    const elsewhere = { ...ann, token: (await login(ann)).body.token }
    await newTask(ann, {})
    const erased = await erase(ann)
    expect([erased.status, erased.body]).to.deep.equal([204, ''])
    for (const user of [ann, elsewhere]) {
      for (const path of ['/auth/me', '/tasks', '/tasks/changes', '/auth/sessions']) {
        expect(codeOf(await call(user, 'GET', path))).to.deep.equal([401, 'session_ended'])
      }
      expect(codeOf(await erase(user))).to.deep.equal([401, 'session_ended'])
    }
    const [known, unknown] = [await login(ann), await login({ ...ann, username: 'nobody.at.all' })]
    expect(known.status).to.equal(401)
    const { request_id } = known.body
    expect(known.body).to.deep.equal({ ...unknown.body, request_id })
  })

  it('frees username and email for an account that has another id and sees nothing', async () => {
    const ann = await system.newUser()
    const { email } = (await call(ann, 'GET', '/auth/me')).body.user
    await newTask(ann, {})
    await erase(ann)
    const registration = { username: ann.username, email, password: ann.password }
    const again = await system.call('POST', '/auth/register', { body: registration })
    expect(again.status).to.equal(201)
    expect(again.body.user.id).to.be.greaterThan(ann.id)
    const { token } = (await login(ann)).body
    const fresh = { ...ann, token, id: again.body.user.id }
    expect((await call(fresh, 'GET', '/tasks')).body.tasks).to.deep.equal([])
    expect((await call(fresh, 'GET', '/tasks/changes')).body.events).to.deep.equal([])
    const id = await newTask(fresh, { title: 'Anew' })
    expect((await call(fresh, 'GET', `/tasks/${id}`)).body.task.title).to.equal('Anew')
  })

  it('requires the password, and accepts nothing else in the body', async () => {
    const ann = await system.newUser()
    for (const body of [{ password: '' }, { password: 1 }, { password: 'x', sure: true }]) {
      expect(codeOf(await call(ann, 'DELETE', '/auth/me', { body }))).to.deep.equal([
        400,
        'validation_failed',
      ])
    }
    // Only who has a password needs one.
    for (const body of [{}, undefined]) {
      const refused = codeOf(await call(ann, 'DELETE', '/auth/me', { body }))
      expect(refused).to.deep.equal([403, 'wrong_password'])
    }
    expect((await system.call('DELETE', '/auth/me', { body: {} })).status).to.equal(401)
    expect((await call(ann, 'GET', '/auth/me')).status).to.equal(200)
  })

  it('is refused, recorded and counted with a wrong password', async () => {
    const ann = await system.newUser()
    for (let tries = 0; tries < 5; tries++) {
      const refused = await erase(ann, 'a wrong one')
      expect(codeOf(refused)).to.deep.equal([403, 'wrong_password'])
      expect(refused.headers.get('www-authenticate')).to.equal(null)
    }
    const locked = await erase(ann)
    expect(codeOf(locked)).to.deep.equal([429, 'too_many_attempts'])
    expect(Number(locked.headers.get('retry-after'))).to.be.within(1, 60)
    expect((await call(ann, 'GET', '/auth/me')).status).to.equal(200)
    const failed = `select from security_events where type = 'erasure_failed' and user_id = $1`
    expect(await rows(failed, [ann.id])).to.have.length(5)
  })

  it('goes through the gateway, body and all', async () => {
    const ann = await system.newUser()
    const [port = 0] = await freePorts(1)
    const upstream = (url: string) => ({ host: '127.0.0.1', port: Number(new URL(url).port) })
    const upstreams = {
      'auth-service': upstream(system.urls.auth),
      'task-service': upstream(system.urls.task),
    }
    const gateway = await startGateway({ host: '127.0.0.1', port, upstreams })
    const outside = client(() => `http://127.0.0.1:${port}`)
    const { token, password } = ann
    const erased = await outside('DELETE', '/auth/me', { token, body: { password } })
    gateway.destroy()
    await gateway.close()
    expect(erased.status).to.equal(204)
  })

  it('leaves no text of the person anywhere in the database', async () => {
    const [ann, bob] = [await system.newUser(), await system.newUser()]
    const texts = Array.from({ length: 6 }, () => `text "${randomUUID()}" ü\\`)
    const [title, description, renamed, described, deleted, theirs] = texts
    const { email } = (await call(ann, 'GET', '/auth/me')).body.user
    const id = await newTask(ann, { title, description }, key())
    const body = { title: renamed, description: described }
    await call(ann, 'PUT', `/tasks/${id}`, { body, headers: key() })
    await call(ann, 'POST', `/tasks/${id}/undo`, { body: {}, headers: key() })
    await call(ann, 'DELETE', `/tasks/${await newTask(ann, { title: deleted })}`)
    await newTask(bob, { title: theirs }, key())
    await system.call('POST', '/auth/login', { body: { username: ann.username, password: 'no' } })
    const places = (text = '') => findInDatabase(sql, text)
    for (const text of texts) expect(await places(text)).to.deep.equal([])
    expect(await places(email)).to.deep.equal(['mails.address', 'users.email'])
    await erase(ann)
    for (const text of [...texts, email]) expect(await places(text)).to.deep.equal([])
    expect(await places(ann.username)).to.deep.equal(['security_events.username'])
  })

  it('destroys the key, and with it each text that the log holds', async () => {
    const [ann, bob] = [await system.newUser(), await system.newUser()]
    await newTask(ann, { description: 'some text' })
    await newTask(bob, { description: 'some text' })
    await erase(ann)
    const keys = await rows('select * from user_keys where user_id = any ($1) order by user_id', [
      [ann.id, bob.id],
    ])
    expect(keys).to.have.length(2)
    expect(keys[0]).to.include({ wrapped_key: null, wrapped_by: null })
    expect(keys[0].destroyed_at).to.be.an.instanceOf(Date)
    expect(keys[1].wrapped_key).to.be.an.instanceOf(Buffer)
    const encrypted = await rows(
      `select data->'title' as title from events where actor_id = $1 and type = 'TaskCreated'`,
      [ann.id],
    )
    expect(encrypted).to.have.length(1)
    expect(encrypted[0].title).to.have.all.keys('user', 'cipher').and.include({ user: ann.id })
  })

  it('lets the chains stand, and says in them and among the security events what was done when', async () => {
    const ann = await system.newUser()
    const id = await newTask(ann, {})
    await call(ann, 'PUT', `/tasks/${id}`, { body: { title: 'Two', status: 'completed' } })
    const request_id = `erase-${id}`
    const { session_id } = JSON.parse((await validated(`Bearer ${ann.token}`)).text).user
    const headers = { 'x-request-id': request_id }
    const before = Date.now()
    await call(ann, 'DELETE', '/auth/me', { body: { password: ann.password }, headers })

    const db = openDatabase({ ...system.database.config, role: 'tasktrail_task', log: silent })
    const raw = postgresEventStore(db)
    try {
      const lengths = { [`task-${id}`]: 3, [`user-${ann.id}`]: 1 }
      for (const [stream_id, length] of Object.entries(lengths)) {
        const { events, head_hash } = await load(raw, stream_id)
        expect(events).to.have.length(length)
        const head = events.reduce<string | null>((previous, event) => {
          expect(event.prev_hash).to.equal(previous)
          expect(event.hash).to.equal(eventHash(event))
          return event.hash
        }, null)
        expect(head_hash).to.equal(head)
        const [stream] = await rows(
          `select encode(head_hash, 'hex') as hash from streams where stream_id = $1`,
          [stream_id],
        )
        expect(stream.hash).to.equal(head)
      }
      const [erased] = (await load(raw, `user-${ann.id}`)).events
      expect(erased).to.deep.include({ type: 'UserErased', data: {}, actor_id: ann.id, version: 1 })
      expect(erased?.metadata).to.deep.equal({
        request_id,
        correlation_id: request_id,
        causation_id: erased?.metadata.causation_id,
        session_id,
        ip: '127.0.0.1',
      })
      expect(erased?.metadata.causation_id).to.not.equal(request_id)
      expect(Date.parse(erased?.occurred_at ?? '')).to.be.within(before, Date.now())
    } finally {
      await db.close()
    }
    const recorded = await rows(
      `select username, request_id, ip from security_events
       where type = 'account_erased' and user_id = $1`,
      [ann.id],
    )
    expect(recorded).to.deep.equal([{ username: ann.username, request_id, ip: '127.0.0.1' }])
  })

  it('makes the tasks unknown to others, and shows an auditor that there was something', async () => {
    const [ann, bob, auditor] = [
      await system.newUser(),
      await system.newUser(),
      await system.newUser(),
    ]
    await giveRole(sql, auditor.id, 'auditor')
    const id = await newTask(ann, { description: 'some text' })
    const foreign = await call(bob, 'PUT', `/tasks/${id}`, { body: { title: 'Mine' } })
    expect(foreign.status).to.equal(403)
    await erase(ann)
    const attempts: [string, string, Call?][] = [
      ['GET', ''],
      ['GET', '?version=1'],
      ['GET', '?as_of=2026-01-01T00:00:00Z'],
      ['GET', '/history'],
      ['PUT', '', { body: { title: 'Mine' } }],
      ['PATCH', '', { body: {} }],
      ['DELETE', ''],
      ['POST', '/undo', { body: {} }],
      ['POST', '/redo', { body: {} }],
      ['POST', '/restore'],
    ]
    for (const [method, path, more] of attempts) {
      const answer = await call(bob, method, `/tasks/${id}${path}`, more)
      expect(codeOf(answer), `${method} ${path}`).to.deep.equal([404, 'task_not_found'])
    }
    const trail = await call(bob, 'GET', `/audit/events?task_id=${id}`)
    expect(trail.body.events).to.deep.equal([])
    const { events } = (await call(auditor, 'GET', `/tasks/${id}/history`)).body
    expect(events).to.have.length(1)
    expect(events[0]).to.deep.include({ type: 'TaskCreated', erased: true })
    expect(events[0].changes).to.deep.include({
      title: { from: null, to: null },
      description: { from: null, to: null },
      status: { from: null, to: 'pending' },
    })
  })

  it('hides a row of the read table that is not removed yet, also from auditors', async () => {
    const [ann, bob, auditor] = [
      await system.newUser(),
      await system.newUser(),
      await system.newUser(),
    ]
    await giveRole(sql, auditor.id, 'auditor')
    const id = await newTask(ann, {})
    const [row] = await rows('select to_jsonb(t) as task from tasks t where id = $1', [id])
    await erase(ann)
    await sql.query('insert into tasks select * from jsonb_populate_record(null::tasks, $1)', [
      row.task,
    ])
    for (const user of [bob, auditor]) {
      const answer = await call(user, 'GET', `/tasks/${id}`)
      expect(codeOf(answer)).to.deep.equal([404, 'task_not_found'])
    }
    await sql.query('delete from tasks where id = $1', [id])
  })

  it('leaves nothing of a request that was validated before it and comes after it', async () => {
    const [warm, cold] = [await system.newUser(), await system.newUser()]
    for (const user of [warm, cold]) {
      const id = await newTask(user, {})
      const stored = { body: { title: 'Once' }, headers: key() }
      // Its task-service knows the session, and of one the key to write with.
      await call(user, 'GET', '/tasks', {}, late)
      if (user === warm) await call(user, 'PUT', `/tasks/${id}`, stored, late)
      await erase(user)
      const count = 'select from events where actor_id = $1'
      const before = await rows(count, [user.id])
      const attempts: [string, string, Call?][] = [
        ['POST', '/tasks', { body: { title: 'Late' } }],
        ['POST', '/tasks', { body: { title: 'Late' }, headers: key() }],
        ['PUT', `/tasks/${id}`, { body: { title: 'Late' } }],
        ['PUT', `/tasks/${id}`, stored],
        ['PUT', `/tasks/${id}`, { body: {} }],
        ['DELETE', `/tasks/${id}`],
        ['POST', `/tasks/${id}/undo`, { body: {} }],
      ]
      for (const [method, path, more] of attempts) {
        const answer = await call(user, method, path, more, late)
        expect(codeOf(answer), `${method} ${path}`).to.deep.equal([401, 'session_ended'])
      }
      expect((await call(user, 'GET', '/tasks', {}, late)).body.tasks).to.deep.equal([])
      const { events } = (await call(user, 'GET', '/tasks/changes', {}, late)).body
      expect(events).to.have.length(user === warm ? 2 : 1)
      for (const event of events) expect(event.erased).to.equal(true)
      expect(await rows(count, [user.id])).to.have.length(before.length)
      expect(await rows('select from tasks where user_id = $1', [user.id])).to.deep.equal([])
      expect(await rows('select from commands where actor_id = $1', [user.id])).to.deep.equal([])
    }
  })

  it(`waits for the appends under way: ${WRITERS} writers leave nothing behind it`, async () => {
    for (let round = 0; round < 3; round++) {
      const ann = await system.newUser()
      let written = 0
      const write = async (): Promise<void> => {
        for (;;) {
          const more = { body: { title: 'Some text' }, headers: key() }
          const created = await call(ann, 'POST', '/tasks', more, late)
          if (created.status === 401) return
          expect(created.status).to.equal(201)
          written++
          const path = `/tasks/${created.body.task.id}`
          const { status } = await call(ann, 'PUT', path, { body: { priority: 'high' } }, late)
          if (status === 401) return
          expect(status).to.equal(200)
        }
      }
      const writers = Promise.all(Array.from({ length: WRITERS }, write))
      await until(() => written > WRITERS, 'writers that write')
      expect((await erase(ann)).status).to.equal(204)
      await writers

      expect(await rows('select from tasks where user_id = $1', [ann.id])).to.deep.equal([])
      expect(await rows('select from commands where actor_id = $1', [ann.id])).to.deep.equal([])
      const [key_] = await rows(
        `select wrapped_key, rows_removed_at is not null as looked_at_no_more from user_keys
         where user_id = $1`,
        [ann.id],
      )
      expect(key_).to.deep.equal({ wrapped_key: null, looked_at_no_more: true })
      const events = await rows(
        'select type, data from events where actor_id = $1 order by position',
        [ann.id],
      )
      expect(events.findIndex(({ type }) => type === 'UserErased')).to.equal(events.length - 1)
      for (const { type, data } of events) {
        if (type === 'TaskCreated') expect(data.title).to.have.all.keys('user', 'cipher')
      }
    }
  })

  /** A transaction of its own, and an event store that appends in it. */
  const transaction = async () => {
    const sql = new pg.Client(system.database.url)
    await sql.connect()
    await sql.query('begin')
    const query = async <Row>({ text }: { text: string }, values: readonly unknown[]) =>
      (await sql.query(text, [...values])).rows as Row[]
    const db = { query, ping: async () => true, close: async () => {} }
    const end = async () => {
      await sql.query('commit')
      await sql.end()
    }
    return { sql, store: postgresEventStore<TaskEvent, TaskView>(db), end }
  }
  const somebodyWaits = async () =>
    (await rows(`select from pg_locks where locktype = 'advisory' and not granted`)).length > 0

  it('waits for an append in progress, and removes what it has written', async () => {
    const ann = await system.newUser()
    await newTask(ann, {})
    const { store, end } = await transaction()
    await store.append(ownedBy(ann.id, append(900_001, [created()])))
    const erased = erase(ann)
    await until(somebodyWaits, 'an erasure that waits')
    await end()
    expect((await erased).status).to.equal(204)
    expect(await rows('select from tasks where user_id = $1', [ann.id])).to.deep.equal([])
    const events = await rows('select type from events where actor_id = $1 order by position', [
      ann.id,
    ])
    expect(events.at(-1)).to.deep.equal({ type: 'UserErased' })
  })

  it('makes an append wait that begins during it, and then refuses it', async () => {
    const ann = await system.newUser()
    const id = await newTask(ann, {})
    await call(ann, 'PUT', `/tasks/${id}`, { body: { title: 'Two' } }, late)
    const { sql: eraser, end } = await transaction()
    await eraser.query(`select erase_user($1, 1, gen_random_uuid(), 1, '{}', null, null, 'r')`, [
      ann.id,
    ])
    const changed = call(ann, 'PUT', `/tasks/${id}`, { body: { title: 'Three' } }, late)
    await until(somebodyWaits, 'an append that waits')
    await end()
    expect(codeOf(await changed)).to.deep.equal([401, 'session_ended'])
    const events = await rows('select type from events where actor_id = $1 order by position', [
      ann.id,
    ])
    expect(events.map(({ type }) => type)).to.deep.equal([
      'TaskCreated',
      'TaskRenamed',
      'UserErased',
    ])
  })

  const addTasks = (user: User, count: number) =>
    sql.query(
      `insert into tasks (id, user_id, title, status, priority, created_at, updated_at, version)
       select nextval('task_ids'), $1, '"A task"', 'pending', 'low', now(), now(), 1
       from generate_series(1, $2)`,
      [user.id, count],
    )
  const tasksOf = async (user: User) =>
    (await rows('select from tasks where user_id = $1', [user.id])).length

  it('removes more tasks than one step takes', async () => {
    const ann = await system.newUser()
    await addTasks(ann, 2_500)
    await erase(ann)
    expect(await tasksOf(ann)).to.equal(0)
  })

  it('does not wait for the end of very many tasks: the worker removes the rest', async () => {
    const ann = await system.newUser()
    await addTasks(ann, 7_000)
    expect((await erase(ann)).status).to.equal(204)
    expect(await tasksOf(ann)).to.equal(2_000)
    await workerRemovesRows(ann)
  })

  it('is done once the key is gone, also when rows cannot be removed now', async () => {
    const ann = await system.newUser()
    await newTask(ann, {})
    const { sql: other, end } = await transaction()
    await other.query('lock table tasks in share mode')
    const erased = await erase(ann)
    const left = await tasksOf(ann)
    await end()
    expect([erased.status, left]).to.deep.equal([204, 1])
    expect(codeOf(await call(ann, 'GET', '/auth/me'))).to.deep.equal([401, 'session_ended'])
    await workerRemovesRows(ann)
  })

  const workerRemovesRows = async (user: User) => {
    const db = openDatabase({ ...system.database.config, role: 'tasktrail_worker', log: silent })
    const erased = erasedRows(db, silent)
    try {
      await until(async () => (await tasksOf(user)) === 0, 'the removal')
    } finally {
      await erased.close()
      await db.close()
    }
  }

  it('refuses a login whose password was checked before it', async () => {
    const ann = await system.newUser()
    const db = openDatabase({ ...system.database.config, role: 'tasktrail_auth', log: silent })
    const [users, sessions] = [postgresUsers(db), postgresSessions(db, silent)]
    const requestContext = { request_id: 'r', ip: null, user_agent: null, now: new Date() }
    const begin = async () => {
      const expires_at = new Date(Date.now() + 1_000)
      const proof = { amr: ['pwd'], refresh_hash: randomBytes(32) } as const
      await sessions.begin({ id: randomUUID(), expires_at, ...proof }, credentials, requestContext)
    }
    const credentials = await users.find(ann.id).then((found) => found ?? expect.fail('no user'))
    const eraser = new pg.Client(system.database.url)
    await eraser.connect()
    try {
      await eraser.query('begin')
      await eraser.query('delete from users where id = $1', [ann.id])
      const begun = begin().catch((error) => error)
      const waiting = `select from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'`
      await until(async () => (await rows(waiting)).length > 0, 'a login that waits')
      await eraser.query('commit')
      expect(await begun).to.have.property('code', 'invalid_credentials')
      expect(await users.erase(credentials, randomUUID(), requestContext)).to.equal(false)
    } finally {
      await eraser.end()
      await db.close()
    }
  })

  it('is refused when the password has been changed since it was checked', async () => {
    const ann = await system.newUser()
    const db = openDatabase({ ...system.database.config, role: 'tasktrail_auth', log: silent })
    const users = postgresUsers(db)
    const requestContext = { request_id: 'r', ip: null, user_agent: null, now: new Date() }
    try {
      const credentials = await users.find(ann.id).then((found) => found ?? expect.fail('no user'))
      await users.changePassword(credentials, { hash: 'another hash', kept: 0 }, requestContext)
      expect(await users.erase(credentials, randomUUID(), requestContext)).to.equal(false)
      expect(await users.find(ann.id)).to.have.property('password_hash', 'another hash')
    } finally {
      await db.close()
    }
  })
})
