import { logKeeper } from '../src/infra/postgres/transparency-log/keep-log.ts'
import { logWriter } from '../src/infra/postgres/transparency-log/log-writer.ts'
import { fillChained } from './audit-rows.ts'
import { cpuOf } from './compare/usage.ts'
import { logAll, ORIGIN, session, signer } from './log-rows.ts'
import { scratchDatabase } from './scratch-database.ts'

// The safe position follows the sequence, so events above it wait for a later round.
const RELEASE = `select setval('events_position_seq', $1)`

/** Of one round, with so many new events. CPU in milliseconds. */
export type RoundCost = {
  readonly events: number
  readonly statements: number
  readonly worker: number
  readonly database: number
}

/** The session of a worker that counts what it asks: `begin` and `commit` too. */
async function countingSession(url: string) {
  const own = await session(url)
  const counted = { statements: 0 }
  return {
    ...own,
    counted,
    over: new AbortController().signal,
    query: ((...asked) => {
      counted.statements += 1
      return own.query(...asked)
    }) as typeof own.query,
    transaction: ((work) => {
      counted.statements += 2
      return own.transaction(work)
    }) as typeof own.transaction,
  }
}

/** What the worker's rounds cost in a log that has `held` events, with each of these numbers of new ones. */
export async function roundCosts(
  held: number,
  rounds: number,
  sizes: readonly number[],
): Promise<readonly RoundCost[]> {
  const database = await scratchDatabase()
  const release = (position: number) => database.sql.query(RELEASE, [position])
  try {
    const all = held + rounds * sizes.reduce((sum, size) => sum + size, 0)
    await fillChained(database.sql, all)
    await release(held)
    await logAll(database.url)
    await database.sql.query('vacuum analyze')
    const own = await countingSession(database.url)
    const writer = logWriter({ origin: ORIGIN, signers: [signer], witnessed: false })
    const { round } = logKeeper(writer, null, () => {})
    await round(own)
    const costs: RoundCost[] = []
    let end = held
    for (const events of sizes) {
      own.counted.statements = 0
      const [usage, before] = [{ user: 0, system: 0 }, cpuOf(own.backend)]
      for (let n = 0; n < rounds; n++) {
        end += events
        await release(end)
        const began = process.cpuUsage()
        await round(own)
        const { user, system } = process.cpuUsage(began)
        usage.user += user
        usage.system += system
      }
      costs.push({
        events,
        statements: own.counted.statements / rounds,
        worker: (usage.user + usage.system) / 1_000 / rounds,
        database: ((cpuOf(own.backend) - before) * 1_000) / rounds,
      })
    }
    await own.close()
    const { rows } = await database.sql.query('select size from log_checkpoint')
    if (Number(rows[0].size) !== all) throw new Error(`${rows[0].size} of ${all} are in the log`)
    return costs
  } finally {
    await database.drop()
  }
}
