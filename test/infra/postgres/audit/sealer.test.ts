import { verify } from 'node:crypto'
import { expect } from 'chai'
import pg from 'pg'
import { verifyLog } from '../../../../src/infra/postgres/audit/audit-verification.ts'
import { secretSealSigner } from '../../../../src/infra/postgres/audit/seal-signer.ts'
import {
  ChainBroken,
  postgresSealer,
  SealsChanged,
  unsealedSeconds,
} from '../../../../src/infra/postgres/audit/sealer.ts'
import { singleConnection } from '../../../../src/infra/postgres/connection/database.ts'
import type { Query } from '../../../../src/infra/postgres/projections/projection.ts'
import { appendStatement } from '../../../support/appends.ts'
import { logKey, openLog, queryOf, type SealedLog, signer } from '../../../support/sealed-log.ts'

describe('Sealing', () => {
  let log: SealedLog
  beforeEach(async () => {
    log = await openLog()
  })
  afterEach(() => log.stop())

  const write = async (ids: readonly number[]) => {
    for (const id of ids) await log.write(id)
  }
  const seals = async () => {
    const { rows } = await log.root.query('select * from seals order by number')
    return rows
  }

  const another = (by = signer) => {
    const { seal } = postgresSealer(by, () => new Date())
    return { seal: () => seal(queryOf(log.root)) }
  }
  const tamper = (statement: string) =>
    log.root.query(`alter table seals disable trigger all; ${statement}`)
  const refused = async ({ seal } = log.sealer) => {
    const error = await seal().catch((error: unknown) => error)
    expect(error).to.be.instanceOf(SealsChanged)
    return (error as Error).message
  }

  it('seals nothing when nothing has happened', async () => {
    expect(await log.sealer.seal()).to.equal(null)
    await write([1])
    expect(await log.sealer.seal()).to.include({ number: 1, position: 1, events: 1 })
    expect(await log.sealer.seal()).to.equal(null)
  })

  it('tells how old the first event is that no seal covers', async () => {
    const age = () => unsealedSeconds(log.query)
    expect(await age()).to.equal(0)
    await write([1])
    const before = await age()
    await write([2])
    expect(before).to.be.greaterThan(0)
    expect(await age()).to.be.greaterThan(before)
    await log.sealer.seal()
    expect(await age()).to.equal(0)
  })

  it('says when the key is another one than that of the seal before', async () => {
    await write([1])
    expect(await log.sealer.seal()).to.include({ number: 1, rotated: false })
    const next = secretSealSigner('another key, of thirty-two characters at least')
    const other = another(next)
    for (const [id, rotated] of [
      [2, true],
      [3, false],
    ] as const) {
      await write([id])
      expect(await other.seal()).to.include({ number: id, rotated })
    }
  })

  it('covers each event once, chains the seals and signs them', async () => {
    await write([2, 1, 2])
    await log.sealer.seal()
    await write([1, 10])
    await log.sealer.seal()
    const [first, second, ...more] = await seals()
    expect(more).to.deep.equal([])
    expect([first.events, second.events]).to.deep.equal([3, 2])
    expect([first.position, second.position]).to.deep.equal([3, 5])
    expect(first.previous).to.equal(null)
    expect(second.previous).to.deep.equal(first.hash)
    for (const { hash, signature, key_id } of [first, second]) {
      expect(key_id).to.equal(signer.key_id)
      expect(verify(null, hash, signer.publicKey, signature)).to.equal(true)
    }
    expect(first.heads.map(([id, version]: [string, number]) => [id, version])).to.deep.equal([
      ['task-1', 1],
      ['task-2', 2],
    ])
    const report = await verifyLog(log.query, [logKey])
    expect(report).to.include({ events: 5, sealed: 5, streams: 3, seals: 2 })
  })

  it('makes the same key of the same secret, and another of another', () => {
    const [again, other] = ['one secret', 'another secret'].map(secretSealSigner)
    expect(again?.publicKey).to.equal(secretSealSigner('one secret').publicKey)
    expect(other?.key_id).not.to.equal(again?.key_id)
    expect(again?.key_id).to.match(/^[0-9a-f]{16}$/)
  })

  it('does not go past an event that is still being written', async () => {
    await write([1])
    const other = new pg.Client(log.database.config.connection)
    await other.connect()
    await other.query('begin')
    await other.query(appendStatement(9))
    await write([2])
    expect(await log.sealer.seal()).to.include({ number: 1, position: 1, events: 1 })
    await other.query('rollback')
    await other.end()
    expect(await log.sealer.seal()).to.include({ number: 2, events: 1 })
  })

  it('takes 10,000 events at most, and the rest next time', async () => {
    await log.root.query(appendStatement(1, 10_001))
    expect(await log.sealer.seal()).to.include({ number: 1, position: 10_000, events: 10_000 })
    expect(await log.sealer.seal()).to.include({ number: 2, position: 10_001, events: 1 })
  })

  it('tells the hash of each seal, and goes on after one that another has made', async () => {
    for (const [number, { seal }] of [log.sealer, another(), log.sealer, another()].entries()) {
      await write([number])
      const sealed = await seal()
      const hash = (await seals()).at(-1).hash.toString('hex')
      expect(sealed).to.deep.include({ number: number + 1, hash })
    }
  })

  it('refuses to seal behind the last seal that it knows, until that is there again', async () => {
    for (const id of [1, 2]) {
      await write([id])
      await log.sealer.seal()
    }
    await tamper(`create table aside as select * from seals; delete from seals where number = 2`)
    await write([3])
    expect(await refused()).to.match(/^seal 2 is missing or changed/)
    await tamper(`insert into seals select * from aside where number = 2`)
    expect(await log.sealer.seal()).to.include({ number: 3, events: 1 })
  })

  it('refuses to seal when its seals are taken away at any moment of a round', async () => {
    for (const moment of [1, 2, 3, 4]) {
      const { seal } = postgresSealer(signer, () => new Date())
      await write([moment])
      await seal(queryOf(log.root))
      await write([moment])
      let asked = 0
      const query: Query = async (statement, values) => {
        asked += 1
        if (asked === moment) await tamper('delete from seals')
        return queryOf(log.root)(statement, values)
      }
      await seal(query).catch((error: unknown) => expect(error).to.be.instanceOf(SealsChanged))
      expect(await seals(), `moment ${moment}`).to.deep.equal([])
      await refused({ seal: () => seal(queryOf(log.root)) })
    }
  })

  it('refuses to seal beside it, even after a seal of its own key', async () => {
    await write([1])
    await log.sealer.seal()
    await tamper('delete from seals')
    await write([2])
    expect(await another().seal()).to.include({ number: 1, events: 2 })
    await write([3])
    expect(await refused()).to.match(/^seal 1 is missing or changed/)
    expect(await seals()).to.have.lengthOf(1)
  })

  it('refuses to seal after a seal that claims its key and is not signed with it', async () => {
    await write([1, 2])
    await log.sealer.seal()
    await write([3])
    const column = {
      signature: 'sha512(signature)',
      hash: 'sha256(hash)',
      position: '1',
      events_digest: 'sha256(hash)',
      records_digest: 'sha256(hash)',
    }
    for (const [name, value] of Object.entries(column)) {
      const { rows } = await log.root.query(`select ${name} as before from seals`)
      await tamper(`update seals set ${name} = ${value}`)
      expect(await refused(another()), name).to.match(/^seal 1 is not signed by the key/)
      await log.root.query(`update seals set ${name} = $1`, [rows[0].before])
    }
    expect(await another().seal()).to.include({ number: 2 })
  })

  describe('a log that was changed', () => {
    const FORGERIES: Record<string, string> = {
      'what it says': `update events set actor_id = 7 where position = 3`,
      'its time': `update events set occurred_at = occurred_at + interval '1 us' where position = 3`,
      'its hash': `update events set hash = sha256(hash) where position = 3`,
      'the hash before it': `update events set prev_hash = sha256(hash) where position = 3`,
      'the event before it': `update events set hash = sha256(hash) where position = 1`,
      'its version': `update events set version = 5 where position = 3`,
      'its stream': `update events set stream_id = 'user-1', version = 1 where position = 3`,
    }
    for (const [what, forge] of Object.entries(FORGERIES)) {
      it(`is sealed up to where somebody changed ${what}, and no further`, async () => {
        await write([1])
        await log.sealer.seal()
        await write([2])
        await write([1, 3])
        await log.root.query(`alter table events disable trigger all; ${forge}`)
        expect(await log.sealer.seal()).to.include({ number: 2, position: 2, events: 1 })
        for (const { seal } of [log.sealer, another()]) {
          const error = await seal().catch((error: unknown) => error)
          expect(error).to.be.instanceOf(ChainBroken)
          expect((error as Error).message).to.match(/ \(position 3\) (is not chained|has a hash)/)
        }
        expect(await seals()).to.have.lengthOf(2)
      })
    }

    it('holds no hash of another length', async () => {
      await write([1])
      for (const column of ['events.hash', 'events.prev_hash', 'streams.head_hash']) {
        const [table, name] = column.split('.')
        const error = await log.root
          .query(`alter table ${table} disable trigger all; update ${table} set ${name} = '\\x00'`)
          .catch(({ message }) => message)
        expect(error, column).to.match(/violates check constraint/)
      }
    })
  })

  describe('accesses and security events', () => {
    const look = (by: pg.Client = log.root) =>
      by.query(`insert into audit_accesses (kind, user_id, role, request_id, query, accessed_at)
        values ('looked', 1, 'auditor', 'r', '{}', now())`)
    const happen = (by: pg.Client = log.root) =>
      by.query(`insert into security_events (type, details, occurred_at) values ('x', '{}', now())`)

    it('are sealed with the events, and without any', async () => {
      await look()
      expect(await log.sealer.seal()).to.include({ number: 1, position: 0, events: 0, records: 1 })
      await happen()
      await write([1])
      expect(await log.sealer.seal()).to.include({ number: 2, position: 1, events: 1, records: 1 })
      await look()
      await look()
      expect(await log.sealer.seal()).to.include({ number: 3, position: 1, events: 0, records: 2 })
      expect(await log.sealer.seal()).to.equal(null)
      await write([1])
      expect(await log.sealer.seal()).to.include({ number: 4, position: 2, events: 1, records: 0 })
      const { records, ...report } = await verifyLog(log.query, [logKey])
      expect(report).to.include({ events: 2, sealed: 2, seals: 4 })
      expect(records.audit_accesses).to.deep.equal({ sealed: 3, unsealed: 0, removed: 0 })
      expect(records.security_events).to.deep.equal({ sealed: 1, unsealed: 0, removed: 0 })
    })

    it('tell how long they wait for it', async () => {
      for (const add of [look, happen]) {
        await add()
        expect(await unsealedSeconds(log.query)).to.be.greaterThan(0)
        await log.sealer.seal()
        expect(await unsealedSeconds(log.query)).to.equal(0)
      }
    })

    it('are not gone past while one is still being written, and nobody waits for that', async () => {
      for (const [add, table] of [
        [look, 'audit_accesses'],
        [happen, 'security_events'],
      ] as const) {
        const other = new pg.Client(log.database.config.connection)
        await other.connect()
        await other.query('begin')
        await add(other)
        await add()
        const sealing = log.sealer.seal()
        await add()
        expect(await sealing).to.equal(null)
        await other.query('commit')
        await other.end()
        expect(await log.sealer.seal()).to.include({ records: 3 })
        const { records } = await verifyLog(log.query, [logKey])
        expect(records[table]).to.include({ sealed: 3, unsealed: 0 })
      }
    })

    it('are all sealed once, also while many write', async () => {
      const clients = [1, 2, 3, 4].map(() => new pg.Client(log.database.config.connection))
      await Promise.all(clients.map((client) => client.connect()))
      let writing = true
      const writers = clients.map(async (client) => {
        for (let n = 0; n < 100; n++) await (n % 2 === 0 ? look(client) : happen(client))
      })
      const sealed = (async () => {
        while (writing) await log.sealer.seal()
      })()
      await Promise.all(writers)
      writing = false
      await sealed
      while ((await log.sealer.seal()) !== null);
      await Promise.all(clients.map((client) => client.end()))
      const { records } = await verifyLog(log.query, [logKey])
      expect(records.audit_accesses).to.include({ sealed: 200, unsealed: 0 })
      expect(records.security_events).to.include({ sealed: 200, unsealed: 0 })
    })
  })

  it('is harmless when two seal at the same time', async () => {
    const clients = [1, 2, 3, 4].map(() =>
      singleConnection(log.database.config.connection, 'tasktrail_worker'),
    )
    await Promise.all(clients.map((client) => client.connect()))
    const sealers = clients.map((client) => {
      const { seal } = postgresSealer(signer, () => new Date())
      return { seal: () => seal(queryOf(client)) }
    })
    for (let round = 1; round <= 20; round++) {
      await write([round, round])
      await Promise.all(sealers.map(({ seal }) => seal()))
    }
    await Promise.all(clients.map((client) => client.end()))
    const report = await verifyLog(log.query, [logKey])
    expect(report).to.include({ events: 40, sealed: 40 })
    expect(report.seals).to.equal(20)
  })
})
