import { expect } from 'chai'
import fc from 'fast-check'
import { streamIds } from '../../src/app/stream-ids.ts'

const id = fc
  .tuple(
    fc.constantFrom('task', 'user'),
    fc.oneof(fc.integer({ min: 1, max: 120 }), fc.maxSafeNat()),
  )
  .map(([kind, number]) => `${kind}-${Math.max(1, number)}`)

describe('A set of stream ids', () => {
  it('gives each once, in the order of its bytes', () => {
    const law = fc.property(fc.array(id, { maxLength: 3_000, size: 'max' }), (added) => {
      const streams = streamIds()
      for (const each of added) streams.add(each)
      const wanted = [...new Set(added)].sort()
      expect([...streams.inOrder()].flat()).to.deep.equal(wanted)
    })
    fc.assert(law, { numRuns: 100 })
  })
})
