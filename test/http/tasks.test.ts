import { expect } from 'chai'
import fc from 'fast-check'
import pg from 'pg'
import type { TaskFields } from '../../src/domain/task/events.ts'
import { type System, startSystem } from '../support/system.ts'
import { arbitraryChanges, arbitraryFields } from '../support/tasks.ts'

type User = Awaited<ReturnType<System['newUser']>>

const fieldsOf = ({ title, description, status, priority, due_date }: TaskFields): TaskFields => {
  return { title, description, status, priority, due_date }
}
const filled: TaskFields = {
  title: 'Water the plants',
  description: 'The ones in the hall too',
  status: 'in_progress',
  priority: 'high',
  due_date: '2026-12-24T18:00:00.000Z',
}

describe('A task over HTTP', () => {
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

  const call = (method: string, id: unknown, facts: object = {}) =>
    system.call(method, `/tasks/${id}`, { token: ann.token, ...facts })
  const create = async (body: object = filled) => {
    const answer = await system.call('POST', '/tasks', { token: ann.token, body })
    expect(answer.status, JSON.stringify(answer.body)).to.equal(201)
    return answer.body.task
  }
  const eventsOf = async (id: number) => {
    const found = await sql.query('select type from events where stream_id = $1 order by version', [
      `task-${id}`,
    ])
    return found.rows.map(({ type }) => type)
  }

  describe('when created', () => {
    it('is answered with 201, its place and its version', async () => {
      const before = Date.now()
      const { status, headers, body } = await system.call('POST', '/tasks', {
        token: ann.token,
        body: filled,
      })
      expect(status).to.equal(201)
      expect(headers.get('location')).to.equal(`/tasks/${body.task.id}`)
      expect(headers.get('etag')).to.equal('"1"')
      expect(body.task).to.include({ ...filled, user_id: ann.id, version: 1 })
      expect(body.task.updated_at).to.equal(body.task.created_at)
      expect(Date.parse(body.task.created_at)).to.be.within(before, Date.now())
      expect((await call('GET', body.task.id)).body).to.deep.equal(body)
    })

    it('needs nothing but a title', async () => {
      expect(await create({ title: '  Tea ' })).to.include({
        title: 'Tea',
        description: null,
        status: 'pending',
        priority: 'medium',
        due_date: null,
      })
    })

    it('cannot be given what the server decides', async () => {
      const body = { title: 'Mine', id: 1, user_id: bob.id, version: 7, created_at: null }
      const answer = await system.call('POST', '/tasks', { token: ann.token, body })
      expect(answer.status).to.equal(400)
      expect(answer.body.details.map(({ field }: { field: string }) => field)).to.deep.equal([
        'id',
        'user_id',
        'version',
        'created_at',
      ])
    })
  })

  describe('when read', () => {
    it('is answered with its ETag and not kept by shared caches', async () => {
      const { id } = await create()
      const { status, headers } = await call('GET', id)
      expect(status).to.equal(200)
      expect(headers.get('etag')).to.equal('"1"')
      expect(headers.get('cache-control')).to.equal('private, no-cache')
    })

    it('is 304 without a body for whoever has this version', async () => {
      const { id } = await create()
      for (const tag of ['"1"', 'W/"1"', '"7", "1"', '*', '"1",', ', "1"']) {
        const answer = await call('GET', id, { headers: { 'if-none-match': tag } })
        expect(answer.status, tag).to.equal(304)
        expect(answer.headers.get('etag')).to.equal('"1"')
        expect(answer.body).to.equal('')
      }
      await call('PUT', id, { body: { title: 'Changed' } })
      const changed = await call('GET', id, { headers: { 'if-none-match': '"1"' } })
      expect(changed.status).to.equal(200)
      expect(changed.headers.get('etag')).to.equal('"2"')
    })

    it('is 404 when it never was, and when it was deleted', async () => {
      const never = await call('GET', 999_999_999)
      expect(never.status).to.equal(404)
      expect(never.body.code).to.equal('task_not_found')
      expect(never.body.message).to.equal('Task with id 999999999 not found')
      const { id } = await create()
      await call('DELETE', id)
      for (const method of ['GET', 'PUT', 'PATCH', 'DELETE']) {
        expect((await call(method, id)).status, method).to.equal(404)
      }
    })

    it('is 403 for everybody else, whatever they try', async () => {
      const task = await create()
      for (const method of ['GET', 'PUT', 'PATCH', 'DELETE']) {
        const headers = { 'if-match': '"99"' }
        const answer = await call(method, task.id, { token: bob.token, headers })
        expect(answer.status, method).to.equal(403)
        expect(answer.body.code).to.equal('task_forbidden')
      }
      expect((await call('GET', task.id)).body.task).to.deep.equal(task)
    })
  })

  it('has an id that is a positive integer, or the answer is 400', async () => {
    const ids = ['0', '-1', '+1', '1.5', '1e3', 'abc', '01', '%20', '1%00', '0x1', '%D9%A1']
    for (const id of [...ids, '9007199254740993', `1${'0'.repeat(30)}`]) {
      for (const method of ['GET', 'PUT', 'PATCH', 'DELETE']) {
        const { status, body } = await call(method, id)
        expect(status, `${method} ${id}`).to.equal(400)
        expect(body.details[0].field).to.equal('id')
      }
    }
    expect((await call('GET', Number.MAX_SAFE_INTEGER)).status).to.equal(404)
  })

  for (const method of ['PUT', 'PATCH']) {
    describe(`on ${method}`, () => {
      it('changes the fields that are present and no other', async () => {
        for (const [name, value] of Object.entries(fieldsOf(filled))) {
          const task = await create({ title: 'Before' })
          const { status, headers, body } = await call(method, task.id, { body: { [name]: value } })
          expect(status).to.equal(200)
          expect(headers.get('etag')).to.equal('"2"')
          const { updated_at } = body.task
          expect(body.task).to.deep.equal({ ...task, [name]: value, updated_at, version: 2 })
          expect(updated_at >= task.updated_at).to.equal(true)
          expect((await call('GET', task.id)).body).to.deep.equal(body)
        }
      })

      it('clears description and due date with null, and nothing else', async () => {
        const { id } = await create()
        const cleared = await call(method, id, { body: { description: null, due_date: null } })
        expect(cleared.body.task).to.include({ ...filled, description: null, due_date: null })
        for (const name of ['title', 'status', 'priority']) {
          const { status, body } = await call(method, id, { body: { [name]: null } })
          expect(status, name).to.equal(400)
          expect(body.details[0].field).to.equal(name)
        }
      })

      it('writes no event when nothing changes', async () => {
        const task = await create()
        for (const body of [undefined, {}, fieldsOf(task), { title: ` ${task.title}\n` }]) {
          const answer = await call(method, task.id, { body })
          expect(answer.status).to.equal(200)
          expect(answer.body.task).to.deep.equal(task)
        }
        expect(await eventsOf(task.id)).to.deep.equal(['TaskCreated'])
      })
    })
  }

  it('gets one event for each field that a change alters, whatever the change', async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryFields, arbitraryChanges, async (fields, changes) => {
        const task = await create(fields)
        const { body } = await call('PUT', task.id, { body: changes })
        const altered = Object.entries(changes).filter(
          ([name, value]) => task[name as keyof TaskFields] !== value,
        )
        expect(fieldsOf(body.task)).to.deep.equal({ ...fieldsOf(task), ...changes })
        expect(body.task.version).to.equal(1 + altered.length)
        expect(await eventsOf(task.id)).to.have.length(1 + altered.length)
      }),
      { numRuns: 100 },
    )
  })

  describe('with If-Match', () => {
    const put = (id: number, tag: string) =>
      call('PUT', id, { body: { title: `Under ${tag}` }, headers: { 'if-match': tag } })

    it('is changed when the version is among those named, or any will do', async () => {
      const { id } = await create()
      const tags = [
        '"1"',
        '"2" , "9"',
        '"9","3"',
        'W/"4", "4"',
        '*',
        '"", "a", "6"',
        '"7",',
        ', ,"8",,',
      ]
      for (const [index, tag] of tags.entries()) {
        const { status, body } = await put(id, tag)
        expect(status, tag).to.equal(200)
        expect(body.task.version).to.equal(index + 2)
      }
    })

    it('is left alone when it has moved on, and the answer says where it is', async () => {
      const task = await create()
      for (const tag of ['"2"', '"0"', 'W/"1"', '"01"', '"1.0"', '"abc"', '""', ',', '']) {
        for (const method of ['PUT', 'PATCH', 'DELETE']) {
          const answer = await call(method, task.id, { headers: { 'if-match': tag } })
          expect(answer.status, `${method} ${tag}`).to.equal(412)
          expect(answer.body).to.include({ code: 'version_mismatch', version: 1 })
          expect(answer.headers.get('etag')).to.equal('"1"')
        }
      }
      expect((await call('GET', task.id)).body.task).to.deep.equal(task)
    })

    it('is 400 when the header is no list of tags', async () => {
      const { id } = await create()
      for (const tag of ['1', '"1', '1"', "'1'", '*, "1"', '"1";', '"1" "2"', 'w/"1"', '"1",*']) {
        const { status, body } = await put(id, tag)
        expect(status, tag).to.equal(400)
        expect(body.details[0].field).to.equal('If-Match')
      }
    })
  })

  describe('with If-None-Match', () => {
    it('is left alone by every write when it has a version that is named', async () => {
      const task = await create()
      for (const tag of ['*', '"1"', 'W/"1"', '"9", "1"', '"1",', ',,W/"1"']) {
        for (const [method, path, body] of [
          ['PUT', '', { title: 'Other' }],
          ['PATCH', '', { title: task.title }],
          ['DELETE', '', undefined],
          ['POST', '/undo', {}],
          ['POST', '/restore', {}],
        ] as const) {
          const headers = { 'if-none-match': tag }
          const facts = { token: ann.token, headers, ...(body && { body }) }
          const answer = await system.call(method, `/tasks/${task.id}${path}`, facts)
          expect(answer.status, `${method} ${path} ${tag}`).to.equal(412)
          expect(answer.body).to.include({ code: 'version_mismatch', version: 1 })
          expect(answer.headers.get('etag')).to.equal('"1"')
        }
      }
      expect((await call('GET', task.id)).body.task).to.deep.equal(task)
    })

    it('is changed when it has none of those versions', async () => {
      const { id } = await create()
      for (const [index, tag] of ['"2"', 'W/"1"', '"", "1"', ',', ''].entries()) {
        const headers = { 'if-none-match': tag }
        const { status, body } = await call('PUT', id, { body: { title: `${index}` }, headers })
        expect(status, tag).to.equal(200)
        expect(body.task.version).to.equal(index + 2)
      }
    })

    it('is 400 when the header is no list of tags, on a read as well', async () => {
      const { id } = await create()
      for (const method of ['GET', 'PUT', 'DELETE']) {
        const { status, body } = await call(method, id, { headers: { 'if-none-match': '1' } })
        expect(status, method).to.equal(400)
        expect(body.details[0].field).to.equal('If-None-Match')
      }
    })
  })

  describe('with several preconditions', () => {
    it('is judged by If-Match first, and only where it would have been found', async () => {
      const { id } = await create()
      const read = (headers: Record<string, string>) => call('GET', id, { headers })
      expect((await read({ 'if-match': '"2"', 'if-none-match': '"1"' })).status).to.equal(412)
      expect((await read({ 'if-match': '"1"', 'if-none-match': '"1"' })).status).to.equal(304)
      expect((await read({ 'if-match': '*', 'if-none-match': '"2"' })).status).to.equal(200)
      for (const headers of [{ 'if-match': '*' }, { 'if-none-match': '*' }]) {
        for (const method of ['GET', 'PUT', 'DELETE']) {
          expect((await call(method, 999_999_999, { headers })).status).to.equal(404)
        }
      }
    })

    it('is restored by its deleted version, or by If-None-Match: * when it is not there', async () => {
      const { id } = await create()
      const restore = (headers: Record<string, string>) =>
        system.call('POST', `/tasks/${id}/restore`, { token: ann.token, body: {}, headers })
      await call('DELETE', id)
      expect((await restore({ 'if-match': '*' })).status).to.equal(412)
      expect((await restore({ 'if-match': '"1"' })).status).to.equal(412)
      expect((await restore({ 'if-match': '"2"', 'if-none-match': '*' })).status).to.equal(200)
      expect((await restore({ 'if-none-match': '*' })).status).to.equal(412)
    })
  })

  it('is deleted with 204, gone from every answer, and 404 the second time', async () => {
    const { id } = await create()
    const deleted = await call('DELETE', id, { headers: { 'if-match': '"1"' } })
    expect(deleted.status).to.equal(204)
    expect(deleted.body).to.equal('')
    expect((await call('GET', id)).status).to.equal(404)
    const { body } = await system.call('GET', '/tasks', { token: ann.token })
    expect(body.tasks.map((task: { id: number }) => task.id)).to.not.include(id)
    expect((await call('DELETE', id)).status).to.equal(404)
    expect(await eventsOf(id)).to.deep.equal(['TaskCreated', 'TaskDeleted'])
  })

  it('takes 64 changes at once: each is applied or refused as a conflict, none is lost', async () => {
    const { id } = await create()
    const answers = await Promise.all(
      Array.from({ length: 64 }, (_, n) => call('PUT', id, { body: { title: `Title ${n}` } })),
    )
    const applied = answers.filter(({ status }) => status === 200)
    for (const { status, headers, body } of answers) {
      if (status === 200) continue
      expect(status, JSON.stringify(body)).to.equal(409)
      expect(body.code).to.equal('write_conflict')
      expect(Number(headers.get('retry-after'))).to.be.at.least(1)
    }
    const versions = applied.map(({ body }) => body.task.version).toSorted((a, b) => a - b)
    expect(versions).to.deep.equal(applied.map((_, index) => index + 2))
    expect((await call('GET', id)).body.task.version).to.equal(1 + applied.length)
    expect(await eventsOf(id)).to.have.length(1 + applied.length)
  })
})
