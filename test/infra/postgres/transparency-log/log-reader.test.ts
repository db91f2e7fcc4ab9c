import { expect } from 'chai'
import fc from 'fast-check'
import type { LeafRange, TransparencyLog } from '../../../../src/app/ports/transparency-log.ts'
import { INDEX_ORDER_SETTINGS } from '../../../../src/infra/postgres/audit/audit-query.ts'
import { type Database, openDatabase } from '../../../../src/infra/postgres/connection/database.ts'
import { postgresTransparencyLog } from '../../../../src/infra/postgres/transparency-log/log-reader.ts'
import {
  growingTree,
  leafHash,
  nodesBetween,
  rootOfInclusion,
} from '../../../../src/transparency-log/tree.ts'
import { silent } from '../../../support/log.ts'
import { type OpenLog, openLog } from '../../../support/open-log.ts'
import { until } from '../../../support/processes.ts'

const RECORD = `
  insert into audit_accesses (kind, user_id, role, request_id, query, accessed_at)
    values ('looked', 1, 'auditor', 'r-1', '{}', now())`

type Tile = { readonly level: number; readonly n: number }

describe('What is read of the log', () => {
  let log: OpenLog
  let db: Database
  let reader: TransparencyLog
  let size: number
  let entries: readonly string[]
  /** The statements that the reader has sent, and the tiles that came. */
  let sent: string[]
  let tiles: string[]

  /** As in a process that has just started. */
  const fresh = () => {
    ;[sent, tiles] = [[], []]
    return postgresTransparencyLog({
      ...db,
      query: async (statement, values) => {
        sent.push(statement.name)
        const rows = await db.query<never>(statement, values)
        if (statement.name === 'tiles_to_read') {
          tiles.push(...rows.map(({ level, n }: Tile) => `${level}/${n}`))
        }
        return rows
      },
    })
  }

  before(async () => {
    log = await openLog()
    db = openDatabase({
      ...log.database.config,
      role: 'tasktrail_task',
      settings: INDEX_ORDER_SETTINGS,
      log: silent,
    })
    // Leaves that are no events between those that are, and positions that no event has.
    for (let round = 0; round < 10; round++) {
      for (let n = 0; n < 60; n++) await log.write(1 + (n % 5))
      await log.root.query(`select nextval('events_position_seq')`)
      await log.root.query(RECORD)
      await log.log()
    }
    reader = fresh()
    size = (await reader.checkpoint())?.size ?? 0
    const bundles = [0, 1, 2].map((n) =>
      reader.entries({ n, width: Math.min(256, size - n * 256) }),
    )
    entries = (await Promise.all(bundles)).flatMap((bundle) => bundle ?? [])
  })
  after(async () => {
    await db.close()
    await log.stop()
  })
  beforeEach(() => {
    reader = fresh()
  })

  const rootAt = (length: number) => {
    const tree = growingTree()
    for (const entry of entries.slice(0, length)) tree.addLeaf(leafHash(entry))
    return tree.root()
  }
  const positionOf = (entry: string): number | undefined => JSON.parse(entry).position

  it('are the entries of all leaves', async () => {
    expect([size, entries.length]).to.deep.equal([610, 610])
    const { rows } = await log.root.query('select root from log_checkpoint')
    expect(rootAt(size)).to.deep.equal(rows[0].root)
    expect(entries.filter((entry) => positionOf(entry) === undefined)).to.have.length(10)
  })

  it('is for each event its leaf, in the tree of any size', async () => {
    const leafOf = new Map(entries.map((entry, leaf) => [positionOf(entry), leaf]))
    const law = fc.asyncProperty(
      fc.uniqueArray(fc.integer({ min: 1, max: 620 }), { maxLength: 100 }),
      fc.integer({ min: 0, max: size }),
      async (positions, length) => {
        const wanted = positions.map((position) => {
          const leaf = leafOf.get(position) ?? length
          return leaf < length ? leaf : null
        })
        expect(await reader.leavesOf(positions, length)).to.deep.equal(wanted)
      },
    )
    await fc.assert(law, { numRuns: 100 })
  })

  it('are the leaves that are no events, in parts', async () => {
    const wanted = entries.flatMap((entry, leaf) => {
      const { position, ...records } = JSON.parse(entry)
      return position === undefined ? [{ leaf, records }] : []
    })
    expect(await reader.recordsIn([0, size])).to.deep.equal(wanted)
    const [, second, third] = wanted
    const range: LeafRange = [second?.leaf ?? 0, third?.leaf ?? 0]
    expect(await reader.recordsIn(range)).to.deep.equal([second])
    await log.root.query('alter table log_records disable trigger all')
    await log.root.query(
      `insert into log_records
         select leaf, 0, 0, '', '' from generate_series(1000000, 1002499) leaf`,
    )
    const part = await reader.recordsIn([1_000_000, 2_000_000])
    await log.root.query('delete from log_records where leaf >= 1000000')
    expect([part.length, part[0]?.leaf, part.at(-1)?.leaf]).to.deep.equal([
      1_000, 1_000_000, 1_000_999,
    ])
  })

  it('is what lies between some of its leaves, and no tile of it twice', async () => {
    const law = fc.asyncProperty(
      fc.uniqueArray(fc.integer({ min: 0, max: size - 1 }), { size: 'max', maxLength: 200 }),
      async (some) => {
        reader = fresh()
        const shown = [...some].sort((a, b) => a - b)
        const ranges = [...shown, size].map(
          (leaf, at) => [(shown[at - 1] ?? -1) + 1, leaf] as const,
        )
        const hashes = await reader.hashesOf(ranges)
        const tree = growingTree()
        for (const [at, range] of ranges.entries()) {
          const nodes = nodesBetween(...range)
          expect(hashes[at]).to.have.length(nodes.length)
          for (const [place, { level }] of nodes.entries()) {
            tree.addNode(level, hashes[at]?.[place] ?? Buffer.alloc(0))
          }
          const entry = entries[range[1]]
          if (entry !== undefined) tree.addLeaf(leafHash(entry))
        }
        expect(tree.root()).to.deep.equal(rootAt(size))
        expect(new Set(tiles).size).to.equal(tiles.length)
      },
    )
    await fc.assert(law, { numRuns: 50 })
  })

  it('is a proof for any event in the tree of any size, with one question for it and one for tiles', async () => {
    const checkpoint = await reader.checkpoint()
    const law = fc.asyncProperty(
      fc.integer({ min: 1, max: size }),
      fc.nat(),
      async (length, some) => {
        const index = some % length
        const position = positionOf(entries[index] ?? '')
        if (position === undefined) return
        reader = fresh()
        const found = await reader.eventAt(position)
        const proof = await reader.inclusion(index, length)
        expect(sent.filter((name) => name !== 'tiles_to_read')).to.deep.equal(['event_in_log'])
        expect(sent.length).to.be.at.most(2)
        const entry = entries[index] ?? ''
        expect(found).to.deep.equal({ owner_id: 1, logged: { index, entry, checkpoint } })
        const root = rootOfInclusion({ index, size: length, leaf: leafHash(entry), proof })
        expect(root).to.deep.equal(rootAt(length))
      },
    )
    await fc.assert(law, { numRuns: 100 })
    expect(await reader.eventAt(61)).to.equal(null)
  })

  it('is of a full tile read once, and of one that grows each time', async () => {
    for (let n = 0; n < 3; n++) {
      await reader.tile({ level: 0, n: 0, width: 256 })
      await reader.tile({ level: 0, n: 1, width: 3 })
      await reader.tile({ level: 0, n: 2, width: 3 })
    }
    expect(tiles).to.deep.equal(['0/0', '0/1', '0/2', '0/2', '0/2'])
    const prefix = await reader.tile({ level: 0, n: 1, width: 3 })
    expect(prefix).to.deep.equal(Buffer.concat(entries.slice(256, 259).map(leafHash)))
  })

  it('is nothing in place of a tile that was taken away', async () => {
    await log.root.query('alter table log_tiles disable trigger all')
    await log.root.query('create table aside as select * from log_tiles where n = 1')
    await log.root.query('delete from log_tiles where n = 1')
    try {
      const error = await reader.tile({ level: 0, n: 1, width: 1 }).catch((error) => error)
      expect(error.message).to.equal('tile 0/1 of the log is missing')
      const proof = await reader.inclusion(300, size).catch((error) => error)
      expect(proof.message).to.equal('tile 0/1 of the log is missing')
    } finally {
      await log.root.query('insert into log_tiles select * from aside; drop table aside')
    }
  })

  it('is the checkpoint as soon as it covers a position', async () => {
    const { rows } = await log.root.query('select last_value as last from events_position_seq')
    const position = rows[0].last + 2
    const waiting = reader.checkpointAt(position, 10_000)
    await until(() => sent.length > 2, 'a second look')
    await log.write(1)
    await log.log()
    const { length } = sent
    await until(() => sent.length > length, 'another look')
    expect(await Promise.race([waiting, 'waits'])).to.equal('waits')
    await log.write(1)
    expect(await reader.eventAt(position)).to.deep.equal({ owner_id: 1, logged: null })
    await log.log()
    const found = await waiting
    expect(found).to.include({ size: size + 2 })
    expect(found?.position).to.be.at.least(position)
    expect(await reader.checkpointAt(position + 1, 0)).to.deep.equal(found)
    expect((await reader.eventAt(position))?.logged).to.include({ index: size + 1 })
  })
})
