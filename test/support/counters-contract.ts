import { randomUUID } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { expect } from 'chai'
import fc from 'fast-check'
import type { Counters } from '../../src/app/ports/counters.ts'

/** The laws of the port Counters; every implementation obeys all of them. `make` is called for each process. */
export function countersContract(make: () => Promise<Counters>): void {
  const fresh = () => randomUUID()
  let counters: Counters
  before(async () => {
    counters = await make()
  })

  it('count one by one, also those that come at the same moment', async () => {
    const counter = counters(fresh(), 60)
    const counts = await Promise.all(Array.from({ length: 50 }, () => counter.add('17')))
    expect(counts.map(({ count }) => count).toSorted((a, b) => a - b)).to.deep.equal(
      Array.from({ length: 50 }, (_, n) => n + 1),
    )
    expect((await counter.get('17'))?.count).to.equal(50)
  })

  it('say how much of the window is left, and begin anew after it', async () => {
    const counter = counters(fresh(), 1)
    const first = await counter.add('17')
    expect(first.msLeft).to.be.within(1, 1_000)
    let next = await counter.add('17')
    while (next.count > 1) {
      expect(next.msLeft).to.be.within(1, first.msLeft)
      await turn()
      next = await counter.add('17')
    }
  })

  it('know nothing of a key in whose window nothing happened, and asking counts nothing', async () => {
    const counter = counters(fresh(), 1)
    expect(await counter.get('17')).to.equal(null)
    expect((await counter.add('17')).count).to.equal(1)
    expect((await counter.get('17'))?.count).to.equal(1)
    while ((await counter.get('17')) !== null) await turn()
  })

  it('keep names and keys apart, whatever they are', async () => {
    const texts = fc.uniqueArray(fc.string({ minLength: 1, unit: 'binary' }), { minLength: 2 })
    await fc.assert(
      fc.asyncProperty(texts, fc.array(fc.nat()), async (keys, picks) => {
        const [one, other] = [counters(fresh(), 60), counters(fresh(), 60)]
        const expected = new Map<string, number>()
        for (const pick of picks) {
          const key = keys[pick % keys.length] as string
          expected.set(key, (expected.get(key) ?? 0) + 1)
          expect((await one.add(key)).count).to.equal(expected.get(key))
        }
        for (const key of keys) {
          expect((await one.get(key))?.count).to.equal(expected.get(key))
          expect(await other.get(key)).to.equal(null)
        }
      }),
      { numRuns: 100 },
    )
  })
}
