import { expect } from 'chai'
import { cropped, furthestT, median, welchT } from '../support/welch.ts'

describe("Welch's t", () => {
  it('is the difference of the means in standard errors', () => {
    // Means 3 and 6, variances 2.5 and 10: -3 / √(0.5 + 2).
    expect(welchT([1, 2, 3, 4, 5], [2, 4, 6, 8, 10])).to.be.closeTo(-1.897_367, 1e-6)
    // Samples of different sizes: means 2 and 5, variances 1 and 4.
    expect(welchT([1, 2, 3], [3, 5, 7, 3, 7])).to.be.closeTo(-3 / Math.sqrt(1 / 3 + 4 / 5), 1e-12)
  })

  it('is 0 for two samples alike, and changes its sign with their order', () => {
    expect(welchT([1, 5, 9], [9, 1, 5])).to.equal(0)
    expect(welchT([1, 2, 4], [5, 6, 9])).to.equal(-welchT([5, 6, 9], [1, 2, 4]))
  })
})

describe('What is cropped', () => {
  it('is the slowest of both together, wherever they were', () => {
    const quick = Array.from({ length: 30 }, (_, n) => n)
    const slow = [...Array.from({ length: 8 }, (_, n) => n), 900, 1_000]
    expect(cropped(quick, slow, 0.95)).to.deep.equal([quick, slow.slice(0, 8)])
  })

  it('leaves what is as slow as the last that stays', () => {
    expect(cropped([1, 1, 1], [1], 0.5)).to.deep.equal([[1, 1, 1], [1]])
  })
})

describe('The furthest t', () => {
  it('is not hidden by what is slow', () => {
    const sample = (from: number) =>
      Array.from({ length: 40 }, (_, n) => (n < 36 ? from + n / 36 : 9_999 * n))
    const t = furthestT(sample(0), sample(0.5))
    expect(t).to.be.below(-4.5)
    expect(Math.abs(welchT(sample(0), sample(0.5)))).to.be.below(1)
  })
})

describe('The median', () => {
  it('is the one in the middle by size', () => {
    expect(median([10, 9, 100])).to.equal(10)
  })
})
