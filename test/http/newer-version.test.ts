import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import pg from 'pg'
import { type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>

describe('What a newer version wrote', () => {
  let system: System
  let sql: pg.Client
  let user: User
  before(async () => {
    system = await startSystem()
    sql = new pg.Client(system.database.url)
    await sql.connect()
    user = await system.newUser()
  })
  after(async () => {
    await sql.end()
    await system.stop()
  })

  const call = (method: string, path: string, body?: unknown) =>
    system.call(method, path, { token: user.token, body })
  const newTask = async (): Promise<number> =>
    (await call('POST', '/tasks', { title: 'One' })).body.task.id

  /** As a newer task-service appends it; the read table's row is that one's too. */
  const append = async (
    id: number,
    type: string,
    data: object,
    schema_version = 1,
    fields: object = {},
  ) => {
    const stream = [`task-${id}`]
    const { rows } = await sql.query(
      'select version::int, head_hash from streams where stream_id = $1',
      stream,
    )
    const { version, head_hash } = rows[0]
    const row = await sql.query(
      `select to_jsonb(t) - 'ngrams' || jsonb_build_object('version', $2::int,
        'updated_at', 'time of append', 'ngrams', ngrams) || $3 as row from tasks t where id = $1`,
      [id, version + 1, fields],
    )
    const append = {
      stream_id: stream[0],
      stream_type: 'task',
      expected_version: version,
      prev_hash: `\\x${head_hash.toString('hex')}`,
      schema_version,
      events: [{ event_id: randomUUID(), type, data: JSON.stringify(data) }],
      actor_id: user.id,
      metadata: JSON.stringify({ request_id: 'r', causation_id: 'c' }),
      row: row.rows[0].row,
    }
    const { rows: done } = await sql.query('select outcome from append_events($1, true)', [
      JSON.stringify([append]),
    ])
    expect(done).to.deep.equal([{ outcome: 'appended' }])
  }

  const future: Record<string, [type: string, data: object, schema_version: number]> = {
    'of an unknown type': ['TaskSnoozed', { title: 'Wrong', until: 'tomorrow' }, 1],
    'of a higher schema version': ['TaskRenamed', { title: { words: ['Wrong'] } }, 2],
  }
  for (const [what, event] of Object.entries(future)) {
    it(`can be read on, an event ${what}: it changed nothing that this version knows`, async () => {
      const id = await newTask()
      await append(id, ...event)
      const { body } = await call('GET', `/tasks/${id}/history`)
      expect(body.events[1]).to.include({ type: event[0], version: 2 })
      expect(body.events[1].changes).to.deep.equal({})
      const { updated_at } = (await call('GET', `/tasks/${id}`)).body.task
      for (const path of [
        `/tasks/${id}?version=2`,
        `/tasks/${id}?as_of=${encodeURIComponent(updated_at)}`,
      ]) {
        const { status, body } = await call('GET', path)
        expect(status, path).to.equal(200)
        expect(body.task).to.include({ title: 'One', version: 2, updated_at })
      }
      const changes = (await call('GET', '/tasks/changes?limit=200')).body.events
      expect(changes.at(-1)).to.deep.include({ task_id: id, version: 2, changes: {} })
      expect((await call('GET', `/tasks?as_of=${encodeURIComponent(updated_at)}`)).status).to.equal(
        200,
      )
    })

    it(`is written over by no older version, an event ${what}: 503, and another instance may know it`, async () => {
      const id = await newTask()
      await append(id, ...event)
      const attempts: [string, string, unknown?][] = [
        ['PUT', '', { title: 'Two' }],
        ['PATCH', '', { status: 'completed' }],
        ['DELETE', ''],
        ['POST', '/undo', {}],
        ['POST', '/restore'],
      ]
      for (const [method, path, body] of attempts) {
        const answer = await call(method, `/tasks/${id}${path}`, body)
        expect([answer.status, answer.body.code], method).to.deep.equal([503, 'newer_version'])
        expect(Number(answer.headers.get('retry-after'))).to.be.at.least(1)
      }
      const { body } = await call('GET', `/tasks/${id}`)
      expect(body.task).to.include({ title: 'One', version: 2 })
    })
  }

  it('with an unknown field is read without that field, which is ignored', async () => {
    const id = await newTask()
    const renamed = { title: 'Two', colour: 'red', user_id: 4711 }
    await append(id, 'TaskRenamed', renamed, 1, { title: 'Two' })
    const { events } = (await call('GET', `/tasks/${id}/history`)).body
    expect(events[1].changes).to.deep.equal({ title: { from: 'One', to: 'Two' } })
    const changed = await call('PUT', `/tasks/${id}`, { status: 'completed' })
    expect(changed.status).to.equal(200)
    expect(changed.body.task).to.include({ title: 'Two', status: 'completed', user_id: user.id })
    expect(changed.body.task).not.to.have.property('colour')
    expect((await call('GET', `/tasks/${id}`)).body).to.deep.equal(changed.body)
  })
})
