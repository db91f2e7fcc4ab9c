import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import { backOff, keepRunning, type Running } from '../../../src/infra/local/keep-running.ts'

describe('What is kept running', () => {
  it('is started again at once, however often it was killed after a little while', () => {
    const { afterLife } = backOff()
    expect(Array.from({ length: 20 }, () => afterLife(1_000))).to.deep.equal(Array(20).fill(200))
  })

  it('is started again within a second also when it lives for moments only', () => {
    const { afterLife } = backOff()
    const pauses = Array.from({ length: 20 }, () => afterLife(5))
    expect(pauses.slice(0, 4)).to.deep.equal([200, 400, 800, 800])
    expect(Math.max(...pauses)).to.equal(800)
  })

  it('is tried again ever more rarely while it cannot start at all', () => {
    const { afterFailure, afterLife } = backOff()
    const pauses = Array.from({ length: 7 }, afterFailure)
    expect(pauses).to.deep.equal([200, 400, 800, 1_600, 3_200, 5_000, 5_000])
    // It has started now, and was up.
    expect(afterLife(1_000)).to.equal(200)
    expect(afterFailure()).to.equal(400)
  })

  it('is not tried in a busy loop, and each pause that is said is the one that follows', async () => {
    const starts: number[] = []
    const said: number[] = []
    let die = (_: string) => {}
    const start = async (): Promise<Running> => {
      starts.push(performance.now())
      if (starts.length > 1) throw new Error('no')
      const exited = new Promise<string>((resolve) => {
        die = resolve
      })
      return { pid: 1, exited, stop: async () => die('stopped') }
    }
    const kept = await keepRunning({
      start,
      startedAgain: () => {},
      cannotStart: (_, retryMs) => said.push(retryMs),
    })
    die('signal SIGKILL')
    while (starts.length < 4) await sleep(20)
    await kept.stop()
    const pauses = starts.slice(1).map((at, index) => at - (starts[index] ?? 0))
    expect(said.slice(0, 2)).to.deep.equal([400, 800])
    for (const [index, least] of [200, 400, 800].entries()) {
      // A timer may ring a moment early.
      expect(pauses[index]).to.be.greaterThan(least - 5)
    }
    expect(starts.length).to.equal(4)
  })
})
