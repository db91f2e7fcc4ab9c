import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import fc from 'fast-check'
import type { Log } from '../../../../src/app/ports/process.ts'
import {
  type Database,
  type DatabaseConfig,
  openDatabase,
} from '../../../../src/infra/postgres/connection/database.ts'
import { followReplica, type Replica } from '../../../../src/infra/postgres/connection/replica.ts'
import { silent } from '../../../support/log.ts'
import { testDatabase } from '../../../support/postgres.ts'
import { until } from '../../../support/processes.ts'
import { skipped } from '../../../support/skipped.ts'
import {
  hasBaseBackup,
  type ReplicatedPostgres,
  replicatedPostgres,
} from '../../../support/streaming-replica.ts'
import { type TcpProxy, tcpProxy } from '../../../support/tcp-proxy.ts'

const ROLE = 'tasktrail_task'
const READ = {
  name: 'read',
  text: 'select pg_is_in_recovery() as replica, (select max(n) from written) as n',
}

describe('Reading from a replica', function () {
  this.timeout(120_000)
  let postgres: ReplicatedPostgres
  let wire: TcpProxy
  let db: Database
  let replica: Replica
  let reads: Database
  let lines: string[]
  let opened: Replica[]

  const note = (facts: object, message: string) =>
    void lines.push(`${message} ${JSON.stringify(facts)}`)
  const log: Log = { info: note, warn: note, error: note }
  // On a busy machine a replica may take longer than it would elsewhere.
  const follow = (
    connection: DatabaseConfig['connection'],
    { primary = db, patienceMs = 500 }: { primary?: Database; patienceMs?: number } = {},
  ) => {
    const options = { connection, poolMax: 4, role: ROLE, primary, log, patienceMs, askMs: 20 }
    const followed = followReplica(options)
    opened.push(followed)
    return followed
  }
  const isUsed = (followed = replica) => until(() => followed.state() === 'used', 'its use')
  const throughWire = () => {
    const url = new URL(postgres.replicaUrl)
    url.port = String(wire.port)
    return { connectionString: url.href }
  }
  const read = async (database = reads) => {
    const [row] = await database.query<{ replica: boolean; n: number }>(READ, [])
    return row ?? { replica: false, n: 0 }
  }
  const delay = (by: string) => postgres.setReplica('recovery_min_apply_delay', by)
  const write = async () => {
    const insert = 'insert into written default values returning n'
    return Number((await postgres.primary.query(insert)).rows[0].n)
  }

  before(async function () {
    if (!hasBaseBackup) skipped(this, 'no pg_basebackup of PostgreSQL 15 on this machine')
    postgres = await replicatedPostgres()
    await postgres.primary.query(`
      create table written (n bigint generated always as identity);
      grant select on written to ${ROLE};
      create table changing (n bigint);
      insert into changing values (0)`)
    wire = await tcpProxy({ host: '127.0.0.1', port: postgres.replicaPort })
    db = openDatabase({ ...postgres.database.config, role: ROLE, log: silent })
  })
  after(async () => {
    await db?.close()
    await wire?.close()
    await postgres?.stop()
  })
  beforeEach(async () => {
    lines = []
    opened = []
    replica = follow(throughWire())
    reads = replica.orElse(db, {})
    await isUsed()
  })
  afterEach(() => Promise.all(opened.map((followed) => followed.close())))

  it('sees what was committed before, whoever wrote it', async () => {
    for (let n = 0; n < 200; n++) {
      const written = await write()
      expect(await read()).to.deep.equal({ replica: true, n: written })
    }
    expect(lines).to.deep.equal(['the replica is used {}'])
  })

  it('misses nothing that was written or shown, whatever happens to the replica', async () => {
    const steps = {
      pause: postgres.pause,
      resume: postgres.resume,
      lag: () => delay('60ms'),
      hurry: () => delay('0'),
      cut: wire.cut,
      mend: wire.restore,
    }
    const impatient = follow(throughWire(), { patienceMs: 40 })
    const database = impatient.orElse(db, {})
    const heal = async () => {
      wire.restore()
      await delay('0')
      await postgres.resume()
      await isUsed(impatient)
    }
    const answered = { replica: 0, primary: 0 }
    const step = fc.record({
      name: fc.oneof(
        { weight: 3, arbitrary: fc.constant('write' as const) },
        { weight: 4, arbitrary: fc.constant('read' as const) },
        {
          weight: 2,
          arbitrary: fc.constantFrom(...(Object.keys(steps) as (keyof typeof steps)[])),
        },
      ),
      /** It begins while those before it are under way. */
      beside: fc.boolean(),
    })
    const property = fc.asyncProperty(
      fc.array(step, { minLength: 4, maxLength: 16 }),
      async (sequence) => {
        let known = 0
        const take = async (name: (typeof sequence)[number]['name']) => {
          const atLeast = known
          if (name === 'write') known = Math.max(known, await write())
          else if (name !== 'read') await steps[name]()
          else {
            const { n, replica } = await read(database)
            expect(n).to.be.at.least(atLeast)
            known = Math.max(known, n)
            answered[replica ? 'replica' : 'primary']++
          }
        }
        const underWay: Promise<void>[] = []
        for (const { name, beside } of sequence) {
          if (!beside) await Promise.all(underWay.splice(0))
          underWay.push(take(name))
        }
        await Promise.all(underWay)
      },
    )
    await write()
    await fc.assert(property.beforeEach(heal), { numRuns: 100 })
    await heal()
    await until(async () => (await read(database)).replica, 'an answer of the replica')
    expect(answered.replica, 'by the replica').to.be.greaterThan(50)
    expect(answered.primary, 'by the primary').to.be.greaterThan(50)
  })

  it('goes on while the replica is killed, hangs, and comes back', async () => {
    let over = false
    const reading = Array.from({ length: 4 }, async () => {
      while (!over) {
        const written = await write()
        expect((await read()).n).to.be.at.least(written)
      }
    })
    const isAway = () => until(() => replica.state() === 'away', 'its absence')
    const happening = async () => {
      await postgres.kill()
      await isAway()
      await postgres.start()
      await isUsed()
      wire.hang()
      await isAway()
      wire.restore()
      await isUsed()
    }
    await Promise.all([happening().finally(() => (over = true)), ...reading])
    expect(await read()).to.include({ replica: true })
  })

  it('says once why the replica is not used, and asks the primary', async () => {
    const url = new URL(postgres.replicaUrl)
    const wrong = async (change: Partial<URL>, primary = db) => {
      lines = []
      const connectionString = Object.assign(new URL(url), change).href
      const followed = follow({ connectionString }, { primary })
      await until(() => lines.length > 0, 'a line')
      expect(await read(followed.orElse(db, {}))).to.include({ replica: false })
      expect(followed.state()).to.equal('away')
      const [line, ...others] = lines
      expect(others).to.deep.equal([])
      expect(line).not.to.contain(url.password)
      return line
    }
    const says = (err: string) => `the replica is not used ${JSON.stringify({ err })}`
    const { port } = new URL(postgres.database.url)
    expect(await wrong({ port })).to.equal(says('it is no replica, but a primary'))
    expect(await wrong({ password: 'another' })).to.equal(
      says('password authentication failed for user "tasktrail"'),
    )
    expect(await wrong({ pathname: '/postgres' })).to.equal(
      says('relation "replica_marks" does not exist'),
    )
    expect(await wrong({ port: '1' })).to.equal(says('connect ECONNREFUSED 127.0.0.1:1'))
    const other = await testDatabase()
    const elsewhere = openDatabase({ ...other.config, role: ROLE, log: silent })
    expect(await wrong({}, elsewhere), 'the replica of another primary').to.equal(
      says('it is more than 500 ms behind the primary'),
    )
    await Promise.all(opened.splice(0).map((followed) => followed.close()))
    await elsewhere.close()
    await other.drop()
  })

  it('asks the primary what the replica refuses, and goes on with the replica', async () => {
    const statement = (text: string) => ({ name: '', text })
    const slow = statement(`
      select pg_is_in_recovery() as replica, (select count(*) from written), pg_sleep(0.5)`)
    await postgres.setReplica('max_standby_streaming_delay', '0')
    const asked = reads.query<{ replica: boolean }>(slow, [])
    await sleep(100)
    await postgres.primary.query('delete from written where n < (select max(n) from written)')
    await postgres.primary.query('vacuum written')
    expect((await asked)[0], 'in the way of what is replayed').to.include({ replica: false })

    const failure = await reads.query(statement('select 1 / 0'), []).catch((error) => error)
    expect(failure).to.have.property('code', '22012')
    expect(replica.state()).to.equal('used')
    expect(await read()).to.include({ replica: true })
  })

  it('asks the primary while all connections to the replica are in use', async () => {
    const narrow = replica.orElse(db, { poolMax: 1 })
    const sleeping = narrow.query({ name: '', text: 'select pg_sleep(1)' }, [])
    expect(await read(narrow)).to.include({ replica: false })
    expect(replica.state()).to.equal('used')
    await sleeping
    expect(await read(narrow)).to.include({ replica: true })
  })

  it('answers others while one statement takes long', async () => {
    await postgres.setReplica('hot_standby_feedback', 'on')
    // The primary learns of it with the next report of the replica.
    await postgres.setReplica('wal_receiver_status_interval', '1')
    const feedback = 'select from pg_stat_replication where backend_xmin is not null'
    await until(async () => (await postgres.primary.query(feedback)).rowCount === 1, 'its report')
    const slow = { name: '', text: 'select (select count(*) from written), pg_sleep(1)' }
    let over = false
    const sleeping = reads.query(slow, []).finally(() => {
      over = true
    })
    let byReplica = 0
    while (!over) {
      await postgres.primary.query('update changing set n = n + 1')
      // What is replayed removes what the long statement might still need.
      await postgres.primary.query('vacuum changing')
      if ((await read()).replica) byReplica++
    }
    await sleeping
    expect(byReplica).to.be.greaterThan(20)
    expect(lines).to.deep.equal(['the replica is used {}'])
  })

  it('removes its old marks, and those of processes that are gone', async () => {
    const { primary } = postgres
    await primary.query(`update replica_marks set marked_at = now() - interval '2 days'`)
    const followed = follow({ connectionString: postgres.replicaUrl })
    await isUsed(followed)
    const own = followed.orElse(db, {})
    for (let n = 0; n < 1_200; n++) await read(own)
    const left = `
      select count(*) filter (where marked_at < now() - interval '1 day')::int as old,
        (select max(count) from (select count(*) from replica_marks group by process) own)::int as most
      from replica_marks`
    await until(async () => {
      const [{ old, most }] = (await primary.query(left)).rows
      return old === 0 && most < 1_000
    }, 'fewer marks')
  })

  // The last: there is no replica any more.
  it('asks the primary once the replica is promoted', async () => {
    await postgres.promote()
    const written = await write()
    expect(await read()).to.deep.equal({ replica: false, n: written })
    expect(lines.at(-1)).to.contain('it is no replica, but a primary')
  })
})
