import { expect } from 'chai'
import pg from 'pg'
import type { TaskEvent } from '../../../../src/domain/task/events.ts'
import type { TaskView } from '../../../../src/domain/task/view.ts'
import { type Database, openDatabase } from '../../../../src/infra/postgres/connection/database.ts'
import { postgresEventStore } from '../../../../src/infra/postgres/event-store/event-store.ts'
import { lateWriters, openWriter } from '../../../support/late-writers.ts'
import { silent } from '../../../support/log.ts'
import { type TestDatabase, testDatabase } from '../../../support/postgres.ts'

/** `READING_SECONDS=60` for the long form. */
const SECONDS = Number(process.env.READING_SECONDS ?? 3)

type Read = (after: number) => Promise<number[]>

// Readers that are wrong, to prove that the trials would find them out. The mutants widen a gap that
// the real reader does not have; without it they would be wrong only now and then.
const BEACON = `
  select min(((classid::bigint & 65535) << 32) | objid::bigint) as position from pg_locks
  where locktype = 'advisory' and objsubid = 1 and mode = 'ShareLock' and classid::bigint >> 16 = 21587`
const ROWS = 'select position from events where position > $1'

const naive =
  (client: pg.Client): Read =>
  async (after) => {
    const { rows } = await client.query(`${ROWS} order by position`, [after])
    return positions(rows)
  }

const stepsSwapped =
  (client: pg.Client, gap: () => Promise<unknown>): Read =>
  async (after) => {
    const [beacon] = positions((await client.query(BEACON)).rows)
    await gap()
    const [drawn = 0] = positions((await client.query('select last_position() as position')).rows)
    const safe = beacon ? Math.min(beacon, drawn) : drawn
    const { rows } = await client.query(`${ROWS} and position <= $2 order by position`, [
      after,
      safe,
    ])
    return positions(rows)
  }

const oneSnapshot =
  (client: pg.Client): Read =>
  async (after) => {
    const safe = '(select safe_position() from pg_sleep(0.005))'
    const { rows } = await client.query(`${ROWS} and position <= ${safe} order by position`, [
      after,
    ])
    return positions(rows)
  }

const positions = (rows: { position: string | null }[]): number[] =>
  rows.map(({ position }) => Number(position))

describe('Reading all events beside writers that commit late or roll back', () => {
  let test: TestDatabase
  let db: Database
  let clients: pg.Client[]
  const ours: Read = async (after) => {
    const events = await postgresEventStore<TaskEvent, TaskView>(db).readAll(after, 1000)
    return events.map(({ position }) => position)
  }

  beforeEach(async () => {
    test = await testDatabase()
    db = openDatabase({ ...test.config, role: 'tasktrail_task', log: silent })
    clients = [new pg.Client(test.url), new pg.Client(test.url)]
    await Promise.all(clients.map((client) => client.connect()))
  })
  afterEach(async () => {
    await db.close()
    await Promise.all(clients.map((client) => client.end()))
    await test.drop()
  })

  /** How many committed events each reader skipped; ours must have read each one once, in order. */
  async function trial(writers: number, ...readers: Read[]) {
    let writing = true
    const written = lateWriters(test.url, { writers, ms: SECONDS * 1000 }).finally(() => {
      writing = false
    })
    const [seen = [], ...byOthers] = await Promise.all(
      [ours, ...readers].map((read) => follow(read, () => writing)),
    )
    const committed = await written
    expect(seen, 'ours').to.deep.equal(committed.toSorted((a, b) => a - b))
    expect(committed.length).to.be.greaterThan(SECONDS * 10)
    return byOthers.map((positions) => new Set(committed).difference(new Set(positions)).size)
  }

  it('skips and repeats none of 8 writers; a naive reader and one with an old snapshot do', async function () {
    this.timeout(SECONDS * 1000 + 30_000)
    const [one, two] = clients as [pg.Client, pg.Client]
    const [byNaive, bySnapshot] = await trial(8, naive(one), oneSnapshot(two))
    expect(byNaive).to.be.greaterThan(0)
    expect(bySnapshot).to.be.greaterThan(0)
  })

  it('skips no writer that is late; one that looks for beacons first does, each time', async () => {
    const [late, other] = await Promise.all([openWriter(test.url), openWriter(test.url)])
    const [one] = clients as [pg.Client]
    // While it is between its steps, one writer draws its positions, and another ends.
    const swapped = stepsSwapped(one, async () => {
      await late.write()
      await other.write()
      await other.commit()
    })
    const bySwapped = await swapped(0)
    expect(await ours(0), 'ours waits for the writer that is late').to.deep.equal([])
    await late.commit()
    const committed = [...late.positions, ...other.positions]
    expect(await ours(0)).to.deep.equal(committed)
    bySwapped.push(...(await naive(one)(bySwapped.at(-1) ?? 0)))
    expect(bySwapped).to.deep.equal(other.positions)
    await Promise.all([late.end(), other.end()])
  })
})

/** Reads from where it stopped until the writers have ended and nothing is left. */
async function follow(read: Read, writing: () => boolean): Promise<number[]> {
  const seen: number[] = []
  for (;;) {
    const more = writing()
    const page = await read(seen.at(-1) ?? 0)
    seen.push(...page)
    if (!more && page.length === 0) return seen
  }
}
