import { randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'

import { freePorts } from '../../src/infra/local/free-ports.ts'
import { givenPhoto, jpeg } from '../support/photos.ts'
import { killAll, type Started, startProcess, until } from '../support/processes.ts'
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

  it("shows nobody another user's task, and nothing without a token", async () => {
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

  it('audits, undoes, follows, exports and proves what a user does, and forgets the user', async () => {
    const { token, id: user_id, password } = await newUser(call)
    const { task } = (await call('POST', '/tasks', { token, body: { title: 'A secret' } })).body
    const path = `/tasks/${task.id}`
    await call('PUT', path, { token, body: { title: 'Told', status: 'completed' } })
    const undone = (await call('POST', `${path}/undo`, { token })).body.task
    expect(undone).to.include({ title: 'A secret', status: 'pending', version: 5 })
    await call('DELETE', path, { token })
    expect((await call('POST', `${path}/restore`, { token })).status).to.equal(200)
    const history = (await call('GET', `${path}/history`, { token })).body.events
    expect((await call('GET', '/tasks/changes', { token })).body.events).to.deep.equal(history)

    // The worker is behind by moments.
    const audited = async () =>
      (await call('GET', '/audit/events?order=asc', { token })).body.events
    await until(async () => (await audited()).length === history.length, 'the audit of it all')
    expect(await audited()).to.deep.equal(history)

    const accept = { accept: 'application/x-ndjson' }
    const file = join(directory, 'audit.ndjson')
    const exported = await call('GET', '/audit/events', { token, headers: accept })
    await writeFile(file, exported.body)
    const env = { DATA_DIR: directory }
    const key = startProcess('node', ['bin/node.cjs', 'src/log-key.ts'], { env })
    expect(await key.ended).to.equal('code 0')
    await writeFile(join(directory, 'log.key'), `${key.out.join('\n')}\n`)
    const proof = ['verify-audit.mjs', file, '--key', join(directory, 'log.key')]
    const checked = startProcess('node', proof)
    expect([await checked.ended, ...checked.err]).to.eql(['code 0'])
    await writeFile(file, exported.body.replace('"to":"A secret"', '"to":"A public"'))
    const forged = startProcess('node', proof)
    expect(await forged.ended).to.equal('code 1')
    expect(forged.out.concat(forged.err).join('\n')).to.match(new RegExp(`task-${task.id}\\b`))

    expect((await call('DELETE', '/auth/me', { token, body: { password } })).status).to.equal(204)
    expect((await call('GET', path, { token })).status).to.equal(401)
    const verified = startProcess('node', ['bin/node.cjs', 'src/audit-verify.ts'], { env })
    expect(await verified.ended, verified.err.join('\n')).to.equal('code 0')

    const auditor = await newUser(call)
    const role = ['bin/node.cjs', 'src/grant-role.ts', auditor.username, 'auditor']
    expect(await startProcess('node', role, { env }).ended).to.equal('code 0')
    const trail = () => call('GET', `/audit/events?actor_id=${user_id}`, { token: auditor.token })
    const erased = async () => (await trail()).body.events[0]
    await until(async () => (await erased())?.type === 'UserErased', 'the erasure in the trail')
    const { body } = await trail()
    expect(body.events).to.have.length(history.length + 1)
    expect(JSON.stringify(body)).to.not.match(/secret|Told/)
    expect(body.events.at(-1)).to.deep.include({ type: 'TaskCreated', erased: true })
  })

  it('takes a photo to the storage, into the task, into the trail and its proof, and back', async () => {
    const user = await newUser(call)
    const { token } = user
    const body = { title: 'Kitchen' }
    const { task } = (await call('POST', '/tasks', { token, body })).body
    const bytes = await jpeg()
    const id = await givenPhoto(call, user, task.id, bytes, 'kitchen.jpg')
    const photo = async () =>
      (await call('GET', `/tasks/${task.id}/photos`, { token })).body.photos[0]
    await until(async () => (await photo()).thumbnails !== null, 'the thumbnails')
    const { url } = (await photo()).thumbnails.small
    expect((await fetch(url)).headers.get('content-type')).to.equal('image/webp')
    await call('DELETE', `/tasks/${task.id}/photos/${id}`, { token })
    await call('POST', `/tasks/${task.id}/undo`, { token, body: {} })
    const { body: linked } = await call('GET', `/tasks/${task.id}/photos/${id}/link`, { token })
    const back = await fetch(linked.url).then((answer) => answer.arrayBuffer())
    expect(Buffer.from(back).equals(bytes)).to.equal(true)

    const events = async () => (await call('GET', '/audit/events', { token })).body.events
    await until(async () => (await events()).length === 4, 'the trail')
    const headers = { accept: 'application/x-ndjson' }
    const file = join(directory, 'photos.ndjson')
    await writeFile(file, (await call('GET', '/audit/events', { token, headers })).body)
    const key = (await call('GET', '/log/key', { token })).body
    const verify = ['verify-audit.mjs', file, '--key', key.trim().split('\n')[0]]
    const verified = startProcess('node', verify)
    expect(await verified.ended, verified.err.join('\n')).to.equal('code 0')
    expect(verified.out[0]).to.match(/^Nothing is broken: 4 events of 1 stream/)
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
    expect((await call('GET', '/health')).body).to.deep.equal({
      status: 'healthy',
      services: ['auth', 'task'],
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
