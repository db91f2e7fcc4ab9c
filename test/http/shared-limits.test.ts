import { expect } from 'chai'
import { hasRedis, NO_REDIS, PATIENT_MS, type TestRedis, testRedis } from '../support/redis.ts'
import { skipped } from '../support/skipped.ts'
import { type Answer, type System, startSystem } from '../support/system.ts'

const POINTS = 30
const OVER = 10
const USED = 'Redis answers'

describe('Limits over all instances', () => {
  let redis: TestRedis
  let systems: readonly [System, System]

  const begin = async (env: Record<string, string>) => {
    const settings = { REDIS_URL: redis.config.url, REDIS_TIMEOUT_MS: `${PATIENT_MS}`, ...env }
    const one = await startSystem(settings)
    const two = await startSystem(settings, undefined, one.database)
    systems = [one, two]
    for (const { logged, call } of systems) {
      // Both services of it.
      while (logged().split(USED).length < 3) await call('GET', '/health')
    }
  }
  before(async function () {
    if (!hasRedis) skipped(this, NO_REDIS)
    redis = await testRedis()
  })
  afterEach(async () => {
    redis?.thaw()
    const [one, two] = systems ?? []
    await two?.stop()
    await one?.stop()
  })
  after(() => redis?.stop())

  const passed = (answers: readonly Answer[]) =>
    answers.filter(({ body }) => body.code !== 'too_many_requests').length
  /** As many calls at once, from both instances in turn. */
  const together = (calls: number, call: (system: System, n: number) => Promise<Answer>) =>
    Promise.all(Array.from({ length: calls }, (_, n) => call(systems[n % 2 === 0 ? 0 : 1], n)))
  /** The answers to `calls` calls that all came within one window of a second, of which they are the first. */
  const inOneWindow = async (
    policy: string,
    calls: number,
    call: (system: System, n: number) => Promise<Answer>,
  ): Promise<readonly Answer[]> => {
    const [points] = /(?<=q=)\d+/.exec(policy) ?? []
    const first = `r=${Number(points) - 1};t=1`
    for (;;) {
      const began = performance.now()
      const start = await call(systems[0], 0)
      if (!start.headers.get('ratelimit')?.endsWith(first)) continue
      const answers = [start, ...(await together(calls - 1, call))]
      if (performance.now() - began < 950) return answers
    }
  }

  it('refuse ten requests too many on two instances as on one', async () => {
    await begin({ RATE_LIMIT_PER_SECOND: String(POINTS) })
    const { token } = await systems[0].newUser()
    const policy = `"default";q=${POINTS};w=1`
    const answers = await inOneWindow(policy, POINTS + OVER, (system) =>
      system.call('GET', '/tasks', { token }),
    )
    expect(passed(answers)).to.equal(POINTS)
    expect(new Set(answers.map(({ headers }) => headers.get('ratelimit-policy')))).to.deep.equal(
      new Set([policy]),
    )
    const left = answers.map(({ headers }) =>
      Number(/r=(\d+)/.exec(headers.get('ratelimit') ?? '')?.[1]),
    )
    const expected = [...Array(OVER).fill(0), ...Array.from({ length: POINTS }, (_, n) => n)]
    expect(left.toSorted((a, b) => a - b)).to.deep.equal(expected)
  })

  it('count a user’s requests to both services together', async () => {
    await begin({ RATE_LIMIT_PER_SECOND: String(POINTS) })
    const { token } = await systems[0].newUser()
    const answers = await inOneWindow(`"default";q=${POINTS};w=1`, POINTS + OVER, (system, n) =>
      system.call('GET', n % 3 === 0 ? '/auth/me' : '/tasks', { token }),
    )
    expect(passed(answers)).to.equal(POINTS)
  })

  it('hold for logins from one address', async () => {
    await begin({ LOGIN_LIMIT_PER_MINUTE: String(POINTS) })
    const headers = { 'x-forwarded-for': '198.51.100.70' }
    const body = { username: 'nobody', password: 'nobody knows it' }
    const login = (system: System) => system.call('POST', '/auth/login', { headers, body })
    expect(passed(await together(POINTS + OVER, login))).to.equal(POINTS)
  })

  it('hold in each process while Redis is frozen, dead or beginning anew', async () => {
    await begin({ LOGIN_LIMIT_PER_MINUTE: String(POINTS), REDIS_TIMEOUT_MS: '100' })
    const body = { username: 'nobody', password: 'nobody knows it' }
    const logins = async (address: string) => {
      const headers = { 'x-forwarded-for': address }
      const login = (system: System) => system.call('POST', '/auth/login', { headers, body })
      return passed(await together(2 * (POINTS + OVER), login))
    }
    redis.freeze()
    expect(await logins('198.51.100.71')).to.equal(2 * POINTS)
    redis.thaw()
    await redis.kill()
    expect(await logins('198.51.100.72')).to.equal(2 * POINTS)
    await redis.start()
    // Both services of each: whoever is back has said so once more often than that it is away.
    const said = (system: System, what: string) => system.logged().split(what).length
    for (const system of systems) {
      while (said(system, USED) < said(system, 'Redis is away') + 2) {
        await system.call('GET', '/health')
      }
    }
    expect(await logins('198.51.100.73')).to.equal(POINTS)
  })
})
