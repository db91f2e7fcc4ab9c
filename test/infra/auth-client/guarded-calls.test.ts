import { expect } from 'chai'
import { guardedCalls } from '../../../src/infra/auth-client/guarded-calls.ts'
import { silent } from '../../support/log.ts'

describe('Guarded calls', () => {
  it('have a budget of retries: ten at once and one for ten calls', async () => {
    const guard = guardedCalls({
      hostname: 'auth',
      halfOpenAfter: 5_000,
      now: () => 0,
      log: silent,
    })
    /** Every fifth fails. */
    const retries = async (count: number) => {
      let attempts = 0
      const runs = Array.from({ length: count }, (_, n) =>
        guard.run(
          async () => {
            attempts += 1
            if (n % 5 === 4) throw new Error('failed')
          },
          () => 1_000,
        ),
      )
      await Promise.allSettled(runs)
      return attempts - count
    }
    expect(await retries(200)).to.equal(10)
    expect(await retries(50)).to.equal(5)
  })
})
