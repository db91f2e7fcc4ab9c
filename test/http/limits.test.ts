import { setImmediate as turn } from 'node:timers/promises'
import { expect } from 'chai'
import type { Context } from 'koa'
import { HttpError } from '../../src/http/errors.ts'
import { type Overload, overload } from '../../src/http/overload.ts'
import { type Answer, type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>

describe('The rate limit', () => {
  const POINTS = 5
  let system: System
  let ann: User
  let bob: User

  before(async () => {
    system = await startSystem({ RATE_LIMIT_PER_SECOND: String(POINTS) })
    ann = await eventually(() => system.newUser())
    bob = await eventually(() => system.newUser())
  })
  after(() => system.stop())

  /** Registering and logging in count as well. */
  async function eventually<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      const done = await work().catch((error: Error) => error)
      if (!(done instanceof Error)) return done
      if (!done.message.includes('too_many_requests')) throw done
    }
  }
  const list = ({ token }: User) => system.call('GET', '/tasks', { token })
  const untilRefused = async (call: () => Promise<Answer>): Promise<Answer> => {
    for (;;) {
      const answers = await Promise.all(Array.from({ length: 2 * POINTS }, call))
      const refused = answers.find(({ status }) => status === 429)
      if (refused !== undefined) return refused
    }
  }

  it('tells how much is left', async () => {
    const { status, headers } = await list(bob)
    expect(status).to.equal(200)
    expect(headers.get('ratelimit-policy')).to.equal(`"default";q=${POINTS};w=1`)
    expect(headers.get('ratelimit')).to.match(/^"default";r=[0-4];t=1$/)
  })

  it('answers 429 to one request too many, and says when to come back', async () => {
    const { status, headers, body } = await untilRefused(() => list(ann))
    expect(status).to.equal(429)
    expect(body.code).to.equal('too_many_requests')
    expect(headers.get('retry-after')).to.equal('1')
    expect(headers.get('ratelimit-policy')).to.equal(`"default";q=${POINTS};w=1`)
    expect(headers.get('ratelimit')).to.equal('"default";r=0;t=1')
  })

  it('lets through no more than its number in a second', async () => {
    // The first of its second.
    while ((await list(ann)).headers.get('ratelimit') !== '"default";r=4;t=1');
    const began = performance.now()
    const answers = await Promise.all(Array.from({ length: 40 }, () => list(ann)))
    const seconds = (performance.now() - began) / 1000
    const passed = answers.filter(({ status }) => status === 200)
    expect(passed.length).to.be.at.most(POINTS - 1 + POINTS * Math.ceil(seconds))
  })

  it('refuses before anything is done', async () => {
    const post = () =>
      system.call('POST', '/tasks', { token: ann.token, body: { title: 'Counted' } })
    const answers = await Promise.all(Array.from({ length: 4 * POINTS }, post))
    const created = answers.filter(({ status }) => status === 201).length
    let listed = await list(ann)
    while (listed.status === 429) listed = await list(ann)
    expect(listed.body.tasks).to.have.length(created)
  })

  it('is each user’s own', async () => {
    for (let n = 0; n < POINTS - 1; n++) {
      await untilRefused(() => list(ann))
      expect((await list(bob)).status).to.equal(200)
    }
  })

  it('counts what comes without a valid token by address, and then asks auth-service no more', async () => {
    const headers = { 'x-forwarded-for': '198.51.100.60' }
    const asked = () => system.logged().split('"path":"/auth/validate"').length - 1
    const before = asked()
    const answers: Answer[] = []
    for (let n = 0; n < 8 * POINTS; n++) {
      const token = n % 2 ? `forged-${n}` : undefined
      answers.push(await system.call('GET', '/tasks', { headers, ...(token && { token }) }))
    }
    const passed = answers.filter(({ body }) => body.code === 'token_invalid')
    const refused = answers.find(({ status }) => status === 429)
    expect(refused?.body.code).to.equal('too_many_requests')
    expect(refused?.headers.get('retry-after')).to.equal('1')
    expect(refused?.headers.get('ratelimit-policy')).to.equal(`"refused";q=${POINTS};w=1`)
    expect(asked() - before).to.equal(passed.length)
    expect((await list(ann)).headers.get('ratelimit-policy')).to.equal(`"default";q=${POINTS};w=1`)
  })

  it('lets a token that was valid lately through a flood of made-up ones from its address', async () => {
    const headers = { 'x-forwarded-for': '198.51.100.62' }
    const junk = async () => {
      const token = `forged-${Math.random()}`
      return (await system.call('GET', '/tasks', { headers, token })).status
    }
    const list = () => system.call('GET', '/tasks', { headers, token: ann.token })
    await eventually(async () => {
      if ((await list()).status !== 200) throw new Error('too_many_requests')
    })
    for (let n = 0; n < 20; n++) {
      const statuses = await Promise.all(Array.from({ length: 3 * POINTS }, junk))
      const { headers: told } = await list()
      expect(told.get('ratelimit-policy'), `${statuses}`).to.equal(`"default";q=${POINTS};w=1`)
    }
    const flood = await Promise.all(Array.from({ length: 3 * POINTS }, junk))
    expect(flood).to.include(429)
    const { body, headers: told } = await system.call('GET', '/tasks', { headers, token: 'other' })
    expect([body.code, told.get('ratelimit-policy')]).to.deep.equal([
      'too_many_requests',
      `"refused";q=${POINTS};w=1`,
    ])
  })

  it('counts by the network of an IPv6 address, also what comes without a valid token', async () => {
    const refusedOf = async (call: (headers: Record<string, string>) => Promise<Answer>) => {
      const answers: Answer[] = []
      for (let n = 1; n <= 8 * POINTS; n++)
        answers.push(await call({ 'x-forwarded-for': `2001:db8:1:2::${n}` }))
      return answers.filter(({ status }) => status === 429).length
    }
    const junk = (headers: Record<string, string>) =>
      system.call('GET', '/tasks', { headers, token: 'forged' })
    expect(await refusedOf(junk)).to.be.above(0)
    const open = (headers: Record<string, string>) =>
      system.call('POST', '/auth/login', { headers, body: {} })
    expect(await refusedOf(open)).to.be.above(0)
  })

  it('counts no valid token as a refusal, however many users share an address', async () => {
    const headers = { 'x-forwarded-for': '198.51.100.61' }
    const users = [ann, bob]
    const calls = Array.from({ length: 8 * POINTS }, (_, n) =>
      system.call('GET', '/tasks', { token: users[n % 2]?.token, headers }),
    )
    for (const { headers: told } of await Promise.all(calls)) {
      expect(told.get('ratelimit-policy')).to.equal(`"default";q=${POINTS};w=1`)
    }
  })

  it('never stands between a load balancer and the health check', async () => {
    for (const path of ['/tasks/health', '/auth/health', '/health']) {
      const checks = Array.from({ length: 8 * POINTS }, () => system.call('GET', path))
      for (const { status } of await Promise.all(checks)) expect(status).to.equal(200)
    }
  })
})

describe('Load shedding', () => {
  const WINDOW = 100
  const next = async () => {}
  const at = (path: string) => ({ path }) as Context

  /** Holds the event loop for so long, as slow work does. */
  const hold = (ms: number) => {
    const end = performance.now() + ms
    while (performance.now() < end);
  }
  type Shed = ReturnType<typeof overload>
  const shedding = (facts: Partial<Overload> = {}): Shed =>
    overload({ maxDelay: 20, spared: [], window: WINDOW, queue: 0, ...facts })
  const refusal = (shed: Shed, path = '/tasks'): Promise<HttpError | undefined> =>
    shed(at(path), next).then(
      () => undefined,
      (error: HttpError) => error,
    )
  const overloaded = async (shed: Shed): Promise<HttpError> => {
    for (;;) {
      hold(40)
      await turn()
      const error = await refusal(shed)
      if (error !== undefined) return error
    }
  }

  it('refuses requests while the event loop is late, and says when to come back', async () => {
    const shed = shedding()
    expect(await refusal(shed)).to.equal(undefined)
    const error = await overloaded(shed)
    expect(error).to.be.instanceOf(HttpError)
    expect(error.code).to.equal('overloaded')
    expect(error.retryAfter).to.be.within(1, 5)
    const errors = await Promise.all(Array.from({ length: 50 }, () => refusal(shed)))
    expect(new Set(errors.map((each) => each?.retryAfter)).size).to.be.above(1)
  })

  it('never refuses health checks', async () => {
    const shed = shedding({ spared: ['/tasks/health'] })
    await overloaded(shed)
    expect(await refusal(shed, '/tasks/health')).to.equal(undefined)
  })

  it('refuses only those that would wait in a queue', async () => {
    const shed = shedding({ queue: 3 })
    const gate = Promise.withResolvers<void>()
    const underWay = [1, 2, 3].map(() => shed(at('/tasks'), () => gate.promise))
    await overloaded(shed)
    gate.resolve()
    await Promise.all(underWay)
    expect(await refusal(shed)).to.equal(undefined)
  })

  it('counts a request that failed as done', async () => {
    const shed = shedding({ queue: 1 })
    const failing = shed(at('/tasks'), () => Promise.reject(new Error('failed')))
    await failing.catch(() => {})
    const gate = Promise.withResolvers<void>()
    const underWay = shed(at('/tasks'), () => gate.promise)
    await overloaded(shed)
    gate.resolve()
    await underWay
    expect(await refusal(shed)).to.equal(undefined)
  })

  it('ends when the loop is free again', async () => {
    const shed = shedding()
    await overloaded(shed)
    while (await refusal(shed)) await new Promise((resolve) => setTimeout(resolve, 10))
  })

  it('does not begin for single delays of a process that has time', async () => {
    const shed = shedding()
    for (let n = 0; n < 5; n++) {
      hold(40)
      await new Promise((resolve) => setTimeout(resolve, WINDOW))
      expect(await refusal(shed)).to.equal(undefined)
    }
  })

  it('does not begin under work in small pieces, however much of it', async () => {
    const shed = shedding({ maxDelay: 200 })
    const end = performance.now() + 4 * WINDOW
    while (performance.now() < end) {
      hold(5)
      await turn()
      expect(await refusal(shed)).to.equal(undefined)
    }
  })

  it('is off at 0', async () => {
    const shed = shedding({ maxDelay: 0 })
    const end = performance.now() + 3 * WINDOW
    while (performance.now() < end) {
      hold(40)
      await turn()
      expect(await refusal(shed)).to.equal(undefined)
    }
  })
})
