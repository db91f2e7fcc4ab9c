import { expect } from 'chai'
import { type System, startSystem } from '../support/system.ts'

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

  it('put back all that the last request changed, and the same again put it forth', async () => {
    const id = await newTask({ description: 'first' })
    await call('PUT', `/tasks/${id}`, { title: 'Two', status: 'completed', description: null })
    const undone = await call('POST', `/tasks/${id}/undo`)
    expect(undone.status).to.equal(200)
    expect(undone.headers.get('etag')).to.equal('"7"')
    expect(undone.body.task).to.include({ title: 'One', status: 'pending', description: 'first' })
    const redone = await call('POST', `/tasks/${id}/undo`, {})
    expect(redone.body.task).to.include({ title: 'Two', status: 'completed', description: null })
    const { events } = (await call('GET', `/tasks/${id}/history`)).body
    expect(events.map(({ undoes }: { undoes?: number[] }) => undoes)).to.deep.equal([
      ...[undefined, undefined, undefined, undefined],
      ...Array(3).fill([2, 3, 4]),
      ...Array(3).fill([5, 6, 7]),
    ])
  })

  it('leave alone what has been changed since, field by field', async () => {
    const id = await newTask()
    await call('PUT', `/tasks/${id}`, { title: 'Two' })
    await call('PUT', `/tasks/${id}`, { priority: 'high' })
    await call('PUT', `/tasks/${id}`, { title: 'Three' })
    const refused = await call('POST', `/tasks/${id}/undo`, { version: 2 })
    expect(refused.status).to.equal(409)
    expect(refused.body.code).to.equal('undo_conflict')
    const undone = await call('POST', `/tasks/${id}/undo`, { version: 3 })
    expect(undone.body.task).to.include({ title: 'Three', priority: 'medium', version: 5 })
  })

  it('bring a deleted task back under its id, as it was', async () => {
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

  it('take back a deletion, and the creation of what nobody has touched since', async () => {
    const id = await newTask()
    await call('DELETE', `/tasks/${id}`)
    expect((await call('POST', `/tasks/${id}/undo`)).status).to.equal(200)
    expect((await call('POST', `/tasks/${id}/undo`, { version: 1 })).status).to.equal(409)
    const fresh = await newTask()
    await call('POST', `/tasks/${fresh}/undo`)
    expect((await call('GET', `/tasks/${fresh}`)).status).to.equal(404)
  })

  it('are for the owner, of tasks and changes that there are', async () => {
    const id = await newTask()
    const stranger = await system.newUser()
    for (const verb of ['undo', 'restore']) {
      expect((await call('POST', `/tasks/${id}/${verb}`, {}, {}, stranger)).status).to.equal(403)
      expect((await call('POST', `/tasks/999999/${verb}`, {})).status).to.equal(404)
      expect((await call('POST', `/tasks/x/${verb}`, {})).status).to.equal(400)
    }
    const unknown = await call('POST', `/tasks/${id}/undo`, { version: 9 })
    expect([unknown.status, unknown.body.code]).to.deep.equal([404, 'change_not_found'])
    for (const body of [{ version: 0 }, { version: '1' }, { versions: 1 }, { version: null }]) {
      expect((await call('POST', `/tasks/${id}/undo`, body)).status).to.equal(400)
    }
    expect((await call('POST', `/tasks/${id}/restore`, { version: 3 })).status).to.equal(400)
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
  })
})
