import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import fc from 'fast-check'
import pg from 'pg'
import { type Answer, type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>

const replayed = ({ headers }: Answer) => headers.get('idempotent-replayed')

describe('An Idempotency-Key', () => {
  let system: System
  let sql: pg.Client
  let ann: User
  let bob: User

  before(async () => {
    system = await startSystem()
    sql = new pg.Client(system.database.url)
    await sql.connect()
    ann = await system.newUser()
    bob = await system.newUser()
  })
  after(async () => {
    await sql.end()
    await system.stop()
  })

  const send = (method: string, path: string, key: string, body?: unknown, user = ann) =>
    system.call(method, path, { token: user.token, body, headers: { 'idempotency-key': key } })
  const create = async (title = 'A task') => {
    const { body } = await system.call('POST', '/tasks', { token: ann.token, body: { title } })
    return body.task
  }
  const read = async (id: number) =>
    (await system.call('GET', `/tasks/${id}`, { token: ann.token })).body.task
  const countTitled = async (title: string, { token } = ann) => {
    const { body } = await system.call('GET', `/tasks?q=${title}`, { token })
    return body.tasks.length
  }
  const countEvents = async (id: number) => {
    const found = await sql.query('select from events where stream_id = $1', [`task-${id}`])
    return found.rowCount
  }
  const expire = (key: string) =>
    sql.query(`update commands set expires_at = now() - interval '1 ms' where key = $1`, [key])

  /** Sends a request twice and takes both answers. */
  const twice = async (method: string, path: string, body?: unknown) => {
    const key = randomUUID()
    return [await send(method, path, key, body), await send(method, path, key, body)] as const
  }

  it('makes a repeated POST answer as the first time did, and create nothing', async () => {
    const title = randomUUID()
    const [first, again] = await twice('POST', '/tasks', { title })
    expect(first.status).to.equal(201)
    expect(replayed(first)).to.equal(null)
    expect(again.status).to.equal(201)
    expect(replayed(again)).to.equal('true')
    expect(again.body).to.deep.equal(first.body)
    for (const name of ['location', 'etag', 'content-type']) {
      expect(again.headers.get(name)).to.equal(first.headers.get(name))
    }
    expect(await countTitled(title)).to.equal(1)
  })

  it('makes every call answer byte for byte as the first time did, headers and all', async () => {
    const raw = async (method: string, path: string, key: string, body?: object) => {
      const headers = { authorization: `Bearer ${ann.token}`, 'idempotency-key': key }
      const response = await fetch(system.urls.task + path, {
        method,
        headers: { ...headers, ...(body && { 'content-type': 'application/json' }) },
        ...(body && { body: JSON.stringify(body) }),
      })
      const own = ['date', 'x-request-id', 'idempotent-replayed']
      const shown = [...response.headers].filter(([name]) => !own.includes(name))
      return { status: response.status, headers: shown, text: await response.text() }
    }
    const { id } = await create('Undone and redone')
    const fields = { title: 'A title', description: 'words', due_date: '2026-01-31T09:00:00Z' }
    const calls: readonly (readonly [method: string, path: string, body?: object])[] = [
      ['POST', '/tasks', fields],
      ['PUT', `/tasks/${id}`, { ...fields, priority: 'high' }],
      ['PATCH', `/tasks/${id}`, { status: 'completed' }],
      ['POST', `/tasks/${id}/undo`, {}],
      ['POST', `/tasks/${id}/redo`, {}],
      ['DELETE', `/tasks/${id}`],
      ['POST', `/tasks/${id}/restore`, {}],
    ]
    const first = new Map<string, Awaited<ReturnType<typeof raw>>>()
    const keys = calls.map(() => randomUUID())
    for (const [index, [method, path, body]] of calls.entries()) {
      first.set(`${method} ${path}`, await raw(method, path, keys[index] ?? '', body))
    }
    for (const [index, [method, path, body]] of calls.entries()) {
      const again = await raw(method, path, keys[index] ?? '', body)
      expect(again, `${method} ${path}`).to.deep.equal(first.get(`${method} ${path}`))
      expect(again.status).to.be.oneOf([200, 201, 204])
    }
  })

  for (const method of ['PUT', 'PATCH']) {
    it(`makes a repeated ${method} answer as the first time did, though others came between`, async () => {
      const { id } = await create()
      const key = randomUUID()
      const first = await send(method, `/tasks/${id}`, key, { title: 'First' })
      await send('PUT', `/tasks/${id}`, randomUUID(), { title: 'Between' })
      const again = await send(method, `/tasks/${id}`, key, { title: 'First' })
      expect(again.status).to.equal(200)
      expect(replayed(again)).to.equal('true')
      expect(again.body).to.deep.equal(first.body)
      expect(again.headers.get('etag')).to.equal('"2"')
      expect(await read(id)).to.include({ title: 'Between', version: 3 })
    })

    it(`keeps the answer of a ${method} that changed nothing, too`, async () => {
      const task = await create()
      const key = randomUUID()
      const first = await send(method, `/tasks/${task.id}`, key, { title: task.title })
      await send(method, `/tasks/${task.id}`, randomUUID(), { title: 'Between' })
      const again = await send(method, `/tasks/${task.id}`, key, { title: task.title })
      expect(replayed(again)).to.equal('true')
      expect(first.body.task).to.deep.equal(task)
      expect(again.body.task).to.deep.equal(task)
      expect((await read(task.id)).title).to.equal('Between')
      expect(await countEvents(task.id)).to.equal(2)
    })
  }

  it('makes a repeated DELETE 204 again, not 404', async () => {
    const { id } = await create()
    const [first, again] = await twice('DELETE', `/tasks/${id}`)
    expect([first.status, replayed(first)]).to.deep.equal([204, null])
    expect([again.status, replayed(again)]).to.deep.equal([204, 'true'])
    expect((await send('DELETE', `/tasks/${id}`, randomUUID())).status).to.equal(404)
    expect(await countEvents(id)).to.equal(2)
  })

  it('depends on the meaning of a request, not on its spelling', async () => {
    const key = randomUUID()
    const due_date = '2026-01-31T09:00:00Z'
    const first = await send('POST', '/tasks', key, { title: 'Same', due_date })
    for (const body of [
      '{ "due_date": "2026-01-31T10:00:00.000+01:00", "title": " Same " }',
      { title: 'Same', description: null, status: 'pending', priority: 'medium', due_date },
    ]) {
      const again = await send('POST', '/tasks', key, body)
      expect(replayed(again)).to.equal('true')
      expect(again.body).to.deep.equal(first.body)
    }
  })

  it('is 422 with any other request, which is then not done', async () => {
    const task = await create()
    const other = await create()
    const key = randomUUID()
    const body = { title: 'Once' }
    await send('PUT', `/tasks/${task.id}`, key, body)
    const wrong: readonly [string, string, unknown?][] = [
      ['PUT', `/tasks/${task.id}`, { title: 'Twice' }],
      ['PUT', `/tasks/${task.id}`, { ...body, description: null }],
      ['PUT', `/tasks/${other.id}`, body],
      ['PATCH', `/tasks/${task.id}`, body],
      ['DELETE', `/tasks/${task.id}`],
      ['POST', '/tasks', body],
    ]
    for (const [method, path, sent] of wrong) {
      const { status, body } = await send(method, path, key, sent)
      expect(status, `${method} ${path} ${JSON.stringify(sent)}`).to.equal(422)
      expect(body.code).to.equal('idempotency_key_reused')
    }
    const conditional = await system.call('PUT', `/tasks/${task.id}`, {
      token: ann.token,
      body,
      headers: { 'idempotency-key': key, 'if-match': '"1"' },
    })
    expect(conditional.status).to.equal(422)
    expect((await read(task.id)).version).to.equal(2)
    expect(await read(other.id)).to.deep.equal(other)
  })

  it('belongs to its user', async () => {
    const key = randomUUID()
    const hers = await send('POST', '/tasks', key, { title: 'Hers' })
    const his = await send('POST', '/tasks', key, { title: 'His' }, bob)
    expect([hers.status, his.status]).to.deep.equal([201, 201])
    expect(his.body.task).to.include({ user_id: bob.id, title: 'His' })
    const path = `/tasks/${hers.body.task.id}`
    expect((await send('DELETE', path, randomUUID(), undefined, bob)).status).to.equal(403)
  })

  it('is not used up by a request that was refused', async () => {
    const { id } = await create()
    const key = randomUUID()
    expect((await send('POST', '/tasks', key, { title: '' })).status).to.equal(400)
    expect((await send('PUT', '/tasks/999999999', key, {})).status).to.equal(404)
    const stale = { 'idempotency-key': key, 'if-match': '"9"' }
    const refused = await system.call('DELETE', `/tasks/${id}`, {
      token: ann.token,
      headers: stale,
    })
    expect(refused.status).to.equal(412)
    expect((await send('POST', '/tasks', key, { title: 'Now' })).status).to.equal(201)
  })

  it('makes one task of 64 equal requests at once; each answer is that task, or to wait', async () => {
    const [title, key] = [randomUUID(), randomUUID()]
    const answers = await Promise.all(
      Array.from({ length: 64 }, () => send('POST', '/tasks', key, { title })),
    )
    const created = answers.filter(({ status }) => status === 201)
    expect(created).to.not.have.length(0)
    for (const { body } of created) expect(body).to.deep.equal(created[0]?.body)
    expect(created.filter((answer) => replayed(answer) === null)).to.have.length(1)
    for (const { status, body, headers } of answers) {
      if (status === 201) continue
      expect(status, JSON.stringify(body)).to.equal(409)
      expect(body.code).to.equal('idempotency_key_in_use')
      expect(headers.get('retry-after')).to.equal('1')
    }
    expect(await countTitled(title)).to.equal(1)
    expect(replayed(await send('POST', '/tasks', key, { title }))).to.equal('true')
  })

  it('is 409 with Retry-After while the first request still runs', async () => {
    const key = randomUUID()
    const lock = [ann.id, key]
    // What a request that is under way holds; see append_events.
    await sql.query('select pg_advisory_lock($1::bigint::bit(32)::int, hashtext($2))', lock)
    const { status, body, headers } = await send('POST', '/tasks', key, { title: 'Second' })
    await sql.query('select pg_advisory_unlock($1::bigint::bit(32)::int, hashtext($2))', lock)
    expect(status).to.equal(409)
    expect(body.code).to.equal('idempotency_key_in_use')
    expect(headers.get('retry-after')).to.equal('1')
    expect((await send('POST', '/tasks', key, { title: 'Second' })).status).to.equal(201)
  })

  it('is kept for 24 hours, and can then be used again', async () => {
    const key = randomUUID()
    const first = await send('POST', '/tasks', key, { title: 'Yesterday' })
    const kept = await sql.query(
      'select extract(epoch from expires_at - now())::float8 as seconds from commands where key = $1',
      [key],
    )
    expect(kept.rows[0].seconds).to.be.closeTo(86_400, 60)
    await expire(key)
    const second = await send('POST', '/tasks', key, { title: 'Today' })
    expect(second.status).to.equal(201)
    expect(replayed(second)).to.equal(null)
    expect(second.body.task.id).to.not.equal(first.body.task.id)
    const again = await send('POST', '/tasks', key, { title: 'Today' })
    expect(again.body).to.deep.equal(second.body)
  })

  it('has 1 to 255 printable ASCII characters', async () => {
    for (const key of ['k'.repeat(255), '~ !"#', 'a,b']) {
      expect((await send('POST', '/tasks', key, { title: 'Fine' })).status, key).to.equal(201)
    }
    for (const key of ['k'.repeat(256), 'é', '\u00ff', 'a\tb', '']) {
      for (const [method, path] of [
        ['POST', '/tasks'],
        ['PUT', '/tasks/1'],
        ['PATCH', '/tasks/1'],
        ['DELETE', '/tasks/1'],
      ] as const) {
        const body = method === 'DELETE' ? undefined : { title: 'Not fine' }
        const answer = await send(method, path, key, body)
        expect(answer.status, `${method} ${key}`).to.equal(400)
        expect(answer.body.details[0].field).to.equal('Idempotency-Key')
      }
    }
  })

  it('leaves one task for each user and key, after any course of requests and repeats', async () => {
    const requests = fc.array(
      fc.record({ who: fc.nat(1), key: fc.constantFrom('a', 'b', 'c'), batch: fc.boolean() }),
      { minLength: 1, maxLength: 8 },
    )
    await fc.assert(
      fc.asyncProperty(requests, async (course) => {
        const [title, run] = [randomUUID(), randomUUID()]
        const users = [ann, bob] as const
        const ids = new Map<string, Set<number>>()
        let under: Promise<unknown>[] = []
        for (const { who, key, batch } of course) {
          const user = users[who] as User
          const request = send('POST', '/tasks', run + key, { title }, user).then((answer) => {
            if (answer.status === 409) return
            expect(answer.status).to.equal(201)
            const made = ids.get(`${who} ${key}`) ?? new Set()
            ids.set(`${who} ${key}`, made.add(answer.body.task.id))
          })
          under.push(request)
          if (!batch) under = await Promise.all(under).then(() => [])
        }
        await Promise.all(under)
        for (const made of ids.values()) expect(made.size).to.equal(1)
        const stored = await Promise.all(users.map((user) => countTitled(title, user)))
        expect(stored[0] + stored[1]).to.equal(ids.size)
      }),
      { numRuns: 100 },
    )
  })
})
