import { expect } from 'chai'
import pg from 'pg'
import { projectAudit } from '../support/project-audit.ts'
import { type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>

const KIB = 1_024

describe('What one user may store', () => {
  let system: System
  let user: User

  const start = async (quotas: Record<string, string>) => {
    system = await startSystem(quotas)
    user = await system.newUser()
  }
  afterEach(() => system.stop())

  const send = (method: string, path: string, body?: unknown, headers = {}) =>
    system.call(method, path, { token: user.token, body, headers })
  const create = (title = 'A task') => send('POST', '/tasks', { title })
  /** What the worker does moments after each write. */
  const counted = () => projectAudit(system.database)
  const query = async (text: string) => {
    const sql = new pg.Client(system.database.url)
    await sql.connect()
    return (await sql.query(text).finally(() => sql.end())).rows
  }
  const refused = (of: string, limit: number, message: RegExp) => (answer: { body: unknown }) => {
    expect(answer).to.have.property('status', 403)
    expect(answer.body).to.deep.include({ code: 'quota_exceeded' })
    expect(answer.body).to.have.nested.property('quota.of', of)
    expect(answer.body).to.have.nested.property('quota.limit', limit)
    expect(answer.body).to.have.property('message').that.matches(message)
  }

  it('is a number of tasks: without deleting one there is no further one', async () => {
    await start({ QUOTA_TASKS: '3' })
    const ids: number[] = []
    for (let n = 0; n < 3; n++) ids.push((await create()).body.task.id)
    await counted()
    const full = refused('tasks', 3, /^You have 3 tasks, of 3 that you may have: delete some/)
    full(await create())
    expect((await send('PUT', `/tasks/${ids[0]}`, { title: 'Changed' })).status).to.equal(200)

    expect((await send('DELETE', `/tasks/${ids[0]}`)).status).to.equal(204)
    await counted()
    expect((await create()).status).to.equal(201)
    await counted()
    full(await create())
    full(await send('POST', `/tasks/${ids[0]}/restore`))
  })

  it('is a number of bytes, the past included: then tasks can be read and deleted, no more', async () => {
    await start({ QUOTA_BYTES: String(64 * KIB) })
    const { body } = await create('x')
    const path = `/tasks/${body.task.id}`
    for (let n = 0; n < 5; n++) {
      const changed = await send('PUT', path, { description: `${n}`.repeat(10_000) })
      expect(changed.status).to.equal(200)
    }
    await counted()
    const full = refused('bytes', 64 * KIB, /^Your changes take \d+ bytes, of 65536/)
    full(await send('PUT', path, { status: 'completed' }))
    full(await send('POST', `${path}/undo`))
    full(await create())
    expect((await send('GET', path)).status).to.equal(200)
    expect((await send('DELETE', path)).status).to.equal(204)
    full(await send('POST', `${path}/restore`))
    const { username, password, token } = user
    expect(
      (await system.call('DELETE', '/auth/me', { token, body: { password } })).status,
      username,
    ).to.equal(204)
  })

  it('is bounded for changes without any text, too', async () => {
    await start({ QUOTA_BYTES: String(8 * KIB) })
    const { body } = await create('x')
    const path = `/tasks/${body.task.id}`
    let changes = 0
    for (let answer = body; !answer.code && changes < 20; changes++) {
      await counted()
      const status = changes % 2 === 0 ? 'in_progress' : 'pending'
      answer = (await send('PUT', path, { status })).body
    }
    expect(changes).to.be.lessThan(9)
  })

  it('is a number of Idempotency-Keys a day; without one, changes go on', async () => {
    await start({ QUOTA_KEYED_ANSWERS: '2000' })
    const { body } = await create()
    const path = `/tasks/${body.task.id}`
    const keyed = (key: string) =>
      send('PUT', path, { status: 'pending' }, { 'idempotency-key': key })
    expect((await keyed('first')).status).to.equal(200)
    await query(`
      insert into commands select ${user.id}, 'k' || n, '', 'task-1', 1, now() + interval '1 hour'
      from generate_series(1, 2000) n`)
    await query('select count_keyed_answers()')
    refused('keyed_answers', 2000, /^You have sent 2001 Idempotency-Keys/)(await keyed('next'))
    expect((await keyed('first')).status).to.equal(200)
    expect((await send('PUT', path, { status: 'completed' })).status).to.equal(200)

    await query(`update commands set expires_at = now() where key like 'k%'`)
    await query('select count_keyed_answers()')
    expect((await keyed('next')).status).to.equal(200)
  })

  it('is its own alone', async () => {
    await start({ QUOTA_TASKS: '1' })
    await create()
    await counted()
    refused('tasks', 1, /./)(await create())
    user = await system.newUser()
    expect((await create()).status).to.equal(201)
  })
})
