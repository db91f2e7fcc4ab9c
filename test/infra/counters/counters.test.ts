import { randomUUID } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import { expect } from 'chai'
import type { ClosableCounters } from '../../../src/app/ports/counters.ts'
import { memoryCounters } from '../../../src/infra/counters/memory-counters.ts'
import type { RedisConfig } from '../../../src/infra/counters/redis-connection.ts'
import { makeServerCertificate, type ServerCertificate } from '../../support/certificates.ts'
import { countersContract } from '../../support/counters-contract.ts'
import { countersIn } from '../../support/counters-in-redis.ts'
import {
  hasRedis,
  NO_REDIS,
  type RedisOptions,
  type TestRedis,
  testCluster,
  testRedis,
} from '../../support/redis.ts'
import { skipped } from '../../support/skipped.ts'

describe('Counters in memory', () => {
  countersContract(async () => memoryCounters())
})

type Server = {
  readonly config: RedisConfig
  readonly nodes: readonly TestRedis[]
  readonly stop: () => Promise<void>
}
const PASSWORD = randomUUID()
const single = async (options: RedisOptions): Promise<Server> => {
  const redis = await testRedis(options)
  return { ...redis, nodes: [redis] }
}

const SERVERS: Readonly<Record<string, (certificate: ServerCertificate) => Promise<Server>>> = {
  'Redis, in the clear': () => single({}),
  'Redis, encrypted and with a password': (certificate) =>
    single({ certificate, password: PASSWORD }),
  'a cluster of Redis, with a password': () => testCluster({ password: PASSWORD }),
  'a cluster of Redis, encrypted': (certificate) => testCluster({ certificate }),
}

for (const [name, begin] of Object.entries(SERVERS)) {
  describe(`Counters in ${name}`, () => {
    const usual = tls.getCACertificates()
    const secret = randomUUID()
    const opened: ClosableCounters[] = []
    let server: Server
    let directory = ''

    const open = async () => {
      const shared = await countersIn(server.config, { secret })
      opened.push(shared)
      return shared.counters
    }
    before(async function () {
      if (!hasRedis) skipped(this, NO_REDIS)
      directory = await mkdtemp(join(tmpdir(), 'tasktrail-certificates-'))
      const certificate = await makeServerCertificate(directory)
      tls.setDefaultCACertificates([...usual, await readFile(certificate.authority, 'utf8')])
      server = await begin(certificate)
    })
    after(async () => {
      await Promise.all(opened.map(({ close }) => close()))
      tls.setDefaultCACertificates(usual)
      await server?.stop()
      await rm(directory, { recursive: true, force: true })
    })

    countersContract(open)

    it('are the same for all processes', async () => {
      const processes = await Promise.all([open(), open(), open()])
      const ofOne = processes.map((counters) => counters('shared', 60))
      const keys = Array.from({ length: 20 }, () => randomUUID())
      for (const key of keys) {
        const counts = await Promise.all(ofOne.map((counter) => counter.add(key)))
        expect(counts.map(({ count }) => count).toSorted()).to.deep.equal([1, 2, 3])
      }
    })

    it('leave keys that say nothing of users and addresses, and go by themselves', async () => {
      const counters = await open()
      for (const key of ['471147', '198.51.100.7']) await counters('told', 60).add(key)
      let found = 0
      for (const { cli } of server.nodes) {
        for (const key of (await cli('--scan')).split('\n').filter((line) => line !== '')) {
          expect(key).to.match(/^tasktrail:limits:(probe|[\w-]+:[\w-]{43})$/)
          expect(Number(await cli('pttl', key))).to.not.equal(-1)
          if (key.includes(':told:')) found += 1
        }
      }
      expect(found).to.equal(2)
    })
  })
}
