import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'

import { freePorts } from '../../src/infra/ports.ts'
import { killAll, type Started, startProcess } from '../support/processes.ts'
import { type Client, client, newUser } from '../support/system.ts'

const FIRST_KEY = 'the-first-signing-key-of-this-test'
const SECOND_KEY = 'the-second-signing-key-of-this-test'

describe('The whole system, through its gateway', () => {
  let directory: string
  let port: number
  let call: Client
  let system: Started
  const pids: number[] = []

  async function start(env: Record<string, string> = {}): Promise<void> {
    const limits = { RATE_LIMIT_PER_SECOND: '0', LOGIN_LIMIT_PER_MINUTE: '0', BCRYPT_COST: '10' }
    system = startProcess('node', ['bin/node.cjs', 'src/local.ts'], {
      env: { ...limits, DATA_DIR: directory, PORT: String(port), JWT_SECRET: FIRST_KEY, ...env },
    })
    pids.push(system.pid)
    await system.line(/^Tasktrail is ready/)
  }
  async function stop(): Promise<void> {
    system.child.kill('SIGTERM')
    expect(await system.ended).to.equal('code 0')
  }

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'tasktrail-e2e-'))
    ;[port = 0] = await freePorts(1)
    call = client(() => `http://127.0.0.1:${port}`)
    await start()
  })
  after(async () => {
    await stop().finally(() => killAll(pids))
    await rm(directory, { recursive: true, force: true })
  })

  it('takes a new user from registration to a task that is changed and deleted', async () => {
    const { token, id: user_id } = await newUser(call)
    const create = {
      title: 'Learn AWS ECS',
      description: 'Complete the ECS implementation guide',
      status: 'in_progress',
      priority: 'high',
      due_date: '2026-12-15T00:00:00Z',
    }
    const created = await call('POST', '/tasks', { token, body: create })
    expect(created.status).to.equal(201)
    const { task } = created.body
    const due_date = '2026-12-15T00:00:00.000Z'
    expect(task).to.include({ ...create, user_id, due_date, version: 1 })
    const path = created.headers.get('location') ?? ''
    expect(path).to.equal(`/tasks/${task.id}`)

    expect((await call('GET', '/tasks', { token })).body.tasks).to.deep.equal([task])
    const changed = await call('PUT', path, { token, body: { status: 'completed' } })
    expect(changed.body.task).to.include({
      title: 'Learn AWS ECS',
      status: 'completed',
      version: 2,
    })
    expect((await call('GET', path, { token })).body).to.deep.equal(changed.body)

    expect((await call('DELETE', path, { token })).status).to.equal(204)
    expect((await call('GET', path, { token })).status).to.equal(404)
    expect((await call('DELETE', path, { token })).status).to.equal(404)
    expect((await call('GET', '/tasks', { token })).body.tasks).to.deep.equal([])
  })

  it("shows another's task to nobody, and nothing to who has no token", async () => {
    const [owner, stranger] = [await newUser(call), await newUser(call)]
    const body = { title: 'Mine' }
    const { task } = (await call('POST', '/tasks', { token: owner.token, body })).body
    const path = `/tasks/${task.id}`
    for (const [method, change] of [['GET'], ['PUT', { title: 'x' }], ['DELETE']] as const) {
      const theirs = await call(method, path, { token: stranger.token, body: change })
      expect(theirs.status).to.equal(403)
      expect((await call(method, path, { body: change })).status).to.equal(401)
    }
    expect((await call('GET', path, { token: owner.token })).body.task).to.deep.equal(task)
  })

  it('ends a session for all of the system at its logout', async () => {
    const { token } = await newUser(call)
    expect((await call('GET', '/tasks', { token })).status).to.equal(200)
    expect((await call('POST', '/auth/logout', { token })).status).to.equal(204)
    const after = await call('GET', '/tasks', { token })
    expect(after).to.deep.include({ status: 401 })
    expect(after.body.message).to.equal('Session has ended')
  })

  it('keeps the validation of tokens to itself, and answers for its own health', async () => {
    const { token } = await newUser(call)
    const headers = { 'x-internal-api-key': randomUUID() }
    expect((await call('POST', '/auth/validate', { token, headers })).status).to.equal(403)
    expect((await call('GET', '/auth/health')).body).to.deep.equal({
      status: 'healthy',
      service: 'auth',
    })
    expect((await call('GET', '/tasks/health')).body).to.deep.equal({
      status: 'healthy',
      service: 'task',
    })
    expect((await call('GET', '/elsewhere')).status).to.equal(404)
  })

  it('keeps tasks and sessions over a restart, and tokens over a rotation of the key', async () => {
    const { token } = await newUser(call)
    const body = { title: 'Still there' }
    const { task } = (await call('POST', '/tasks', { token, body })).body

    await stop()
    await start({ JWT_SECRET: SECOND_KEY, JWT_SECRET_PREVIOUS: FIRST_KEY })
    const again = await call('GET', `/tasks/${task.id}`, { token })
    expect(again.body.task).to.deep.equal(task)
    const late = await newUser(call)

    await stop()
    await start({ JWT_SECRET: SECOND_KEY })
    expect((await call('GET', '/tasks', { token })).body.message).to.equal('Invalid token')
    expect((await call('GET', '/tasks', { token: late.token })).status).to.equal(200)
  })
})
