import { setImmediate as turn } from 'node:timers/promises'
import { expect } from 'chai'
import type { Context } from 'koa'
import { HttpError } from '../../src/http/errors.ts'
import { overload } from '../../src/http/overload.ts'
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
    const began = performance.now()
    const answers = await Promise.all(Array.from({ length: 40 }, () => list(ann)))
    const seconds = (performance.now() - began) / 1000
    const passed = answers.filter(({ status }) => status === 200)
    expect(passed.length).to.be.at.most(POINTS * (Math.floor(seconds) + 2))
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
    for (;;) {
      const refused = await untilRefused(() => list(ann))
      const his = await list(bob)
      expect(refused.status).to.equal(429)
      if (his.status === 200) break
    }
  })

  it('never stands between a load balancer and the health check', async () => {
    for (const path of ['/tasks/health', '/auth/health']) {
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
  const isRefused = (shed: ReturnType<typeof overload>, path = '/tasks'): HttpError | undefined => {
    try {
      void shed(at(path), next)
      return undefined
    } catch (error) {
      return error as HttpError
    }
  }
  const overloaded = async (shed: ReturnType<typeof overload>): Promise<HttpError> => {
    for (;;) {
      hold(40)
      await turn()
      const error = isRefused(shed)
      if (error !== undefined) return error
    }
  }

  it('refuses requests while the event loop answers too late, and says when to come back', async () => {
    const shed = overload(20, ['/tasks/health'], WINDOW)
    expect(isRefused(shed)).to.equal(undefined)
    const error = await overloaded(shed)
    expect(error).to.be.instanceOf(HttpError)
    expect(error.code).to.equal('overloaded')
    expect(error.retryAfter).to.be.within(1, 5)
    const waits = Array.from({ length: 50 }, () => isRefused(shed)?.retryAfter)
    expect(new Set(waits).size).to.be.above(1)
  })

  it('spares health checks', async () => {
    const shed = overload(20, ['/tasks/health'], WINDOW)
    await overloaded(shed)
    expect(isRefused(shed, '/tasks/health')).to.equal(undefined)
  })

  it('ends when the loop is free again', async () => {
    const shed = overload(20, [], WINDOW)
    await overloaded(shed)
    while (isRefused(shed)) await new Promise((resolve) => setTimeout(resolve, 10))
  })

  it('does not begin for single delays of a process that has time', async () => {
    const shed = overload(20, [], WINDOW)
    for (let n = 0; n < 5; n++) {
      hold(40)
      await new Promise((resolve) => setTimeout(resolve, WINDOW))
      expect(isRefused(shed)).to.equal(undefined)
    }
  })

  it('does not begin under work in small pieces, however much of it', async () => {
    const shed = overload(200, [], WINDOW)
    const end = performance.now() + 4 * WINDOW
    while (performance.now() < end) {
      hold(5)
      await turn()
      expect(isRefused(shed)).to.equal(undefined)
    }
  })

  it('is off at 0', async () => {
    const shed = overload(0, [], WINDOW)
    const end = performance.now() + 3 * WINDOW
    while (performance.now() < end) {
      hold(40)
      await turn()
      expect(isRefused(shed)).to.equal(undefined)
    }
  })
})
