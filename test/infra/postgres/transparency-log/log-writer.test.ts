import { setTimeout } from 'node:timers/promises'
import { expect } from 'chai'
import pg from 'pg'
import { secretLogSigner } from '../../../../src/infra/credentials/note-signers.ts'
import { singleConnection } from '../../../../src/infra/postgres/connection/database.ts'
import type { Query } from '../../../../src/infra/postgres/projections/projection.ts'
import {
  ChainBroken,
  CheckpointRefused,
  LogChanged,
} from '../../../../src/infra/postgres/transparency-log/checkpoint-refused.ts'
import { logWriter } from '../../../../src/infra/postgres/transparency-log/log-writer.ts'
import { readTiles } from '../../../../src/infra/postgres/transparency-log/tiles.ts'
import { unloggedSeconds } from '../../../../src/infra/postgres/transparency-log/unlogged.ts'
import { parseCheckpoint } from '../../../../src/transparency-log/checkpoint.ts'
import { readNote, verifiedBy } from '../../../../src/transparency-log/signed-note.ts'
import { tileProofs } from '../../../../src/transparency-log/tile-proofs.ts'
import {
  EMPTY_ROOT,
  growingTree,
  isConsistent,
  leafHash,
} from '../../../../src/transparency-log/tree.ts'
import { eventEntry, recordsEntry } from '../../../../src/verifier/entries.ts'
import { appendStatement } from '../../../support/appends.ts'
import { type OpenLog, ORIGIN, openLog, sessionOf, signer } from '../../../support/open-log.ts'

const TAKE = `
  with gone as (delete from log_checkpoint returning *) insert into aside select * from gone`

describe('The writer of the log', () => {
  let log: OpenLog
  beforeEach(async () => {
    log = await openLog()
  })
  afterEach(() => log.stop())

  const write = async (ids: readonly number[]) => {
    for (const id of ids) await log.write(id)
  }
  const stored = async () => {
    const { rows } = await log.root.query('select * from log_checkpoint')
    return rows[0]
  }
  const another = (by = signer, origin = ORIGIN) => {
    const writer = logWriter({ origin, signers: [by], witnessed: false })
    return { write: () => writer.write(sessionOf(log.root)) }
  }
  const own = { write: () => log.writer.write(log.session) }
  const TRIGGERS = ['log_checkpoint', 'log_tiles', 'log_bundles', 'log_records']
    .map((table) => `alter table ${table} disable trigger all;`)
    .join(' ')
  const tamper = (statement: string) => log.root.query(`${TRIGGERS} ${statement}`)
  const refused = async (
    writer = own,
    kind: new (...given: never[]) => CheckpointRefused = LogChanged,
  ) => {
    const error = await writer.write().catch((error: unknown) => error)
    expect(error).to.be.instanceOf(kind)
    return (error as Error).message
  }

  /** The tree of all leaves, computed from the events and records themselves. */
  const recomputed = async () => {
    const { rows: events } = await log.root.query(
      `select position, stream_id, version, encode(hash, 'hex') as hash from events order by position`,
    )
    const { rows: records } = await log.root.query(
      `select leaf, access_id as audit_accesses, security_event_id as security_events,
        encode(digest, 'hex') as digest from log_records order by leaf`,
    )
    const { size } = await stored()
    const tree = growingTree()
    for (let leaf = 0; leaf < size; leaf++) {
      const entry =
        records[0]?.leaf === leaf ? recordsEntry(records.shift()) : eventEntry(events.shift())
      tree.addLeaf(leafHash(entry))
    }
    return { tree, left: events.length }
  }
  const expectWhole = async () => {
    const { size, root, note, published_note, published_size } = await stored()
    const { tree } = await recomputed()
    expect(root).to.eql(tree.root())
    const read = readNote(note)
    expect(parseCheckpoint(read?.text ?? '')).to.eql({ origin: ORIGIN, size, root })
    expect(verifiedBy(note, [signer.key])).to.eql([signer.key])
    expect([published_size, published_note]).to.eql([size, note])
    expect(await tileProofs(readTiles(log.query)).root(size)).to.eql(root)
  }

  it('signs the empty tree first, and nothing more as long as nothing happens', async () => {
    expect(await own.write()).to.include({
      size: 0,
      events: 0,
      root: EMPTY_ROOT.toString('base64'),
    })
    expect(await own.write()).to.equal(null)
    await expectWhole()
    await write([1])
    expect(await own.write()).to.include({ size: 1, position: 1, events: 1 })
    expect(await own.write()).to.equal(null)
    await expectWhole()
  })

  it('adds each event once, in the order of positions, and tells where it is', async () => {
    await log.log()
    await write([2, 1, 2])
    await log.root.query(`select nextval('events_position_seq')`)
    await own.write()
    await write([1, 10])
    await own.write()
    await expectWhole()
    const { rows } = await log.root.query('select * from log_bundles')
    expect(rows).to.eql(
      [
        {
          n: '0',
          first_position: '1',
          places: [
            [1, 'task-2', 1],
            [2, 'task-1', 1],
            [3, 'task-2', 2],
            [5, 'task-1', 2],
            [6, 'task-10', 1],
          ],
        },
      ].map((row) => ({ ...row, n: 0, first_position: 1 })),
    )
  })

  it('writes full tiles, and goes on in them and behind them', async () => {
    await log.log()
    let count = 0
    for (const more of [255, 1, 1, 600]) {
      await log.root.query(appendStatement(count + 1, more))
      count += more
      await log.log()
      expect((await stored()).size).to.equal(count)
      await expectWhole()
    }
    const { rows } = await log.root.query(
      'select level, count(*)::int as tiles, sum(length(hashes) / 32)::int as hashes from log_tiles group by level order by level',
    )
    expect(rows).to.eql([
      { level: 0, tiles: 4, hashes: 857 },
      { level: 1, tiles: 1, hashes: 3 },
    ])
  }).timeout(20_000)

  it('does not go past an event that is still being written', async () => {
    await log.log()
    await write([1])
    const other = new pg.Client(log.database.config.connection)
    await other.connect()
    await other.query('begin')
    await other.query(appendStatement(9))
    await write([2])
    expect(await own.write()).to.include({ size: 1, position: 1 })
    expect(await own.write()).to.equal(null)
    await other.query('rollback')
    await other.end()
    expect(await own.write()).to.include({ size: 2, events: 1 })
  })

  it('takes 10,000 events at most, and the rest next time', async () => {
    await log.log()
    await log.root.query(appendStatement(1, 10_001))
    expect(await own.write()).to.include({ size: 10_000, position: 10_000, events: 10_000 })
    expect(await own.write()).to.include({ size: 10_001, position: 10_001, events: 1 })
  }).timeout(20_000)

  it('looks only at the end of the events to see that there are no new ones', async () => {
    await log.root.query(appendStatement(1, 2_000))
    await log.log()
    await log.root.query('vacuum analyze events')
    const { query, transaction } = log.session
    const read = async () => {
      const text = `select seq_tup_read + idx_tup_fetch as rows from pg_stat_xact_user_tables where relname = 'events'`
      return (await query({ name: '', text }, []))[0]?.rows
    }
    await transaction(async () => {
      const before = await read()
      expect(await own.write()).to.equal(null)
      expect((await read()) - before).to.be.at.most(1)
    })
  }).timeout(20_000)

  it('goes on after another, and after a restart', async () => {
    for (const [number, { write: add }] of [own, another(), own, another()].entries()) {
      await log.write(number + 1)
      for (let logged = await add(); logged !== null; logged = await add());
      await expectWhole()
    }
  })

  it('tells how old the first event is that no published checkpoint covers', async () => {
    await log.log()
    const age = () => unloggedSeconds(log.query)
    expect(await age()).to.equal(0)
    await write([1])
    const before = await age()
    await write([2])
    expect(before).to.be.greaterThan(0)
    expect(await age()).to.be.greaterThan(before)
    await own.write()
    expect(await age()).to.equal(0)
  })

  it('signs with two keys while one replaces the other', async () => {
    await write([1])
    await log.log()
    const next = secretLogSigner(ORIGIN, 'another key, of thirty-two characters at least')
    const both = logWriter({ origin: ORIGIN, signers: [next, signer], witnessed: false })
    await write([1])
    await both.write(sessionOf(log.root))
    const { note, verifier_keys } = await stored()
    expect(verifiedBy(note, [signer.key, next.key])).to.have.lengthOf(2)
    expect(verifier_keys).to.equal(`${next.key.text}\n${signer.key.text}\n`)
    await write([1])
    expect(await another(next).write()).to.include({ size: 3 })
    expect(await refused(another())).to.match(/not signed by our key/)
  })

  it('does not sign with a previous key that has signed nothing', async () => {
    const unknown = secretLogSigner(ORIGIN, 'a value that nobody knows, as long as a key')
    const writer = logWriter({ origin: ORIGIN, signers: [signer, unknown], witnessed: false })
    for (const size of [0, 1]) {
      if (size > 0) await write([1])
      expect(await writer.write(sessionOf(log.root))).to.include({ size })
      const { note, verifier_keys } = await stored()
      expect(readNote(note)?.signatures).to.have.lengthOf(1)
      expect(verifier_keys).to.equal(`${signer.key.text}\n`)
    }
  })

  it('does not publish what witnesses still have to sign', async () => {
    const writer = logWriter({ origin: ORIGIN, signers: [signer], witnessed: true })
    const session = sessionOf(log.root)
    expect(await writer.last(session)).to.equal(null)
    await writer.write(session)
    await write([1, 1])
    await writer.write(session)
    const last = await writer.last(session)
    if (last === null) throw new Error('nothing was written')
    expect(await stored()).to.include({ size: 2, published_note: null, published_size: 0 })
    await writer.publish(session, { ...last, note: `${last.note}witness\n` })
    expect(await stored()).to.include({
      published_size: 2,
      published_position: 2,
      published_note: `${last.note}witness\n`,
    })
    await write([1])
    await writer.write(session)
    await writer.publish(session, { ...last, size: 1 })
    expect(await stored()).to.include({ size: 3, published_size: 2 })
  })

  describe('refuses', () => {
    beforeEach(async () => {
      await write([1, 2])
      await log.log()
    })

    const CHANGES: Readonly<
      Record<string, { readonly by: string; readonly says: RegExp; readonly unknown?: true }>
    > = {
      'a missing checkpoint': { by: 'delete from log_checkpoint', says: /missing/, unknown: true },
      'a smaller one': {
        by: `update log_checkpoint set size = 1`,
        says: /it has 1 leaves, but had 2/,
      },
      'a larger one': {
        by: `update log_checkpoint set size = 3`,
        says: /does not extend|has no hash/,
      },
      'another root': {
        by: `update log_checkpoint set root = sha256(root)`,
        says: /does not extend/,
      },
      'a log that was begun anew': {
        by: `update log_checkpoint set size = 0, root = sha256(''), position = 0, note = null;
          delete from log_tiles; delete from log_bundles`,
        says: /it has 0 leaves, but had 2/,
      },
      'a note that another key signed': {
        by: `update log_checkpoint set note = replace(note, E'\\n\\u2014', E'\\n\\u2014 x')`,
        says: /damaged|not signed/,
        unknown: true,
      },
      'a note of another tree': {
        by: `update log_checkpoint set note = replace(note, E'\\n2\\n', E'\\n1\\n')`,
        says: /its note is not of 2 leaves/,
        unknown: true,
      },
      'no note': { by: 'update log_checkpoint set note = null', says: /damaged/, unknown: true },
      'a tile with one bit changed': {
        by: 'update log_tiles set hashes = set_bit(hashes, 300, 1 - get_bit(hashes, 300))',
        says: /tiles are not those|is not the hash/,
        unknown: true,
      },
      'a shorter tile': {
        by: 'update log_tiles set hashes = substr(hashes, 33)',
        says: /does not have 2 hashes|has no hash/,
        unknown: true,
      },
      'a missing tile': {
        by: 'delete from log_tiles',
        says: /does not have 2 hashes|has no hash/,
        unknown: true,
      },
      'a last event that is another, hash and all': {
        by: `alter table events disable trigger all;
          update events set hash = sha256(hash) where position = 2`,
        says: /leaf 1 is not the hash/,
        unknown: true,
      },
      'a shorter bundle': {
        by: 'update log_bundles set places = places - 1',
        says: /its leaves do not end/,
        unknown: true,
      },
    }
    for (const [what, { by, says, unknown = false }] of Object.entries(CHANGES)) {
      it(`${what}${unknown ? ', even after a restart' : ''}`, async () => {
        await tamper(by)
        await write([3])
        const before = await stored()
        expect(await refused()).to.match(says)
        if (unknown) expect(await refused(another())).to.match(says)
        expect(await stored()).to.eql(before)
      })
    }

    it('to go on beside what another has signed, even with its own key', async () => {
      await tamper(`update log_checkpoint set size = 0, root = sha256(''), position = 0, note = null,
          published_size = 0, published_position = 0;
        delete from log_tiles; delete from log_bundles;
        alter table events disable trigger all; delete from events where position = 2`)
      const fork = another()
      await fork.write()
      await write([5, 6, 7])
      await fork.write()
      expect(await refused()).to.match(/does not extend 2 leaves/)
    })

    it('to go on, until what was changed is as it was', async () => {
      await tamper('create table aside as select * from log_checkpoint; delete from log_checkpoint')
      await write([3])
      expect(await refused()).to.match(/missing/)
      await tamper('insert into log_checkpoint select * from aside')
      expect(await own.write()).to.include({ size: 3 })
    })

    for (const by of [
      'update log_checkpoint set position = 1',
      'update log_checkpoint set access_id = 1',
      'update log_checkpoint set security_event_id = security_event_id + 1',
      `update log_checkpoint set position = 1; update log_bundles set places = places - 1`,
      `update log_checkpoint set position = 1; update log_bundles set places = places || '[[1, "task-1", 1]]'`,
      `update log_bundles set places = jsonb_set(places, '{1,1}', '"task-7"')`,
      `insert into log_records values (1, 5, 0, '', '\\x00'); update log_checkpoint set access_id = 5`,
    ]) {
      it(`leaves that do not end as the checkpoint says: ${by}`, async () => {
        await tamper(by)
        await write([3])
        expect(await refused()).to.match(
          /^its leaves do not end|^leaf \d is not the hash|^bundle 0 was changed|has no hash/,
        )
        expect(await refused(another())).to.match(
          /^its leaves do not end|^leaf \d is not the hash|^bundle 0 was changed|has no hash/,
        )
      })
    }

    it('a checkpoint that is taken away at any moment of a round', async () => {
      let moment = 1
      for (let isWhole = false; !isWhole; moment++) {
        const writer = logWriter({ origin: ORIGIN, signers: [signer], witnessed: false })
        await writer.last(sessionOf(log.root))
        await write([moment])
        await tamper(
          'drop table if exists aside; create table aside as select * from log_checkpoint where false',
        )
        await tamper('')
        const thief = new pg.Client(log.database.config.connection)
        await thief.connect()
        let asked = 0
        let taking: Promise<unknown> | undefined
        const steal = () => thief.query(TAKE).catch((error: unknown) => error)
        const { query, transaction } = sessionOf(log.root)
        const watched: Query = async (statement, values) => {
          asked += 1
          if (asked === moment) {
            taking = steal()
            // While the row is locked, the thief waits for the end of the transaction.
            await Promise.race([taking, setTimeout(100)])
          }
          return query(statement, values)
        }
        await writer
          .write({ query: watched, transaction })
          .catch((error: unknown) => expect(error).to.be.instanceOf(CheckpointRefused))
        isWhole = asked < moment
        await taking
        await thief.end()
        const { rows } = await log.root.query('select size from log_checkpoint')
        if (!isWhole) {
          expect(rows).to.eql([])
          const error = await writer.write(sessionOf(log.root)).catch((error: unknown) => error)
          expect(error, `moment ${moment}`).to.be.instanceOf(LogChanged)
          await tamper('insert into log_checkpoint select * from aside')
        }
      }
      expect(moment).to.be.greaterThan(6)
    }).timeout(60_000)
  })

  describe('a log with an event that was changed', () => {
    const FORGERIES: Record<string, string> = {
      'what it says': `update events set actor_id = 7 where position = 3`,
      'its time': `update events set occurred_at = occurred_at + interval '1 us' where position = 3`,
      'its hash': `update events set hash = sha256(hash) where position = 3`,
      'the hash before it': `update events set prev_hash = sha256(hash) where position = 3`,
      'its version': `update events set version = 5 where position = 3`,
      'its stream': `update events set stream_id = 'user-1', version = 1 where position = 3`,
    }
    for (const [what, forge] of Object.entries(FORGERIES)) {
      it(`is signed up to where somebody changed ${what}, and no further`, async () => {
        await write([1])
        await log.log()
        await write([2])
        await write([1, 3])
        await log.root.query(`alter table events disable trigger all; ${forge}`)
        expect(await own.write()).to.include({ size: 2, position: 2, events: 1 })
        for (const writer of [own, another()]) {
          expect(await refused(writer, ChainBroken)).to.match(
            / \(position 3\) (is not chained|has a)/,
          )
        }
        expect((await stored()).size).to.equal(2)
      })
    }
  })

  describe('accesses and security events', () => {
    const look = (by: pg.Client = log.root) =>
      by.query(`insert into audit_accesses (kind, user_id, role, request_id, query, accessed_at)
        values ('looked', 1, 'auditor', 'r', '{}', now())`)
    const happen = (by: pg.Client = log.root) =>
      by.query(`insert into security_events (type, details, occurred_at) values ('x', '{}', now())`)
    beforeEach(() => log.log())

    it('are leaves among the events, and without any', async () => {
      await look()
      expect(await own.write()).to.include({ size: 1, position: 0, events: 0, records: 1 })
      await happen()
      await write([1])
      expect(await own.write()).to.include({ size: 3, position: 1, events: 1, records: 1 })
      await look()
      await look()
      expect(await own.write()).to.include({ size: 4, position: 1, events: 0, records: 2 })
      expect(await own.write()).to.equal(null)
      await expectWhole()
      const { rows } = await log.root.query('select * from log_bundles')
      expect(rows[0]).to.deep.include({
        first_position: 1,
        places: [null, [1, 'task-1', 1], null, null],
      })
    })

    it('tell how long they wait for it', async () => {
      for (const add of [look, happen]) {
        await add()
        expect(await unloggedSeconds(log.query)).to.be.greaterThan(0)
        await own.write()
        expect(await unloggedSeconds(log.query)).to.equal(0)
      }
    })

    it('are not gone past while one is still being written, and nobody waits for that', async () => {
      for (const add of [look, happen]) {
        const other = new pg.Client(log.database.config.connection)
        await other.connect()
        await other.query('begin')
        await add(other)
        await add()
        const writing = own.write()
        await add()
        expect(await writing).to.equal(null)
        await other.query('commit')
        await other.end()
        expect(await own.write()).to.include({ records: 3 })
      }
    })
  })

  it('is harmless when several write at the same time', async () => {
    await log.log()
    const clients = [1, 2, 3, 4].map(() =>
      singleConnection(log.database.config.connection, 'tasktrail_worker'),
    )
    await Promise.all(clients.map((client) => client.connect()))
    const writers = clients.map((client) => {
      const writer = logWriter({ origin: ORIGIN, signers: [signer], witnessed: false })
      return () => writer.write(sessionOf(client))
    })
    for (let round = 1; round <= 20; round++) {
      await write([round, round])
      await Promise.all(writers.map((add) => add()))
      const { size, root } = await stored()
      expect(size).to.equal(round * 2)
      const proofs = tileProofs(readTiles(log.query))
      const [fromRoot, proof] = [await proofs.root(1), await proofs.consistency(1, size)]
      expect(isConsistent({ from: 1, fromRoot, to: size, toRoot: root, proof })).to.equal(true)
    }
    await expectWhole()
    await Promise.all(clients.map((client) => client.end()))
  })
})
