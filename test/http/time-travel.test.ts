import { expect } from 'chai'
import fc from 'fast-check'
import pg from 'pg'
import { timeTravel } from '../../src/app/time-travel.ts'
import type { TaskEvent } from '../../src/domain/task/events.ts'
import { type TaskView, taskStreamId, viewTask } from '../../src/domain/task/view.ts'
import { append, created } from '../support/appends.ts'
import { load } from '../support/load.ts'
import { memoryEventStore } from '../support/memory-event-store.ts'
import { nextLink } from '../support/next-link.ts'
import { giveRole } from '../support/roles.ts'
import { type Answer, type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>

const at = (time: string) => `as_of=${encodeURIComponent(time)}`

describe('The past of tasks', () => {
  let system: System
  let owner: User
  let auditor: User
  let sql: pg.Client
  before(async () => {
    system = await startSystem()
    sql = new pg.Client(system.database.url)
    await sql.connect()
    owner = await system.newUser()
    auditor = await system.newUser()
    await giveRole(sql, auditor.id, 'auditor')
  })
  after(async () => {
    await sql.end()
    await system.stop()
  })

  const call = (method: string, path: string, body?: unknown, user = owner) =>
    system.call(method, path, { token: user.token, body })
  const newTask = async (fields: object = {}, user = owner): Promise<number> =>
    (await call('POST', '/tasks', { title: 'One', ...fields }, user)).body.task.id
  const events = async (id: number): Promise<{ version: number; occurred_at: string }[]> =>
    (await call('GET', `/tasks/${id}/history`)).body.events
  const accesses = async (): Promise<unknown[]> =>
    (await sql.query('select user_id, role, kind, query from audit_accesses order by id')).rows

  it('is shown event by event, with the values before, and who did it when', async () => {
    const id = await newTask({ description: 'words' })
    await call('PUT', `/tasks/${id}`, { title: 'Two' })
    await call('DELETE', `/tasks/${id}`)
    const { events } = (await call('GET', `/tasks/${id}/history`)).body
    expect(events.map(({ type }: { type: string }) => type)).to.deep.equal([
      'TaskCreated',
      'TaskRenamed',
      'TaskDeleted',
    ])
    expect(events[0].changes).to.deep.equal({
      title: { from: null, to: 'One' },
      description: { from: null, to: 'words' },
      status: { from: null, to: 'pending' },
      priority: { from: null, to: 'medium' },
      due_date: { from: null, to: null },
    })
    expect(events[1].changes).to.deep.equal({ title: { from: 'One', to: 'Two' } })
    expect(events[2].changes).to.deep.equal({ deleted: { from: false, to: true } })
    for (const [index, event] of events.entries()) {
      expect(event).to.deep.include({
        task_id: id,
        version: index + 1,
        actor: { user_id: owner.id },
      })
      expect(event.hash).to.match(/^[0-9a-f]{64}$/)
    }
  })

  it('is told page by page, from either end, each page as a part of the whole', async () => {
    const id = await newTask({ description: 'words' })
    const path = `/tasks/${id}/history`
    for (const title of ['Two', 'Three', 'Four']) await call('PUT', `/tasks/${id}`, { title })
    await call('PUT', `/tasks/${id}`, { status: 'completed', description: null })
    await call('DELETE', `/tasks/${id}`)
    const { events: whole, next_cursor } = (await call('GET', path)).body
    expect([whole.length, next_cursor]).to.deep.equal([7, null])
    for (const order of ['asc', 'desc']) {
      for (const limit of [1, 2, 3, 7]) {
        const told: unknown[] = []
        for (let next: string | null = `${path}?order=${order}&limit=${limit}`; next; ) {
          const { status, body, headers }: Answer = await call('GET', next)
          expect(status).to.equal(200)
          expect(body.events.length).to.be.within(1, limit)
          told.push(...body.events)
          next = nextLink(headers) ?? null
          expect(body.next_cursor).to.equal(next && new URLSearchParams(next).get('cursor'))
        }
        expect(told, `${order} ${limit}`).to.deep.equal(
          order === 'asc' ? whole : whole.toReversed(),
        )
      }
    }
    const cursor = (await call('GET', `${path}?limit=1`)).body.next_cursor
    for (const query of [
      `order=desc&cursor=${cursor}`,
      'cursor=x',
      'limit=0',
      'limit=201',
      'order=up',
    ]) {
      expect((await call('GET', `${path}?${query}`)).status, query).to.equal(400)
    }
  })

  it('is the owner’s and the auditors’, whose look is on record', async () => {
    const id = await newTask()
    const stranger = await system.newUser()
    for (const path of [`/tasks/${id}`, `/tasks/${id}/history`, `/tasks/${id}?version=1`]) {
      expect((await call('GET', path, undefined, stranger)).status).to.equal(403)
      const before = await accesses()
      expect((await call('GET', path)).status).to.equal(200)
      expect(await accesses()).to.deep.equal(before)
      expect((await call('GET', path, undefined, auditor)).status).to.equal(200)
      const [look] = (await accesses()).slice(before.length)
      expect(look).to.deep.include({ user_id: String(auditor.id), role: 'auditor', kind: 'looked' })
      expect(look).to.have.nested.property('query.task_id', id)
    }
    const list = await call('GET', '/tasks', undefined, auditor)
    expect(list.body.tasks).to.deep.equal([])
    expect((await call('DELETE', `/tasks/${id}`, undefined, auditor)).status).to.equal(403)
    const before = (await accesses()).length
    for (const moment of ['version=9', at('2001-01-01T00:00:00Z')]) {
      const path = `/tasks/${id}?${moment}`
      expect((await call('GET', path, undefined, stranger)).status, moment).to.equal(403)
      expect((await call('GET', path, undefined, auditor)).status, moment).to.equal(404)
      expect((await call('GET', path)).status, moment).to.equal(404)
    }
    expect(await accesses()).to.have.length(before + 2)
    expect((await call('GET', '/tasks/999999/history')).status).to.equal(404)
  })

  it('has each version, and the state at each time', async () => {
    const id = await newTask()
    for (const title of ['Two', 'Three']) await call('PUT', `/tasks/${id}`, { title })
    await call('DELETE', `/tasks/${id}`)
    const titles = ['One', 'Two', 'Three']
    for (const [index, { version, occurred_at }] of (await events(id)).slice(0, 3).entries()) {
      for (const query of [`version=${version}`, at(occurred_at)]) {
        const { status, body, headers } = await call('GET', `/tasks/${id}?${query}`)
        expect(status, query).to.equal(200)
        expect(body.task).to.include({ title: titles[index], version })
        expect(headers.get('etag')).to.equal(`"${version}"`)
      }
    }
    const then = `Task with id ${id} did not exist then: it was not yet created, or it was deleted`
    const deletion = String((await events(id)).at(-1)?.occurred_at)
    for (const [query, code, message] of [
      ['version=4', 'task_not_there_then', then],
      ['version=5', 'version_not_found', `Task with id ${id} has no version 5`],
      [at('2020-01-01T00:00:00Z'), 'task_not_there_then', then],
      [at(deletion), 'task_not_there_then', then],
    ] as const) {
      const { status, body } = await call('GET', `/tasks/${id}?${query}`)
      expect(status, query).to.equal(404)
      expect(body, query).to.include({ code, message })
    }
    for (const query of ['version=1', at('2020-01-01T00:00:00Z')]) {
      const { body } = await call('GET', `/tasks/999999?${query}`)
      expect(body.code, query).to.equal('task_not_found')
    }
  })

  it('is requested in one way at a time, with valid values', async () => {
    const id = await newTask()
    for (const query of ['version=0', 'version=x', 'as_of=yesterday', 'as_of=2026-01-01']) {
      expect((await call('GET', `/tasks/${id}?${query}`)).status, query).to.equal(400)
    }
    const both = await call('GET', `/tasks/${id}?version=1&${at('2026-01-01T00:00:00Z')}`)
    expect(both.body.details).to.deep.equal([
      { field: 'as_of', message: 'as_of cannot be combined with version' },
    ])
    expect((await call('GET', '/tasks?as_of=now')).status).to.equal(400)
    const soon = at(new Date(Date.now() + 60_000).toISOString())
    for (const path of [
      `/tasks/${id}?${soon}`,
      `/tasks?${soon}`,
      '/tasks?as_of=9999-01-01T00:00:00Z',
    ]) {
      const { status, body } = await call('GET', path)
      expect(status, path).to.equal(400)
      expect(body.details).to.deep.equal([
        { field: 'as_of', message: 'as_of must not be in the future' },
      ])
    }
  })

  it('has the whole list as it was, with its filters, orders and pages', async () => {
    const user = await system.newUser()
    const ids: number[] = []
    for (const priority of ['low', 'high', 'medium', 'high']) {
      ids.push(await newTask({ priority, title: `Task ${priority}` }, user))
    }
    const [first = 0, second = 0] = ids
    const now = await call('GET', '/tasks?sort=-priority', undefined, user)
    const { rows } = await sql.query(
      'select max(recorded_at) as at from events where actor_id = $1',
      [user.id],
    )
    const then = rows[0].at.toISOString()
    await call('DELETE', `/tasks/${first}`, undefined, user)
    await call('PUT', `/tasks/${second}`, { title: 'Other', status: 'completed' }, user)
    await newTask({}, user)
    const past = await call('GET', `/tasks?sort=-priority&${at(then)}`, undefined, user)
    expect(past.body).to.deep.equal(now.body)
    const page = await call('GET', `/tasks?sort=-priority&limit=2&${at(then)}`, undefined, user)
    const next = nextLink(page.headers) ?? ''
    const rest = await call('GET', next, undefined, user)
    expect([...page.body.tasks, ...rest.body.tasks]).to.deep.equal(now.body.tasks)
    expect(rest.body.next_cursor).to.equal(null)
    const high = await call('GET', `/tasks?priority=high&q=TASK&${at(then)}`, undefined, user)
    expect(high.body.tasks).to.have.length(2)
    const before = await call('GET', `/tasks?${at('2020-01-01T00:00:00Z')}`, undefined, user)
    expect(before.body.tasks).to.deep.equal([])
  })

  it('has what is due at the border of two windows in one of them, as the present has', async () => {
    const user = await system.newUser()
    const day = (n: number) => `2026-01-0${n}T00:00:00.000Z`
    const ids: number[] = []
    for (const n of [1, 2, 3]) ids.push(await newTask({ due_date: day(n) }, user))
    const [{ recorded_at }] = (await call('GET', `/tasks/${ids[2]}/history`, undefined, user)).body
      .events
    for (const moment of ['', `&${at(recorded_at)}`]) {
      const found: number[] = []
      for (const window of [
        [1, 2],
        [2, 4],
      ] as const) {
        const [from, before] = window.map(day)
        const query = `due_from=${from}&due_before=${before}${moment}`
        const { tasks } = (await call('GET', `/tasks?${query}`, undefined, user)).body
        found.push(...tasks.map(({ id }: { id: number }) => id))
      }
      expect(found, moment).to.have.members(ids)
    }
  })

  it('of the present moment is the present, whatever was done and is asked', async () => {
    const user = await system.newUser()
    const field = {
      title: fc.constantFrom('Alpha', 'beta', 'GAMMA', 'Ünïcode'),
      priority: fc.constantFrom('low', 'medium', 'high'),
      status: fc.constantFrom('pending', 'in_progress', 'completed'),
      due_date: fc.option(fc.constantFrom('2026-01-01T00:00:00.000Z', '2027-01-01T00:00:00.000Z')),
    }
    const order = fc.constantFrom('created_at', 'updated_at', 'due_date', 'priority')
    const question = fc.record(
      {
        sort: fc.tuple(fc.constantFrom('', '-'), order).map((parts) => parts.join('')),
        status: fc.constantFrom('pending', 'pending,completed'),
        priority: fc.constantFrom('high', 'low,medium'),
        q: fc.constantFrom('a', 'ALPHA', 'ünï'),
        has_due_date: fc.constantFrom('true', 'false'),
        due_from: fc.constant('2026-01-01T00:00:00Z'),
        due_before: fc.constant('2027-01-01T00:00:00Z'),
        limit: fc.constantFrom('1', '3', '200'),
      },
      { requiredKeys: [] },
    )
    await fc.assert(
      fc.asyncProperty(fc.record(field), question, fc.boolean(), async (fields, asked, gone) => {
        const id = await newTask(fields, user)
        if (gone) await call('DELETE', `/tasks/${id}`, undefined, user)
        const query = new URLSearchParams(asked as Record<string, string>).toString()
        const present = await call('GET', `/tasks?${query}`, undefined, user)
        const past = await call(
          'GET',
          `/tasks?${query}&${at(new Date().toISOString())}`,
          undefined,
          user,
        )
        expect(past.body).to.deep.equal(present.body)
      }),
      { numRuns: 100 },
    )
  })

  it('equals the fold of the events up to each version and each time', async () => {
    const titles = fc.array(fc.constantFrom('rename', 'delete', 'restore'), { maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(titles, async (steps) => {
        let clock = Date.parse('2026-01-01T00:00:00Z')
        const store = memoryEventStore<TaskEvent, TaskView>(() => new Date(clock++))
        const past = timeTravel(store)
        const log: TaskEvent[] = [created(), ...steps.map(eventOf)]
        let expected = { version: 0, head_hash: null as string | null }
        for (const event of log) {
          await store.append(append(1, [event], { expected }))
          const { version, head_hash } = await load(store, taskStreamId(1))
          expected = { version, head_hash }
        }
        const { events } = await load(store, taskStreamId(1))
        for (const [index, { version, occurred_at }] of events.entries()) {
          const row = events.slice(0, index + 1).reduce(viewTask, null)
          const fold = row?.deleted_at === null ? row : null
          expect(await past.taskAt(1, { version })).to.deep.equal(fold ?? 'task_not_there_then')
          expect(await past.taskAt(1, { as_of: occurred_at })).to.deep.equal(
            fold ?? 'task_not_there_then',
          )
          const query = { user_id: 1, sort: 'created_at', descending: true, limit: 10 } as const
          const { tasks } = await past.listAt(query, occurred_at, new AbortController().signal)
          expect(tasks).to.deep.equal(fold ? [fold] : [])
        }
      }),
      { numRuns: 100 },
    )
  })
})

function eventOf(step: string, index: number): TaskEvent {
  if (step === 'rename') return { type: 'TaskRenamed', data: { title: `Title ${index}` } }
  return step === 'delete' ? { type: 'TaskDeleted', data: {} } : { type: 'TaskRestored', data: {} }
}
