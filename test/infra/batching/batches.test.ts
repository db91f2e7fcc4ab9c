import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect } from 'chai'
import fc from 'fast-check'
import { type BatchLimits, batches } from '../../../src/infra/batching/batches.ts'

const LIMITS = {
  items: 100,
  bytes: 1_000,
  waiting: 10_000,
  calls: 16,
  // So that a busy machine cannot fail a test that is about something else than time.
  patience: 20_000,
  total: 40_000,
}

type Options = Partial<BatchLimits> & { readonly sizeOf?: (item: string) => number }

const batching = <Answer>(
  call: (items: readonly string[], deadline: number) => Promise<readonly Answer[]>,
  { sizeOf = () => 1, ...limits }: Options = {},
) =>
  batches({
    call,
    sizeOf,
    limits: { ...LIMITS, ...limits },
    now: () => performance.now(),
    refusal: (cause) => new Error('refused', { cause }),
  })

/** Calls that end when they are told to. */
function held() {
  const begun: { items: readonly string[]; end: () => void; fail: () => void }[] = []
  const call = async (items: readonly string[]) => {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    begun.push({ items, end: resolve, fail: () => reject(new Error('failed')) })
    await promise
    return items.map((item) => `answer to ${item}`)
  }
  return { call, begun }
}

/** Long enough for a call to begin. */
const turn = async () => {
  for (let n = 0; n < 2; n++) await new Promise((resolve) => setImmediate(resolve))
}

describe('Batches', () => {
  it('answer each caller their own, by a call that began after the caller came, in any interleaving', () =>
    fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.array(fc.record({ fails: fc.boolean(), bytes: fc.integer({ min: 1, max: 6 }) }), {
          minLength: 1,
          maxLength: 30,
        }),
        fc.integer({ min: 1, max: 4 }),
        async (scheduler, callers, items) => {
          let time = 0
          let underWay = 0
          const ask = batches<{ n: number; fails: boolean; bytes: number }, object>({
            call: async (batch) => {
              const began = ++time
              expect(++underWay).to.equal(1)
              expect(batch.length).to.be.within(1, items)
              const bytes = batch.reduce((sum, one) => sum + one.bytes, 0)
              if (batch.length > 1) expect(bytes).to.be.at.most(10)
              await scheduler.schedule(Promise.resolve(), 'a call')
              underWay--
              if (batch.some(({ fails }) => fails)) throw Object.assign(new Error('no'), { began })
              return batch.map(({ n }) => ({ n, began }))
            },
            sizeOf: ({ bytes }) => bytes,
            limits: { ...LIMITS, items, bytes: 10 },
            now: () => time,
            refusal: (cause) => cause,
          })
          const arrivals = callers.map(async ({ fails, bytes }, n) => {
            await scheduler.schedule(Promise.resolve(), `caller ${n}`)
            const came = ++time
            const answer = await ask({ n, fails, bytes }).catch((error) => error)
            expect(answer.began).to.be.greaterThan(came)
            if (fails) expect(answer).to.be.instanceOf(Error)
            else if (!(answer instanceof Error)) expect(answer.n).to.equal(n)
          })
          await scheduler.waitFor(Promise.all(arrivals))
          expect(underWay).to.equal(0)
        },
      ),
      { numRuns: 500 },
    ))

  it('keep nobody waiting beyond this turn of the event loop while nothing is under way', async () => {
    const { call, begun } = held()
    void batching(call)('one')
    await new Promise((resolve) => setImmediate(resolve))
    expect(begun).to.have.length(1)
  })

  it('are one for all who come in one turn, and one for all who come while it is under way', async () => {
    const { call, begun } = held()
    const ask = batching(call)
    const names = Array.from({ length: 64 }, (_, n) => `${n}`)
    const answers = names.slice(0, 30).map(ask)
    await turn()
    for (const name of names.slice(30)) {
      answers.push(ask(name))
      await turn()
    }
    begun[0]?.end()
    await turn()
    begun[1]?.end()
    expect(await Promise.all(answers)).to.deep.equal(names.map((name) => `answer to ${name}`))
    expect(begun.map(({ items }) => items.length)).to.deep.equal([30, 34])
  })

  it('carry a thousand who wait, in their order, a hundred at a time', async () => {
    const sizes: number[] = []
    const ask = batching(async (items) => {
      sizes.push(items.length)
      await turn()
      return items
    })
    const names = Array.from({ length: 1_001 }, (_, n) => `${n}`)
    expect(await Promise.all(names.map(ask))).to.deep.equal(names)
    expect(sizes).to.deep.equal([...Array(10).fill(100), 1])
  })

  it('are bounded in bytes, and carry alone what is too large', async () => {
    const { call, begun } = held()
    const ask = batching(call, { sizeOf: (item) => item.length })
    const sizes = [1, 400, 600, 1, 2_000, 999, 1]
    const answers = sizes.map((size) => ask('x'.repeat(size)))
    await turn()
    for (let n = 0; n < 4; n++) {
      begun[n]?.end()
      await turn()
    }
    await Promise.all(answers)
    const carried = begun.map(({ items }) => items.map(({ length }) => length))
    expect(carried).to.deep.equal([[1, 400], [600, 1], [2_000], [999, 1]])
  })

  it('do not hold up those who wait for a slow one, and are so many at once at most', async () => {
    const { call, begun } = held()
    const ask = batching(call, { patience: 10, calls: 3, items: 2 })
    const answers = Array.from({ length: 7 }, (_, n) => ask(`${n}`))
    await sleep(200)
    expect(begun.map(({ items }) => items)).to.deep.equal([
      ['0', '1'],
      ['2', '3'],
      ['4', '5'],
    ])
    begun[1]?.end()
    await turn()
    expect(begun[3]?.items).to.deep.equal(['6'])
    for (const { end } of begun) end()
    await Promise.all(answers)
  })

  it('keep each caller waiting for their own time only, whoever comes later', async () => {
    const deadlines: number[] = []
    const ask = batching(
      async (items, deadline) => {
        deadlines.push(deadline)
        await sleep(600)
        return items
      },
      { total: 250 },
    )
    const began = performance.now()
    const settled: string[] = []
    const waits = (name: string) => ask(name).catch(() => settled.push(name))
    const first = waits('first')
    await turn()
    const second = waits('second')
    await sleep(150)
    const third = waits('third')
    await second
    expect(performance.now() - began).to.be.within(240, 390)
    expect(settled).to.deep.equal(['first', 'second'])
    await Promise.all([first, third])
    // Who waited in vain for it to begin is not in the next one.
    await sleep(500)
    expect(deadlines).to.have.length(1)
  })

  it('have the deadline of their last caller', async () => {
    const deadlines: number[] = []
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const ask = batching(async (items, deadline) => {
      deadlines.push(deadline)
      await gates[deadlines.length - 1]?.promise
      return items
    })
    const early = [ask('0')]
    await turn()
    early.push(ask('1'))
    await sleep(50)
    const came = performance.now()
    const late = ask('2')
    for (const { resolve } of gates) resolve()
    await Promise.all([...early, late])
    expect(deadlines[1]).to.be.at.least(came + LIMITS.total)
  })

  it('refuse at once who finds too many waiting', async () => {
    const { call, begun } = held()
    const ask = batching(call, { waiting: 5 })
    const answers = Array.from({ length: 7 }, (_, n) => ask(`${n}`))
    const refused = await Promise.allSettled(answers.slice(5))
    for (const outcome of refused) {
      const { reason } = outcome as PromiseRejectedResult
      expect([reason.message, reason.cause.message]).to.deep.equal(['refused', 'too many wait'])
    }
    await turn()
    begun[0]?.end()
    expect(await Promise.all(answers.slice(0, 5))).to.have.length(5)
  })

  it('leave nothing behind when they fail', async () => {
    const { call, begun } = held()
    const ask = batching(call)
    const answers = [ask('0')]
    await turn()
    answers.push(ask('1'), ask('2'))
    begun[0]?.fail()
    await turn()
    begun[1]?.fail()
    const outcomes = await Promise.allSettled(answers)
    expect(outcomes.map(({ status }) => status)).to.deep.equal(Array(3).fill('rejected'))
    const next = ask('3')
    await turn()
    begun[2]?.end()
    expect(await next).to.equal('answer to 3')
  })

  it('may leave one to an answer of its own, and keep nobody else waiting for it', async () => {
    const late = Promise.withResolvers<string>()
    const ask = batching(async (items) => {
      return items.map((item) => (item === 'late' ? late.promise : `answer to ${item}`))
    })
    const waiting = ask('late')
    expect(await Promise.all(['0', '1'].map(ask))).to.deep.equal(['answer to 0', 'answer to 1'])
    late.reject(new Error('failed alone'))
    expect(await waiting.catch(({ message }) => message)).to.equal('failed alone')
  })

  it('are forgotten, with their answers, when nobody waits', async () => {
    setFlagsFromString('--expose-gc')
    const collectGarbage = runInNewContext('gc') as () => void
    const answers: WeakRef<object>[] = []
    const ask = batching(async (items) => {
      await turn()
      return items.map(() => {
        const answer = { caller: 'ann' }
        answers.push(new WeakRef(answer))
        return answer
      })
    })
    await Promise.all(Array.from({ length: 60 }, (_, n) => ask(`${n}`)))
    await turn()
    collectGarbage()
    expect(answers).to.have.length(60)
    expect(answers.filter((answer) => answer.deref() !== undefined)).to.have.length(0)
    await ask('one more')
  })
})
