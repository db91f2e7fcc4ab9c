import { expect } from 'chai'
import pg from 'pg'
import { until } from '../support/processes.ts'
import { type Answer, type System, startSystem } from '../support/system.ts'

describe('Undo and restore', () => {
  let system: System
  let owner: Awaited<ReturnType<System['newUser']>>
  before(async () => {
    system = await startSystem()
    owner = await system.newUser()
  })
  after(() => system.stop())

  const call = (method: string, path: string, body?: unknown, headers = {}, user = owner) =>
    system.call(method, path, { token: user.token, body, headers })
  const newTask = async (fields: object = {}): Promise<number> =>
    (await call('POST', '/tasks', { title: 'One', ...fields })).body.task.id

  it('undo all that the last request changed, and redo repeats it', async () => {
    const id = await newTask({ description: 'first' })
    await call('PUT', `/tasks/${id}`, { title: 'Two', status: 'completed', description: null })
    const undone = await call('POST', `/tasks/${id}/undo`)
    expect(undone.status).to.equal(200)
    expect(undone.headers.get('etag')).to.equal('"7"')
    expect(undone.body.task).to.include({ title: 'One', status: 'pending', description: 'first' })
    expect(undone.body).to.include({ undone: 4, next_undo: 1, next_redo: 7 })
    const redone = await call('POST', `/tasks/${id}/redo`, {})
    expect(redone.body).to.include({ redone: 4, next_undo: 10, next_redo: null })
    expect(redone.body.task).to.include({ title: 'Two', status: 'completed', description: null })
    const { events } = (await call('GET', `/tasks/${id}/history`)).body
    expect(events.map(({ undoes }: { undoes?: number[] }) => undoes)).to.deep.equal([
      ...[undefined, undefined, undefined, undefined],
      ...Array(3).fill([2, 3, 4]),
      ...Array(3).fill([5, 6, 7]),
    ])
  })

  it('take a client back step by step, and forth again as far as it went', async () => {
    const id = await newTask()
    for (const title of ['Two', 'Three']) await call('PUT', `/tasks/${id}`, { title })
    const steps: unknown[] = []
    const step = async (verb: string, body?: object) => {
      const { status, body: answer } = await call('POST', `/tasks/${id}/${verb}`, body)
      const { task, code, undone, redone, next_undo, next_redo } = answer
      steps.push(status === 200 ? [task.title, undone ?? redone, next_undo, next_redo] : code)
    }
    await step('undo')
    await step('undo', { version: 2 })
    await step('undo')
    expect((await call('GET', `/tasks/${id}`)).status).to.equal(404)
    await step('undo')
    for (let n = 0; n < 4; n++) await step('redo')
    expect(steps).to.deep.equal([
      ['Two', 3, 2, 4],
      ['One', 2, 1, 5],
      ['One', 1, null, 6],
      'nothing_to_undo',
      ['One', 1, 7, 5],
      ['Two', 2, 8, 4],
      ['Three', 3, 9, null],
      'nothing_to_redo',
    ])
    await step('undo')
    await call('PUT', `/tasks/${id}`, { priority: 'high' })
    await step('redo')
    expect(steps.slice(-2)).to.deep.equal([['Two', 9, 8, 10], 'nothing_to_redo'])
  })

  it('leave alone what has been changed since, field by field', async () => {
    const id = await newTask()
    await call('PUT', `/tasks/${id}`, { title: 'Two' })
    await call('PUT', `/tasks/${id}`, { priority: 'high' })
    await call('PUT', `/tasks/${id}`, { title: 'Three' })
    const refused = await call('POST', `/tasks/${id}/undo`, { version: 2 })
    expect(refused.status).to.equal(409)
    expect(refused.body.code).to.equal('undo_conflict')
    expect(refused.body.details).to.deep.equal([
      { field: 'title', message: 'title was changed again by version 4' },
    ])
    const undone = await call('POST', `/tasks/${id}/undo`, { version: 3 })
    expect(undone.body.task).to.include({ title: 'Three', priority: 'medium', version: 5 })
  })

  it('restore a deleted task with its id, as it was', async () => {
    const id = await newTask({ priority: 'high' })
    const { task } = (await call('GET', `/tasks/${id}`)).body
    await call('DELETE', `/tasks/${id}`)
    expect((await call('PUT', `/tasks/${id}`, { title: 'Two' })).status).to.equal(404)
    const restored = await call('POST', `/tasks/${id}/restore`)
    expect(restored.status).to.equal(200)
    const { updated_at } = restored.body.task
    expect(restored.body.task).to.deep.equal({ ...task, version: 3, updated_at })
    expect((await call('GET', `/tasks/${id}`)).body).to.deep.equal(restored.body)
    const again = await call('POST', `/tasks/${id}/restore`)
    expect(again.body.task.version).to.equal(3)
    const list = (await call('GET', '/tasks?limit=200')).body.tasks
    expect(list.map(({ id }: { id: number }) => id)).to.include(id)
  })

  it('undo a deletion, and the creation of a task that nobody has changed since', async () => {
    const id = await newTask()
    await call('DELETE', `/tasks/${id}`)
    expect((await call('POST', `/tasks/${id}/undo`)).status).to.equal(200)
    await call('PUT', `/tasks/${id}`, { title: 'Two' })
    expect((await call('POST', `/tasks/${id}/undo`, { version: 1 })).status).to.equal(409)
    const fresh = await newTask()
    await call('POST', `/tasks/${fresh}/undo`)
    expect((await call('GET', `/tasks/${fresh}`)).status).to.equal(404)
  })

  it('are for the owner, of tasks and changes that there are', async () => {
    const id = await newTask()
    const stranger = await system.newUser()
    for (const verb of ['undo', 'redo', 'restore']) {
      expect((await call('POST', `/tasks/${id}/${verb}`, {}, {}, stranger)).status).to.equal(403)
      expect((await call('POST', `/tasks/999999/${verb}`, {})).status).to.equal(404)
      expect((await call('POST', `/tasks/x/${verb}`, {})).status).to.equal(400)
    }
    const unknown = await call('POST', `/tasks/${id}/undo`, { version: 9 })
    expect([unknown.status, unknown.body.code]).to.deep.equal([404, 'change_not_found'])
    for (const body of [{ version: 0 }, { version: '1' }, { versions: 1 }, { version: null }]) {
      expect((await call('POST', `/tasks/${id}/undo`, body)).status).to.equal(400)
    }
    for (const verb of ['redo', 'restore']) {
      expect((await call('POST', `/tasks/${id}/${verb}`, { version: 3 })).status).to.equal(400)
    }
    for (const version of [-1, 1.5, 1e21]) {
      const { details } = (await call('POST', `/tasks/${id}/undo`, { version })).body
      expect(details[0].message).to.match(/^Version must be a (positive integer|whole number)$/)
    }
  })

  it('obey If-Match, and are done once with an Idempotency-Key', async () => {
    const id = await newTask()
    await call('PUT', `/tasks/${id}`, { title: 'Two' })
    const late = await call('POST', `/tasks/${id}/undo`, {}, { 'If-Match': '"1"' })
    expect([late.status, late.body.version]).to.deep.equal([412, 2])
    const key = { 'Idempotency-Key': `undo-${id}` }
    const first = await call('POST', `/tasks/${id}/undo`, {}, key)
    const again = await call('POST', `/tasks/${id}/undo`, {}, key)
    expect(again.headers.get('idempotent-replayed')).to.equal('true')
    expect(again.body).to.deep.equal(first.body)
    expect(first.body.task).to.include({ title: 'One', version: 3 })
    const redoKey = { 'Idempotency-Key': `redo-${id}` }
    const redone = await call('POST', `/tasks/${id}/redo`, {}, redoKey)
    expect(redone.body.task).to.include({ title: 'Two', version: 4 })
    await call('PUT', `/tasks/${id}`, { title: 'Three' })
    for (const [verb, header, answer] of [
      ['undo', key, first],
      ['redo', redoKey, redone],
    ] as const) {
      const replayed = await call('POST', `/tasks/${id}/${verb}`, {}, header)
      expect(replayed.headers.get('idempotent-replayed')).to.equal('true')
      expect(replayed.body).to.deep.equal(answer.body)
    }
  })

  it('undo what one command did, even if others shared its request id', async () => {
    const now = new Date()
    const still = await startSystem({}, () => now)
    try {
      const { token } = await still.newUser()
      const headers = { 'x-request-id': 'the-same-each-time' }
      const send = (method: string, path: string, body?: unknown) =>
        still.call(method, path, { token, body, headers })
      const { id } = (await send('POST', '/tasks', { title: 'One' })).body.task
      await send('PUT', `/tasks/${id}`, { title: 'Two', priority: 'high' })
      await send('PUT', `/tasks/${id}`, { status: 'completed' })
      const undone = await send('POST', `/tasks/${id}/undo`)
      expect(undone.body.task).to.include({ title: 'Two', priority: 'high', status: 'pending' })
      const both = await send('POST', `/tasks/${id}/undo`, { version: 2 })
      expect(both.body.task).to.include({ title: 'One', priority: 'medium', version: 7 })
    } finally {
      await still.stop()
    }
  })

  it('put back texts that are long, and equal ones, as they were', async () => {
    const [long, other] = ['long '.repeat(1_000), 'other '.repeat(1_000)]
    const title = 'x'.repeat(200)
    const id = await newTask({ title, description: title })
    const path = `/tasks/${id}`
    for (const description of [long, other, long]) await call('PUT', path, { description })
    await call('PUT', path, { title: 'Two', description: null })
    const seen: unknown[] = []
    const step = async (verb: string, body: object) => {
      const { task } = (
        await call('POST', `${path}/${verb}`, body, { 'idempotency-key': `${seen.length}-${id}` })
      ).body
      expect((await call('GET', path)).body.task).to.deep.equal(task)
      seen.push([task.title, task.description])
    }
    for (let n = 0; n < 4; n++) await step('undo', {})
    for (let n = 0; n < 4; n++) await step('redo', {})
    const back = [long, other, long, title].map((text) => [title, text])
    expect(seen).to.deep.equal([...back, ...back.slice(0, 3).toReversed(), ['Two', null]])
  })

  describe('without a version, when another is first,', () => {
    let sql: pg.Client
    before(async () => {
      sql = new pg.Client(system.database.url)
      await sql.connect()
    })
    after(() => sql.end())

    /** Sends each when the one before has decided; none of them is written before all have. */
    const together = async (id: number, ...requests: readonly (() => Promise<Answer>)[]) => {
      await sql.query('begin')
      await sql.query('select from streams where stream_id = $1 for update', [`task-${id}`])
      const answers: Promise<Answer>[] = []
      for (const request of requests) {
        answers.push(request())
        const waiting = async () => {
          const { rowCount } = await sql.query('select from pg_locks where not granted')
          return rowCount === answers.length
        }
        await until(waiting, `${answers.length} wait for the stream`)
      }
      await sql.query('commit')
      return Promise.all(answers)
    }

    it('are done once: the other is refused as too late', async () => {
      const id = await newTask()
      await call('PUT', `/tasks/${id}`, { title: 'Two' })
      const undo = () => call('POST', `/tasks/${id}/undo`, {})
      const answers = await together(id, undo, undo)
      expect(answers.map(({ status }) => status).toSorted()).to.deep.equal([200, 409])
      const { task } = (await call('GET', `/tasks/${id}`)).body
      expect(task).to.include({ title: 'One', version: 3 })
    })

    it('redo once as well', async () => {
      const id = await newTask()
      await call('PUT', `/tasks/${id}`, { title: 'Two' })
      await call('PUT', `/tasks/${id}`, { title: 'Three' })
      for (let n = 0; n < 2; n++) await call('POST', `/tasks/${id}/undo`, {})
      const redo = () => call('POST', `/tasks/${id}/redo`, {})
      const answers = await together(id, redo, redo)
      expect(answers.map(({ status }) => status).toSorted()).to.deep.equal([200, 409])
      expect((await call('GET', `/tasks/${id}`)).body.task).to.include({ title: 'Two' })
    })

    it('do not undo what their client never saw', async () => {
      const id = await newTask()
      await call('PUT', `/tasks/${id}`, { title: 'Two' })
      const theirs = () => call('PUT', `/tasks/${id}`, { priority: 'high' })
      const undo = () => call('POST', `/tasks/${id}/undo`, {})
      const answers = await together(id, theirs, undo)
      expect(answers.map(({ status }) => status)).to.deep.equal([200, 200])
      const { task } = (await call('GET', `/tasks/${id}`)).body
      expect(task).to.include({ title: 'One', priority: 'high', version: 4 })
    })

    it('undo one change between them, however many come at once', async () => {
      const id = await newTask()
      await call('PUT', `/tasks/${id}`, { title: 'Two' })
      await call('PUT', `/tasks/${id}`, { title: 'Three' })
      const undo = () => call('POST', `/tasks/${id}/undo`, {})
      const answers = await together(id, ...Array<typeof undo>(5).fill(undo))
      const statuses = answers.map(({ status }) => status).toSorted()
      expect(statuses).to.deep.equal([200, 409, 409, 409, 409])
      expect((await call('GET', `/tasks/${id}`)).body.task).to.include({ title: 'Two' })
    })
  })
})
