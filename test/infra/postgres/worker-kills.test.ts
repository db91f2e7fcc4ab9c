import { expect } from 'chai'
import { caughtUp, connect, expectFoldOfLog } from '../../support/audit-fold.ts'
import { testDatabase } from '../../support/postgres.ts'
import { until } from '../../support/processes.ts'
import { tasksInLog } from '../../support/tasks-in-log.ts'
import { workers } from '../../support/workers.ts'

/** `KILLS=500` for the long form. */
const KILLS = Number(process.env.KILLS ?? 20)

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
      let next = processes.start()
      for (let kill = 0; kill < KILLS; kill++) {
        const before = await checkpoint()
        const worker = await next
        // The next one comes up meanwhile, stands by and takes over.
        next = processes.start()
        await until(async () => (await checkpoint()) > before, 'a batch')
        // In the midst of a batch, or between two: the writers leave it no rest.
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 30))
        worker.child.kill('SIGKILL')
        expect(await worker.ended).to.equal('signal SIGKILL')
      }
      killing = false
      await Promise.all(writers)
      await next
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
