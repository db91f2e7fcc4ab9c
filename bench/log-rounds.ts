import { logKeeper } from '../src/infra/postgres/transparency-log/keep-log.ts'
import { logWriter } from '../src/infra/postgres/transparency-log/log-writer.ts'
import { fillChained } from './audit-rows.ts'
import { cpuOf } from './compare/usage.ts'
import { logAll, ORIGIN, session, signer } from './log-rows.ts'
import { scratchDatabase } from './scratch-database.ts'

const HELD = `select setval('events_position_seq', $1)`
const WAL = `select pg_current_wal_insert_lsn() - '0/0' as bytes`

/** What a round of the log costs: without new events, and with so many. `held`: in the log before. */
export async function roundCosts(held: number, rounds: number, sizes: readonly number[]) {
  const database = await scratchDatabase()
  const { sql } = database
  const release = (position: number) => sql.query(HELD, [position])
  try {
    const events = held + rounds * sizes.reduce((sum, size) => sum + size, 0)
    await fillChained(sql, events)
    await release(held)
    await logAll(database.url)
    await sql.query('vacuum analyze')
    const own = await session(database.url)
    let statements = 0
    const counted: typeof own = {
      ...own,
      query: (...asked) => {
        statements++
        return own.query(...asked)
      },
      transaction: (work) => {
        statements += 2
        return own.transaction(work)
      },
    }
    const writer = logWriter({ origin: ORIGIN, signers: [signer], witnessed: false })
    const keeper = logKeeper(writer, null, () => {})
    const over = new AbortController().signal
    const costs = []
    let end = held
    for (const size of [...sizes, 0]) {
      await release(end)
      for (let n = 0; n < 5; n++) await keeper.round({ ...counted, over })
      statements = 0
      const wal = Number((await sql.query(WAL)).rows[0].bytes)
      let [seconds, cpu, backend] = [0, 0, cpuOf(own.backend)]
      for (let n = 0; n < rounds; n++) {
        end += size
        await release(end)
        const [began, usage] = [performance.now(), process.cpuUsage()]
        await keeper.round({ ...counted, over })
        const { user, system } = process.cpuUsage(usage)
        cpu += (user + system) / 1_000
        seconds += (performance.now() - began) / 1_000
      }
      backend = cpuOf(own.backend) - backend
      const bytes = Number((await sql.query(WAL)).rows[0].bytes) - wal
      costs.push({
        events: size,
        statements: statements / rounds,
        worker: cpu / rounds,
        database: (backend * 1_000) / rounds,
        ms: (seconds * 1_000) / rounds,
        wal: bytes / rounds,
      })
    }
    await own.close()
    const { rows } = await sql.query('select size from log_checkpoint')
    if (Number(rows[0].size) !== events)
      throw new Error(`${rows[0].size} of ${events} are in the log`)
    return costs
  } finally {
    await database.drop()
  }
}

if (import.meta.main) {
  console.table(await roundCosts(20_000, 300, [5, 60, 125]))
}
