import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import { caughtUp, connect, expectFoldOfLog } from '../../../support/audit-fold.ts'
import { testDatabase } from '../../../support/postgres.ts'
import { until } from '../../../support/processes.ts'
import { tasksInLog } from '../../../support/tasks-in-log.ts'
import { type StartedWorker, workers } from '../../../support/workers.ts'

/** `WORKER_KILLS=500` for the long form. */
const KILLS = Number(process.env.WORKER_KILLS ?? 20)

describe(`A worker that is killed ${KILLS} times while it works`, function () {
  this.timeout(60_000 + KILLS * 10_000)

  it('leaves the fold of the log, whatever it was doing', async () => {
    const database = await testDatabase()
    const processes = workers(database.url)
    const [sql, log] = [await connect(database.url), tasksInLog(database)]
    let killing = true
    const writers = Array.from({ length: 2 }, async () => {
      while (killing) await log.create(Math.floor(Math.random() * 8))
    })
    const checkpoint = async () =>
      Number((await sql.query('select position from projections')).rows[0].position)
    try {
      let alive: readonly StartedWorker[] = [await processes.start(), await processes.start()]
      for (let kill = 0; kill < KILLS; kill++) {
        const leader = await leaderOf(alive)
        const before = await checkpoint()
        await until(async () => (await checkpoint()) > before, 'a batch')
        // In the midst of a batch, or between two: the writers leave it no rest.
        await sleep(Math.random() * 30)
        leader.child.kill('SIGKILL')
        expect(await leader.ended).to.equal('signal SIGKILL')
        alive = [...alive.filter((worker) => worker !== leader), await processes.start()]
      }
      killing = false
      await Promise.all(writers)
      await caughtUp(sql)
      expect(await expectFoldOfLog(database)).to.be.greaterThan(KILLS)
    } finally {
      killing = false
      processes.killAll()
      await Promise.all([...writers, log.close(), sql.end()])
      await database.drop()
    }
  })
})

async function leaderOf(all: readonly StartedWorker[]): Promise<StartedWorker> {
  let leader: StartedWorker | undefined
  const found = async () => {
    const leads = await Promise.all(all.map((worker) => worker.leads()))
    leader = all[leads.indexOf(true)]
    return leader !== undefined
  }
  await until(found, 'a leader')
  return leader as StartedWorker
}
