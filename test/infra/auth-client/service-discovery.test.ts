import { lookup } from 'node:dns/promises'
import { expect } from 'chai'
import {
  RESOLVER_LIMITS,
  serviceDiscovery,
} from '../../../src/infra/auth-client/service-discovery.ts'
import { nameServer, type Zone } from '../../support/name-server.ts'

const NAME = 'auth.tasktrail.internal'
const nowhere = () =>
  Promise.reject(Object.assign(new Error('no such host'), { code: 'ENOTFOUND' }))

describe('Service discovery', () => {
  let dns: Awaited<ReturnType<typeof nameServer>>
  let time: number
  let warnings: object[]
  const log = {
    info: () => undefined,
    warn: (facts: object) => void warnings.push(facts),
    error: () => undefined,
  }
  const discover = (more: Partial<Parameters<typeof serviceDiscovery>[0]> = {}) =>
    serviceDiscovery({
      log,
      resolver: dns.resolver({ timeout: 2000, tries: 1 }),
      lookup: nowhere,
      now: () => time,
      ...more,
    })
  const records = (ttl: number, ...addresses: string[]): Zone => ({ addresses, ttl })
  const asked = async (work: () => Promise<unknown>) => {
    const before = dns.queries()
    await work()
    return dns.queries() - before
  }
  const failure = (promise: Promise<unknown>) =>
    promise.then(
      () => 'no error',
      (error) => error.code,
    )

  before(async () => {
    dns = await nameServer()
  })
  after(() => dns.close())
  beforeEach(() => {
    time = 0
    warnings = []
  })

  it('begins with another address at each call, whatever order the name server gives', async () => {
    const addresses = discover()
    const firsts = []
    for (const order of ['123', '231', '312', '321', '213', '132']) {
      dns.say(records(0, ...[...order].map((n) => `10.0.0.${n}`)))
      firsts.push((await addresses(NAME))[0])
    }
    const once = ['10.0.0.1', '10.0.0.2', '10.0.0.3']
    expect(firsts).to.deep.equal([...once, ...once])
    expect(await addresses(NAME)).to.deep.equal(once)
    expect(await addresses(NAME)).to.deep.equal(['10.0.0.2', '10.0.0.3', '10.0.0.1'])
  })

  for (const [ttl, age] of [
    [3, 3000],
    [10, 10_000],
    [60, 10_000],
  ] as const) {
    it(`keeps a record with a TTL of ${ttl} s for ${age / 1000} s`, async () => {
      const addresses = discover()
      dns.say(records(ttl, '10.0.0.1'))
      await addresses(NAME)
      dns.say(records(ttl, '10.0.0.2'))
      time = age - 1
      expect(await addresses(NAME)).to.deep.equal(['10.0.0.1'])
      time = age
      expect(await addresses(NAME)).to.deep.equal(['10.0.0.2'])
    })
  }

  it('asks at each call when the TTL is 0', async () => {
    const addresses = discover()
    dns.say(records(0, '10.0.0.1'))
    expect(await asked(() => addresses(NAME))).to.equal(1)
    expect(await asked(() => addresses(NAME))).to.equal(1)
  })

  it('shares one query among concurrent calls, and still rotates', async () => {
    const addresses = discover()
    dns.say(records(0, '10.0.0.1', '10.0.0.2'))
    let firsts: string[] = []
    const queries = await asked(async () => {
      const lists = await Promise.all(Array.from({ length: 100 }, () => addresses(NAME)))
      firsts = lists.map((list) => list[0])
    })
    expect(queries).to.equal(1)
    expect(firsts.filter((first) => first === '10.0.0.1')).to.have.length(50)
  })

  it('keeps the stale answer while the name server fails, asking again once a second', async () => {
    const addresses = discover()
    dns.say(records(1, '10.0.0.1'))
    await addresses(NAME)
    dns.say('server failure')
    time = 1000
    expect(await addresses(NAME)).to.deep.equal(['10.0.0.1'])
    expect(warnings).to.deep.equal([{ hostname: NAME, code: 'ESERVFAIL' }])
    time = 1999
    expect(await asked(() => addresses(NAME))).to.equal(0)
    dns.say(records(1, '10.0.0.2'))
    time = 2000
    expect(await addresses(NAME)).to.deep.equal(['10.0.0.2'])
  })

  it('keeps the stale answer, and soon has it, when the name server is silent', async () => {
    const resolver = dns.resolver(RESOLVER_LIMITS)
    const addresses = discover({ resolver })
    dns.say(records(0, '10.0.0.1'))
    await addresses(NAME)
    dns.say('silent')
    const began = performance.now()
    expect(await addresses(NAME)).to.deep.equal(['10.0.0.1'])
    expect(performance.now() - began).to.be.lessThan(900)
    expect(warnings).to.deep.equal([{ hostname: NAME, code: 'ETIMEOUT' }])
  })

  for (const [what, zone, code] of [
    ['no such name', 'no such name', 'ENOTFOUND'],
    ['a name with no address', records(1), 'ENODATA'],
  ] as const) {
    it(`has no address, not a stale one, when there is ${what}`, async () => {
      const addresses = discover()
      dns.say(records(1, '10.0.0.1'))
      await addresses(NAME)
      dns.say(zone)
      time = 1000
      expect(await failure(addresses(NAME))).to.equal(code)
      dns.say('server failure')
      expect(await failure(addresses(NAME))).to.equal('ESERVFAIL')
      dns.say(records(1, '10.0.0.1'))
      expect(await addresses(NAME)).to.deep.equal(['10.0.0.1'])
    })
  }

  it('takes a name that only the system knows from there, for ten seconds', async () => {
    let lookups = 0
    const addresses = discover({
      lookup: async () => {
        lookups += 1
        return [
          { address: '::1', family: 6 },
          { address: '127.0.0.9', family: 4 },
        ]
      },
    })
    dns.say('no such name')
    expect(await addresses('auth')).to.deep.equal(['127.0.0.9'])
    time = 9999
    await addresses('auth')
    expect(lookups).to.equal(1)
    time = 10_000
    await addresses('auth')
    expect(lookups).to.equal(2)
  })

  it('finds localhost without a query', async () => {
    const addresses = discover({ lookup })
    dns.say(records(1, '10.0.0.1'))
    const queries = await asked(async () => {
      expect((await addresses('localhost'))[0]).to.be.oneOf(['127.0.0.1', '::1'])
    })
    expect(queries).to.equal(0)
  })

  it('takes a name from the system where there is no name server', async () => {
    const resolver = dns.resolver()
    resolver.setServers(['127.0.0.1:1'])
    const addresses = discover({
      resolver,
      lookup: async () => [{ address: '10.0.0.9', family: 4 }],
    })
    expect(await addresses('auth')).to.deep.equal(['10.0.0.9'])
  })

  it('passes addresses through without a query', async () => {
    const addresses = discover()
    const queries = await asked(async () => {
      expect(await addresses('10.0.0.1')).to.deep.equal(['10.0.0.1'])
      expect(await addresses('[2001:db8::1]')).to.deep.equal(['2001:db8::1'])
    })
    expect(queries).to.equal(0)
  })
})
