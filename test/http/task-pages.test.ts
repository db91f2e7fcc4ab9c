import { expect } from 'chai'
import fc from 'fast-check'
import pg from 'pg'
import { nextLink } from '../support/next-link.ts'
import { until } from '../support/processes.ts'
import { type Answer, type System, startSystem } from '../support/system.ts'
import { insertTasks } from '../support/task-rows.ts'

type Shown = { readonly id: number }

const SORTS = ['created_at', 'updated_at', 'due_date', 'priority'].flatMap((sort) => [
  sort,
  `-${sort}`,
])
const idsOf = ({ body }: Answer): number[] => body.tasks.map(({ id }: Shown) => id)
const next = ({ headers }: Answer): string | undefined => nextLink(headers)
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const decode = (cursor: string) => JSON.parse(Buffer.from(cursor, 'base64url').toString())

describe('The pages of a task list', () => {
  let system: System
  let sql: pg.Client
  let ann: Awaited<ReturnType<System['newUser']>>

  before(async () => {
    system = await startSystem()
    sql = new pg.Client(system.database.url)
    await sql.connect()
    ann = await system.newUser()
  })
  beforeEach(() => sql.query('truncate tasks'))
  after(async () => {
    await sql.end()
    await system.stop()
  })

  const get = (path: string) => system.call('GET', path, { token: ann.token })
  const create = async (body: object = { title: 'A task' }): Promise<number> =>
    (await system.call('POST', '/tasks', { token: ann.token, body })).body.task.id
  const given = (count: number, fields: object = {}) => {
    const rows = Array.from({ length: count }, (_, n) => {
      const at = new Date(Date.UTC(2026, 0, 1) + (n % 900)).toISOString()
      return { id: 5_000_000 + n, user_id: ann.id, created_at: at, updated_at: at, ...fields }
    })
    return insertTasks(sql, system.keyWrap, rows)
  }

  it('hold each task that stays as it is exactly once, whatever others do meanwhile', async function () {
    this.timeout(180_000)
    const due_date = fc.option(fc.constantFrom('2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z'))
    const fields = fc.record({
      title: fc.constant('A task'),
      priority: fc.constantFrom('low', 'medium', 'high'),
      due_date,
    })
    const change = fc.record({ fields, method: fc.constantFrom('POST', 'PUT', 'DELETE') })
    const course = fc.record({
      sort: fc.constantFrom(...SORTS),
      limit: fc.integer({ min: 1, max: 3 }),
      resting: fc.array(fields, { minLength: 1, maxLength: 4 }),
      moving: fc.array(fields, { minLength: 1, maxLength: 3 }),
      // What happens beside the first page, beside the second, and so on.
      meanwhile: fc.array(fc.array(change, { maxLength: 2 }), { maxLength: 5 }),
    })
    await fc.assert(
      fc.asyncProperty(course, async ({ sort, limit, resting, moving, meanwhile }) => {
        await sql.query('truncate tasks')
        const [rest, move] = await Promise.all([
          Promise.all(resting.map(create)),
          Promise.all(moving.map(create)),
        ])
        const disturb = ({ fields, method }: { fields: object; method: string }, index: number) => {
          const id = move[index % move.length]
          if (method === 'POST') return create(fields)
          const body = method === 'PUT' ? { ...fields, status: 'completed' } : undefined
          return system.call(method, `/tasks/${id}`, { token: ann.token, body })
        }
        const seen: number[] = []
        let path: string | undefined = `/tasks?sort=${sort}&limit=${limit}`
        for (let page = 0; path !== undefined; page++) {
          const changes = (meanwhile[page] ?? []).map(disturb)
          const [answer] = await Promise.all([get(path), ...changes])
          seen.push(...idsOf(answer))
          path = next(answer)
        }
        for (const id of rest) expect(seen.filter((other) => other === id)).to.have.length(1)
      }),
      { numRuns: 100 },
    )
  })

  it('are not disturbed by a hundred tasks that arrive at the same time', async () => {
    await given(60)
    let arriving = true
    const arrivals = Promise.all(Array.from({ length: 100 }, () => create())).finally(() => {
      arriving = false
    })
    do {
      for (const sort of ['-created_at', 'created_at', 'priority']) {
        const seen: number[] = []
        for (let path: string | undefined = `/tasks?sort=${sort}&limit=20`; path; ) {
          const answer = await get(path)
          seen.push(...idsOf(answer))
          path = next(answer)
        }
        expect(new Set(seen).size, sort).to.equal(seen.length)
        expect(seen.filter((id) => id >= 5_000_000)).to.have.length(60)
      }
    } while (arriving)
    await arrivals
  })

  it('of the present do not wait for those of the past', async () => {
    await given(300)
    await create()
    const lock = new pg.Client(system.database.url)
    await lock.connect()
    try {
      await lock.query('begin; lock table events')
      let isOver = false
      const past = get(`/tasks?as_of=${new Date().toISOString()}`).finally(() => {
        isOver = true
      })
      const isWaiting = async () =>
        (await sql.query('select from pg_locks where not granted')).rowCount !== 0
      await until(isWaiting, 'the past waits for the lock')
      expect(idsOf(await get('/tasks'))).to.have.length(301)
      expect(isOver).to.equal(false)
      await lock.query('rollback')
      expect(idsOf(await past)).to.have.length.above(0)
    } finally {
      await lock.end()
    }
  })

  it('keep their filters, whatever characters are in them', async () => {
    const q = '50% & "more" + ?#/é'
    await given(5, { title: `Save ${q}` })
    await given(0)
    const query = new URLSearchParams({ q, limit: '2', has_due_date: 'false', status: 'pending' })
    let answer = await get(`/tasks?${query}`)
    const sizes = [idsOf(answer).length]
    for (let path = next(answer); path !== undefined; path = next(answer)) {
      answer = await get(path)
      sizes.push(idsOf(answer).length)
    }
    expect(sizes).to.deep.equal([2, 2, 1])
  })

  it('go on by the cursor in the body as by the Link', async () => {
    await given(3)
    const first = await get('/tasks?limit=2')
    const second = await get(`/tasks?limit=2&cursor=${first.body.next_cursor}`)
    expect(idsOf(second)).to.deep.equal(idsOf(await get(next(first) ?? '')))
    expect(second.body.next_cursor).to.equal(null)
    const exact = await get('/tasks?limit=3')
    expect(exact.body.next_cursor).to.equal(null)
    expect(next(exact)).to.equal(undefined)
  })

  describe('refuse a cursor', () => {
    const isRefused = (answer: Answer) =>
      answer.status === 400 && answer.body.details[0].field === 'cursor'

    it('of a list in another order', async () => {
      await given(4, { due_date: '2026-01-01T00:00:00.000Z' })
      for (const sort of SORTS) {
        const { body } = await get(`/tasks?sort=${sort}&limit=1`)
        for (const other of SORTS) {
          const answer = await get(`/tasks?sort=${other}&limit=1&cursor=${body.next_cursor}`)
          if (other === sort) expect(answer.status).to.equal(200)
          else expect(isRefused(answer), `${sort} in ${other}`).to.equal(true)
        }
      }
    })

    it('that was never given', async () => {
      const at = '2026-01-01T00:00:00.000Z'
      const order = '-created_at'
      for (const value of [
        [],
        [order],
        [order, at],
        [order, at, '1'],
        [order, at, 1.5],
        [order, at, 2 ** 53],
        [order, at, null],
        [order, null, 1],
        [order, 'yesterday', 1],
        [order, '2026-01-01', 1],
        [order, '0000-01-01T00:00:00.000Z', 1],
        [order, 'infinity', 1],
        [order, at, 1, 1],
        { order, at, id: 1 },
        null,
        1,
      ]) {
        const answer = await get(`/tasks?cursor=${encode(value)}`)
        expect(isRefused(answer), JSON.stringify(value)).to.equal(true)
      }
      for (const cursor of ['', 'null', '%00', encode('x').slice(1), 'a'.repeat(501)]) {
        expect(isRefused(await get(`/tasks?cursor=${cursor}`)), cursor).to.equal(true)
      }
    })

    it('that was tampered with, unless it still names a place in this list', async () => {
      await given(4)
      const genuine: string = (await get('/tasks?limit=1')).body.next_cursor
      const digits = fc.constantFrom(...'ABCwxyz0189-_')
      const tampering = fc.tuple(
        fc.nat(genuine.length - 1),
        fc.oneof(
          fc.string({ unit: digits, maxLength: 3 }),
          fc.string({ unit: 'binary', maxLength: 3 }),
        ),
      )
      await fc.assert(
        fc.asyncProperty(tampering, async ([place, piece]) => {
          const cursor = genuine.slice(0, place) + piece + genuine.slice(place + 1)
          const answer = await get(`/tasks?limit=1&cursor=${encodeURIComponent(cursor)}`)
          if (answer.status === 200) expect(decode(cursor)[0]).to.equal('-created_at')
          else expect(isRefused(answer), cursor).to.equal(true)
        }),
        { numRuns: 300 },
      )
    })
  })

  it('come unasked for after 10,000 tasks, and the Link leads to the rest', async () => {
    await given(10_003)
    const first = await get('/tasks?sort=created_at')
    expect(idsOf(first)).to.have.length(10_000)
    expect(first.body.next_cursor).to.be.a('string')
    const rest = await get(next(first) ?? '')
    expect(new Set([...idsOf(first), ...idsOf(rest)]).size).to.equal(10_003)
    expect(next(rest)).to.equal(undefined)
  })

  it('are whole, or refused for a moment, when many ask for long ones at once', async () => {
    await given(10_000)
    const long = Promise.all(Array.from({ length: 60 }, () => get('/tasks')))
    const short = await get('/tasks?limit=200')
    expect(short.status, short.body.code).to.equal(200)
    expect(idsOf(short)).to.have.length(200)
    const answers = await long
    expect(answers.some(({ status }) => status === 200)).to.equal(true)
    for (const answer of answers) {
      if (answer.status === 200) {
        expect(idsOf(answer)).to.have.length(10_000)
      } else {
        expect(answer.status).to.equal(429)
        expect(answer.body.code).to.equal('too_many_requests')
        expect(answer.headers.get('retry-after')).to.equal('2')
      }
    }
  })

  it('end early after 8 MiB of text, and lose nothing', async () => {
    const description = '😀'.repeat(10_000)
    await given(500, { description })
    const sizes: number[] = []
    const seen = new Set<number>()
    for (let path: string | undefined = '/tasks'; path !== undefined; ) {
      const answer = await get(path)
      const ids = idsOf(answer)
      for (const id of ids) seen.add(id)
      sizes.push(ids.length)
      path = next(answer)
    }
    const bytes = Buffer.byteLength(description) + 'A task'.length
    const full = Math.ceil((8 * 1024 * 1024) / bytes)
    expect(sizes).to.deep.equal([full, full, 500 - 2 * full])
    expect(seen.size).to.equal(500)
    // The largest page that can be asked for is never cut.
    expect(idsOf(await get('/tasks?limit=200'))).to.have.length(200)
  })
})
