import { expect } from 'chai'
import { CircuitState } from 'cockatiel'
import { failureRate } from '../../../src/infra/auth-client/failure-rate.ts'

const { Closed, HalfOpen } = CircuitState

describe('The failure rate', () => {
  let time: number
  const rate = () => failureRate({ share: 0.5, calls: 20, seconds: 10, now: () => time })
  beforeEach(() => {
    time = 0
  })

  it('opens the circuit at the 20th call if half of them failed, not before', () => {
    const breaker = rate()
    for (let n = 0; n < 10; n++) breaker.success(Closed)
    const opens = Array.from({ length: 10 }, () => breaker.failure(Closed))
    expect(opens).to.deep.equal([...Array(9).fill(false), true])
  })

  it('leaves the circuit closed when less than half failed', () => {
    const breaker = rate()
    for (let n = 0; n < 100; n++) breaker.success(Closed)
    expect(Array.from({ length: 99 }, () => breaker.failure(Closed))).to.not.include(true)
  })

  it('forgets what is older than ten seconds, however rare the calls are', () => {
    const breaker = rate()
    for (let n = 0; n < 19; n++) breaker.failure(Closed)
    time = 9999
    expect(breaker.failure(Closed)).to.equal(true)
    time = 3_600_000
    expect(breaker.failure(Closed)).to.equal(false)
  })

  it('begins anew after a probe that worked', () => {
    const breaker = rate()
    for (let n = 0; n < 20; n++) breaker.failure(Closed)
    breaker.success(HalfOpen)
    expect(breaker.failure(Closed)).to.equal(false)
  })
})
