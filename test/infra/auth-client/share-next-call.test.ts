import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect } from 'chai'
import fc from 'fast-check'
import { shareNextCall } from '../../../src/infra/auth-client/share-next-call.ts'

type Started = { readonly at: number; readonly details: number }

describe('Shared calls', () => {
  it('answer each caller by a call that began after the caller came, in any interleaving', () =>
    fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.array(fc.record({ key: fc.constantFrom('a', 'b'), fails: fc.boolean() }), {
          minLength: 1,
          maxLength: 20,
        }),
        async (scheduler, callers) => {
          let time = 0
          let calls = 0
          const running = new Map<string, number>()
          const share = shareNextCall<{ came: number; fails: boolean }, Started>(
            async (key, { came, fails }) => {
              const at = ++time
              calls += 1
              running.set(key, (running.get(key) ?? 0) + 1)
              expect(running.get(key)).to.equal(1)
              await scheduler.schedule(Promise.resolve(), `call for ${key}`)
              running.set(key, 0)
              if (fails) throw Object.assign(new Error('failed'), { at, details: came })
              return { at, details: came }
            },
          )
          const arrivals = callers.map(async ({ key, fails }) => {
            await scheduler.schedule(Promise.resolve(), `caller for ${key}`)
            const came = ++time
            const answer = await share(key, { came, fails }).catch((error) => error)
            expect(answer.at).to.be.greaterThan(came)
            // The details are those of the caller who came last before the call began.
            expect(answer.details).to.be.at.least(came)
            expect(answer.details).to.be.lessThan(answer.at)
          })
          await scheduler.waitFor(Promise.all(arrivals))
          expect(calls).to.be.at.most(callers.length)
        },
      ),
      { numRuns: 500 },
    ))

  it('are two for any number of callers who come while the first runs', async () => {
    const gate = Promise.withResolvers<void>()
    let calls = 0
    const share = shareNextCall(async () => {
      await gate.promise
      calls += 1
      return calls
    })
    const answers = Array.from({ length: 64 }, () => share('key', undefined))
    gate.resolve()
    expect(await Promise.all(answers)).to.deep.equal([1, ...Array(63).fill(2)])
  })

  it('are joined by a caller who asks again as soon as the first has ended', async () => {
    let calls = 0
    let running = 0
    const share = shareNextCall(async () => {
      calls += 1
      running += 1
      await new Promise((resolve) => setImmediate(resolve))
      running -= 1
      return running
    })
    const again = share('key', undefined).then(() => share('key', undefined))
    const waiting = share('key', undefined)
    expect(await Promise.all([again, waiting])).to.deep.equal([0, 0])
    expect(calls).to.equal(2)
  })

  it('leave nothing behind when they fail', async () => {
    let calls = 0
    const share = shareNextCall(async () => {
      calls += 1
      if (calls < 3) throw new Error(`call ${calls}`)
      return calls
    })
    const outcomes = await Promise.allSettled([1, 2, 3].map(() => share('key', undefined)))
    expect(outcomes.map((outcome) => outcome.status)).to.deep.equal(Array(3).fill('rejected'))
    expect(await share('key', undefined)).to.equal(3)
  })

  it('are forgotten, with their answers, when nobody waits', async () => {
    setFlagsFromString('--expose-gc')
    const collectGarbage = runInNewContext('gc') as () => void
    const answers: WeakRef<object>[] = []
    const share = shareNextCall(async () => {
      const answer = { caller: 'ann' }
      answers.push(new WeakRef(answer))
      return answer
    })
    await Promise.all(Array.from({ length: 100 }, (_, n) => share(`key ${n % 30}`, undefined)))
    await new Promise((resolve) => setImmediate(resolve))
    collectGarbage()
    expect(answers).to.have.length(60)
    expect(answers.filter((answer) => answer.deref() !== undefined)).to.have.length(0)
    await share('key 0', undefined)
  })
})
