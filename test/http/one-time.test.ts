import { expect } from 'chai'
import fc from 'fast-check'
import pg from 'pg'
import { type Client, type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>
type Task = { id: number; version: number; created_at: string; updated_at: string }
type Event = { position: number; version: number; occurred_at: string; recorded_at: string }

const HOUR = 3_600_000
const shifted = (by: number) => () => new Date(Date.now() + by)
const asOf = (time: string) => `as_of=${encodeURIComponent(time)}`

describe('The time of a change', () => {
  let system: System
  let others: System[]
  let user: User
  let sql: pg.Client
  /** The same service with a clock that is right, five hours ahead, and five behind. */
  let services: readonly Client[]
  before(async () => {
    system = await startSystem()
    const shared = { AUTH_SERVICE_URL: system.urls.auth }
    others = [
      await startSystem(shared, shifted(5 * HOUR), system.database),
      await startSystem(shared, shifted(-5 * HOUR), system.database),
    ]
    services = [system, ...others].map(({ call }) => call)
    sql = new pg.Client(system.database.url)
    await sql.connect()
    user = await system.newUser()
  })
  after(async () => {
    await sql.end()
    await Promise.all(others.map(({ stop }) => stop()))
    await system.stop()
  })

  const by = (service = 0, owner = user) => {
    const call = services[service] ?? system.call
    return (method: string, path: string, body?: unknown) =>
      call(method, path, { token: owner.token, body })
  }
  const get = async (path: string, owner = user) => (await by(0, owner)('GET', path)).body

  it('is the database’s: a service whose clock is wrong moves no time and no past', async () => {
    const began = Date.now()
    const answers: Task[] = [(await by(1)('POST', '/tasks', { title: 'Title 0' })).body.task]
    const id = answers[0]?.id
    for (let n = 1; n <= 9; n++) {
      const { body } = await by(n % 3)('PUT', `/tasks/${id}`, { title: `Title ${n}` })
      answers.push(body.task)
    }
    for (const { created_at, updated_at } of answers) {
      for (const time of [created_at, updated_at].map(Date.parse)) {
        expect(time).to.be.within(began, Date.now())
      }
    }
    const { events }: { events: Event[] } = await get(`/tasks/${id}/history`)
    expect(events.map(({ occurred_at }) => occurred_at)).to.deep.equal(
      answers.map(({ updated_at }) => updated_at),
    )
  })

  it('finds the change again, taken from any answer and asked of any service', async () => {
    const { body } = await by(2)('POST', '/tasks', { title: 'One' })
    const answers: Task[] = [body.task]
    const { id } = body.task
    for (let n = 1; n <= 6; n++) {
      const change = n % 2 ? { status: 'completed' } : { status: 'pending' }
      answers.push((await by(n % 3)('PUT', `/tasks/${id}`, change)).body.task)
    }
    for (const [n, task] of answers.entries()) {
      // The last of those answers that have this very millisecond.
      const then = answers.findLast(({ updated_at }) => updated_at === task.updated_at)
      const found = await by(n % 3)('GET', `/tasks/${id}?${asOf(task.updated_at)}`)
      expect(found.body.task).to.deep.equal(then)
      const first = await get(`/tasks/${id}?${asOf(task.created_at)}`)
      expect(first.task).to.include({ created_at: task.created_at, updated_at: task.created_at })
      const { tasks } = await get(`/tasks?${asOf(task.updated_at)}`)
      expect(tasks.find((each: Task) => each.id === id)).to.deep.equal(then)
    }
  })

  it('goes with versions and positions, is one under both its names, and the same in the list and of the task', async () => {
    const owner = await system.newUser()
    const ids: number[] = []
    for (let n = 0; n < 3; n++) {
      ids.push((await by(n, owner)('POST', '/tasks', { title: 'One' })).body.task.id)
    }
    const step = fc.record({ task: fc.nat(2), service: fc.nat(2), title: fc.nat(9) })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), async (steps) => {
        await Promise.all(
          steps.map(({ task, service, title }) =>
            by(service, owner)('PUT', `/tasks/${ids[task]}`, { title: `Title ${title}` }),
          ),
        )
        const histories = await Promise.all(ids.map((id) => get(`/tasks/${id}/history`, owner)))
        const times = new Set<string>()
        for (const { events } of histories as { events: Event[] }[]) {
          for (const name of ['position', 'version', 'occurred_at'] as const) {
            const values = events.map((event) => event[name])
            expect(values, name).to.deep.equal([...values].sort((a, b) => (a < b ? -1 : 1)))
          }
          for (const { occurred_at, recorded_at } of events) {
            expect(recorded_at).to.equal(occurred_at)
            times.add(occurred_at)
          }
        }
        for (const time of [...times].slice(-5)) {
          const list = await get(`/tasks?sort=created_at&${asOf(time)}`, owner)
          const each = await Promise.all(ids.map((id) => get(`/tasks/${id}?${asOf(time)}`, owner)))
          expect(list.tasks).to.deep.equal(each.flatMap(({ task }) => task ?? []))
        }
      }),
      { numRuns: 6 },
    )
  })

  it('never goes back within a task, even if the database’s clock does', async () => {
    const { body } = await by(0)('POST', '/tasks', { title: 'One' })
    const { id } = body.task
    await sql.query(`
      alter table events disable trigger all;
      update events set occurred_at = date_trunc('milliseconds', now()) + interval '1 hour'
        where stream_id = 'task-${id}';
      alter table events enable trigger all; alter table events enable always trigger events_are_append_only`)
    const [created] = (await get(`/tasks/${id}/history`)).events
    const { task } = (await by(0)('PUT', `/tasks/${id}`, { title: 'Two' })).body
    expect(task.updated_at).to.equal(created.occurred_at)
    const found = await get(`/tasks/${id}?${asOf(task.updated_at)}`)
    expect(found.task).to.include({ title: 'Two', version: 2 })
  })

  it('is in the kept answer what it was in the first one', async () => {
    const headers = { 'idempotency-key': 'once' }
    const ask = (service: number) =>
      services[service]?.('POST', '/tasks', { token: user.token, headers, body: { title: 'One' } })
    const [first, again] = [await ask(1), await ask(2)]
    expect(again?.headers.get('idempotent-replayed')).to.equal('true')
    expect(again?.body).to.deep.equal(first?.body)
    expect(await get(`/tasks/${first?.body.task.id}`)).to.deep.equal(first?.body)
  })
})
