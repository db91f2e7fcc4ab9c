import { randomUUID } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { expect } from 'chai'
import type { RedisConfig } from '../../../src/infra/counters/redis-connection.ts'
import { type CountersInRedis, openCounters } from '../../support/counters-in-redis.ts'
import {
  hasRedis,
  NO_REDIS,
  type TestCluster,
  type TestRedis,
  testCluster,
  testRedis,
} from '../../support/redis.ts'
import { skipped } from '../../support/skipped.ts'
import { type TcpProxy, tcpProxy } from '../../support/tcp-proxy.ts'

const PASSWORD = randomUUID()
const secret = randomUUID()

describe('Counters whose Redis', () => {
  let redis: TestRedis
  let wire: TcpProxy
  let opened: CountersInRedis[] = []

  before(async function () {
    if (!hasRedis) skipped(this, NO_REDIS)
    redis = await testRedis({ password: PASSWORD })
    wire = await tcpProxy({ host: '127.0.0.1', port: redis.port })
  })
  after(async () => {
    await wire?.close()
    await redis?.stop()
  })
  afterEach(async () => {
    redis?.thaw()
    wire?.restore()
    await Promise.all(opened.map(({ close }) => close()))
    opened = []
  })

  const open = (changes: Partial<RedisConfig> = {}) => {
    const counters = openCounters({ ...redis.config, ...changes }, { secret })
    opened.push(counters)
    return counters
  }
  /** Two processes. */
  const both = async (changes: Partial<RedisConfig> = {}) => {
    const processes = [open(changes), open(changes)] as const
    await Promise.all(processes.map(({ until }) => until('used')))
    return processes
  }
  const counterOf = ({ counters }: CountersInRedis, name: string = randomUUID()) =>
    counters(name, 60)
  const throughWire = () => ({ url: `redis://127.0.0.1:${wire.port}` })
  /** What so many counts say, one after the other. */
  const counts = async (counter: ReturnType<typeof counterOf>, number: number) => {
    const told: number[] = []
    for (let n = 0; n < number; n++) told.push((await counter.add('17')).count)
    return told
  }

  const OUTAGES = {
    dies: { begin: () => redis.kill(), end: () => redis.start() },
    freezes: { begin: async () => redis.freeze(), end: async () => redis.thaw() },
    'cannot be reached': { begin: async () => wire.cut(), end: async () => wire.restore() },
    'answers no more': { begin: async () => wire.hang(), end: async () => wire.restore() },
    'becomes slow': { begin: async () => wire.slow(200), end: async () => wire.restore() },
  }

  for (const [happens, { begin, end }] of Object.entries(OUTAGES)) {
    it(`${happens} go on in each process, from what it has counted, until Redis is back`, async () => {
      const processes = await both({ ...throughWire(), timeoutMs: 100 })
      const name = randomUUID()
      const [one, other] = processes.map((each) => counterOf(each, name)) as [
        ReturnType<typeof counterOf>,
        ReturnType<typeof counterOf>,
      ]
      expect(await counts(one, 3)).to.deep.equal([1, 2, 3])
      expect(await counts(other, 2)).to.deep.equal([4, 5])
      await begin()
      expect(await counts(one, 3)).to.deep.equal([4, 5, 6])
      expect(await counts(other, 3)).to.deep.equal([3, 4, 5])
      await end()
      await Promise.all(processes.map(({ until }) => until('used')))
      const [mine] = await counts(one, 1)
      const [next] = await counts(other, 1)
      expect(next).to.equal((mine ?? 0) + 1)
      for (const { told } of processes) expect(told()).to.deep.equal(['used', 'away', 'used'])
    })
  }

  it('is frozen wait for it once, all together, and then no more', async () => {
    const timeoutMs = 300
    const counters = open({ timeoutMs })
    await counters.until('used')
    const counter = counterOf(counters)
    redis.freeze()
    const began = performance.now()
    await Promise.all(Array.from({ length: 50 }, () => counter.add('17')))
    // One after the other.
    await counts(counter, 500)
    const waits = (performance.now() - began) / timeoutMs
    expect(waits).to.be.within(1, 10)
    expect(counters.told()).to.deep.equal(['used', 'away'])
  })

  it('was never there count in each process, and say so once', async () => {
    await redis.kill()
    const counters = open()
    await counters.until('away')
    expect(await counts(counterOf(counters), 3)).to.deep.equal([1, 2, 3])
    await redis.start()
    await counters.until('used')
    expect(counters.lines()[0]).to.match(/^Redis is away: .*ECONNREFUSED/)
    expect(counters.told()).to.deep.equal(['away', 'used'])
  })

  const REFUSALS: Readonly<Record<string, { changes: Partial<RedisConfig>; err: RegExp }>> = {
    'refuses their password': { changes: { password: 'wrong-password' }, err: /WRONGPASS/ },
    'wants a password': { changes: { password: undefined }, err: /NOAUTH/ },
    'has no such database': {
      changes: {
        get url() {
          return `${redis.config.url}/99`
        },
      },
      err: /DB index/,
    },
    'is no cluster': { changes: { mode: 'cluster' }, err: /cluster support disabled/ },
    'speaks no TLS': {
      changes: {
        get url() {
          return `rediss://127.0.0.1:${redis.port}`
        },
      },
      err: /./,
    },
  }
  for (const [does, { changes, err }] of Object.entries(REFUSALS)) {
    it(`${does} count in each process, and tell no secret`, async () => {
      const counters = open({ ...changes })
      await counters.until('away')
      expect(await counts(counterOf(counters), 3)).to.deep.equal([1, 2, 3])
      expect(counters.lines()[0]).to.match(err)
      for (const text of [PASSWORD, 'wrong-password', secret]) {
        expect(counters.lines().join()).not.to.contain(text)
      }
    })
  }

  it('takes no writes any more do not ask it', async () => {
    const counters = open()
    await counters.until('used')
    const counter = counterOf(counters)
    await redis.cli('config', 'set', 'maxmemory', '1')
    expect(await counts(counter, 3)).to.deep.equal([1, 2, 3])
    // One was refused to the counter, the others to probes.
    while (!/errorstat_OOM:count=([3-9]|\d\d)/.test(await redis.cli('info', 'errorstats')));
    expect(counters.told()).to.deep.equal(['used', 'away'])
    await redis.cli('config', 'set', 'maxmemory', '0')
    await counters.until('used')
  })

  it('forgets everything go on, and so do those whose counts it throws out', async () => {
    const counters = open()
    await counters.until('used')
    const counter = counterOf(counters)
    expect(await counts(counter, 2)).to.deep.equal([1, 2])
    await redis.cli('flushall')
    await redis.cli('script', 'flush')
    expect(await counts(counter, 2)).to.deep.equal([1, 2])
    expect(counters.told()).to.deep.equal(['used'])
  })

  it('is away end at once', async () => {
    const counters = open()
    await counters.until('used')
    const counter = counterOf(counters)
    redis.freeze()
    const waiting = counter.add('17')
    await counters.close()
    expect((await waiting).count).to.equal(1)
    await turn()
    expect(counters.told().filter((state) => state === 'used')).to.have.length(1)
  })
})

describe('Counters in a cluster of Redis', () => {
  let cluster: TestCluster
  let counters: CountersInRedis

  before(async function () {
    if (!hasRedis) skipped(this, NO_REDIS)
    cluster = await testCluster({ password: PASSWORD })
    counters = openCounters({ ...cluster.config, timeoutMs: 300 }, { secret })
    await counters.until('used')
  })
  after(async () => {
    await counters?.close()
    await cluster?.stop()
  })

  /** Until a probe has been written once more. */
  const probed = async () => {
    const key = 'tasktrail:limits:probe'
    const slot = Number(await (cluster.nodes[0] as TestRedis).cli('cluster', 'keyslot', key))
    const { cli } = cluster.nodes[Math.floor(slot / (16_384 / 3))] as TestRedis
    await cli('del', key)
    while ((await cli('exists', key)) !== '1');
  }
  /** On all nodes. */
  const keys = Array.from({ length: 30 }, () => randomUUID())

  it('go on in each process while one of its nodes is frozen, and come back', async () => {
    const counter = counters.counters(randomUUID(), 600)
    const addAll = async () => {
      const told: number[] = []
      for (const key of keys) told.push((await counter.add(key)).count)
      return told
    }
    expect(await addAll()).to.deep.equal(keys.map(() => 1))
    const node = cluster.nodes[2]
    node?.freeze()
    expect(await addAll()).to.deep.equal(keys.map(() => 2))
    await probed()
    expect(counters.told()).to.deep.equal(['used', 'away'])
    node?.thaw()
    await counters.until('used')
    expect(Math.min(...(await addAll()))).to.be.above(1)
  })

  it('say that it is a cluster to those who take it for a single one', async () => {
    const { cli } = cluster.nodes[0] as TestRedis
    const slot = Number(await cli('cluster', 'keyslot', 'tasktrail:limits:probe'))
    // The first node has the first third of the slots.
    const [, second, third] = cluster.nodes as [TestRedis, TestRedis, TestRedis]
    const { port } = slot < 8192 ? third : second
    const url = `redis://127.0.0.1:${port}`
    const single = openCounters({ ...cluster.config, url, mode: 'single' }, { secret })
    await single.until('away')
    await single.close()
    expect(single.lines()[0]).to.match(/MOVED/)
  })

  it('go on while one is dead, and come back with it', async () => {
    const counter = counters.counters(randomUUID(), 600)
    const [, , node] = cluster.nodes
    await node?.kill()
    for (const key of keys) expect((await counter.add(key)).count).to.equal(1)
    expect(counters.told().at(-1)).to.equal('away')
    await node?.start()
    await counters.until('used')
  })
})
