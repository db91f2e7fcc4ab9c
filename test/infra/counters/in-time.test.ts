import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { expect } from 'chai'
import { inTime, TooLate } from '../../../src/infra/counters/in-time.ts'

const failure = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: Error) => error,
  )

describe('Work in time', () => {
  let echo: ChildProcessWithoutNullStreams
  before(() => {
    echo = spawn('cat')
  })
  after(() => void echo.kill())

  /** Holds the event loop until the answer has long been there. */
  const hold = (ms: number) => {
    const end = performance.now() + ms
    while (performance.now() < end);
  }

  it('has its own outcome', async () => {
    expect(await inTime(Promise.resolve(17), 1_000)).to.equal(17)
    const error = new Error('refused')
    expect(await failure(inTime(Promise.reject(error), 1_000))).to.equal(error)
  })

  it('is given up after its time, and whatever comes of it then is no fault', async () => {
    const { promise, reject } = Promise.withResolvers<never>()
    expect(await failure(inTime(promise, 1))).to.be.instanceOf(TooLate)
    reject(new Error('late'))
    await turn()
  })

  it('is not late because this process was too busy to send the question', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const asked = inTime(promise, 20)
    hold(60)
    // When the question has been sent.
    setImmediate(() => setImmediate(resolve))
    await asked
  })

  it('is not late because this process was too busy to read the answer', async () => {
    const asked = inTime(once(echo.stdout, 'data'), 20)
    await turn()
    await turn()
    echo.stdin.write('question')
    hold(100)
    expect(String((await asked)[0])).to.equal('question')
  })
})
