import { expect } from 'chai'
import fc from 'fast-check'
import {
  consistencyNodes,
  EMPTY_ROOT,
  inclusionNodes,
  isConsistent,
  leafHash,
  type Node,
  rootOf,
  rootOfInclusion,
} from '../../src/transparency-log/tree.ts'
import { flipped } from './changed.ts'
import { entryOf, numbered } from './naive-tree.ts'

const hashOf = ({ level, index }: Node) =>
  numbered.root(index * 2 ** level, (index + 1) * 2 ** level)
const hashesOf = (lists: readonly (readonly Node[])[]) =>
  lists.map((nodes) => rootOf(nodes.map(hashOf)))

const EDGES = [255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537]
const BAD = [-1, 0.5, Number.NaN, Infinity, 2 ** 53]

const sizes = fc.oneof(fc.integer({ min: 1, max: 2000 }), fc.constantFrom(...EDGES))
/** A leaf and a tree that has it. */
const leaves = fc
  .tuple(sizes, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }))
  .map(([size, share]) => ({ index: Math.floor(size * share), size }))
/** Two trees, of which the second may be the same. */
const growths = fc
  .tuple(sizes, sizes)
  .map(([a, b]) => ({ from: Math.min(a, b), to: Math.max(a, b) }))

const inclusionOf = ({ index, size }: { index: number; size: number }) => ({
  index,
  size,
  leaf: leafHash(entryOf(index)),
  proof: numbered.path(index, 0, size),
})

const consistencyOf = ({ from, to }: { from: number; to: number }) => ({
  from,
  to,
  fromRoot: numbered.root(0, from),
  toRoot: numbered.root(0, to),
  proof: numbered.proof(from, to),
})

/** The hashes with one bit of one of them changed, one hash less, one more, or two of them exchanged. */
function spoiled(proof: readonly Buffer[], bit: number): (readonly Buffer[])[] {
  const at = Math.floor(bit / 256) % Math.max(1, proof.length)
  const one = proof[at]
  const others = [
    [...proof, leafHash('more')],
    [leafHash('more'), ...proof],
  ]
  if (!one) return others
  const [next = one] = proof.slice(at + 1)
  const exchanged = proof.map((hash, each) => (each === at ? next : each === at + 1 ? one : hash))
  const changed = proof.map((hash, each) => (each === at ? flipped(hash, bit % 256) : hash))
  return [...others, proof.toSpliced(at, 1), changed, ...(next === one ? [] : [exchanged])]
}

const bits = fc.nat({ max: 20 * 256 })

describe('A proof that a leaf is in a tree', () => {
  it('has the hashes of RFC 6962, and leads to the root', () => {
    for (let size = 1; size <= 130; size += 1) {
      for (let index = 0; index < size; index += 1) {
        const claim = inclusionOf({ index, size })
        expect(hashesOf(inclusionNodes(index, size))).to.deep.equal(claim.proof)
        expect(rootOfInclusion(claim)).to.deep.equal(numbered.root(0, size))
      }
    }
  })

  it('is right in trees of any size', () => {
    fc.assert(
      fc.property(leaves, ({ index, size }) => {
        const claim = inclusionOf({ index, size })
        expect(hashesOf(inclusionNodes(index, size))).to.deep.equal(claim.proof)
        expect(rootOfInclusion(claim)).to.deep.equal(numbered.root(0, size))
      }),
      { numRuns: 500 },
    )
  })

  it('leads nowhere once anything of it is changed', () => {
    fc.assert(
      fc.property(leaves, bits, (place, bit) => {
        const claim = inclusionOf(place)
        const root = numbered.root(0, place.size)
        const leaf = flipped(claim.leaf, bit % 256)
        expect(rootOfInclusion({ ...claim, leaf })).not.to.deep.equal(root)
        for (const proof of spoiled(claim.proof, bit)) {
          expect(rootOfInclusion({ ...claim, proof })).not.to.deep.equal(root)
        }
      }),
      { numRuns: 300 },
    )
  })

  it('is of one leaf only', () => {
    fc.assert(
      fc.property(leaves, fc.nat(), (place, other) => {
        const index = other % (place.size + 2)
        fc.pre(index !== place.index)
        const root = rootOfInclusion({ ...inclusionOf(place), index })
        expect(root).not.to.deep.equal(numbered.root(0, place.size))
      }),
      { numRuns: 300 },
    )
  })

  it('is refused if it has no possible shape', () => {
    const claim = inclusionOf({ index: 3, size: 10 })
    for (const bad of BAD) {
      expect(rootOfInclusion({ ...claim, index: bad })).to.equal(null)
      expect(rootOfInclusion({ ...claim, size: bad })).to.equal(null)
      expect(() => inclusionNodes(bad, 10)).to.throw(RangeError)
      expect(() => inclusionNodes(0, bad)).to.throw(RangeError)
    }
    expect(rootOfInclusion({ ...claim, index: 10 })).to.equal(null)
    expect(() => inclusionNodes(10, 10)).to.throw(RangeError)
    for (const proof of [claim.proof.slice(1), [...claim.proof, leafHash('more')]]) {
      expect(rootOfInclusion({ ...claim, proof })).to.equal(null)
    }
    expect(rootOfInclusion({ ...claim, leaf: Buffer.alloc(31) })).to.equal(null)
    for (const length of [0, 31, 33]) {
      const proof = [Buffer.alloc(length), ...claim.proof.slice(1)]
      expect(rootOfInclusion({ ...claim, proof })).to.equal(null)
    }
  })
})

describe('A proof that a tree extends a smaller one', () => {
  it('has the hashes of RFC 6962, and is accepted', () => {
    for (let to = 1; to <= 130; to += 1) {
      for (let from = 1; from <= to; from += 1) {
        const claim = consistencyOf({ from, to })
        expect(hashesOf(consistencyNodes(from, to))).to.deep.equal(claim.proof)
        expect(isConsistent(claim), `${from} ${to}`).to.equal(true)
      }
    }
  })

  it('is right in trees of any size', () => {
    fc.assert(
      fc.property(growths, ({ from, to }) => {
        const claim = consistencyOf({ from, to })
        expect(hashesOf(consistencyNodes(from, to))).to.deep.equal(claim.proof)
        expect(isConsistent(claim)).to.equal(true)
      }),
      { numRuns: 500 },
    )
  })

  it('is refused once anything of it is changed', () => {
    fc.assert(
      fc.property(growths, bits, (growth, bit) => {
        const claim = consistencyOf(growth)
        const fromRoot = flipped(claim.fromRoot, bit % 256)
        const toRoot = flipped(claim.toRoot, bit % 256)
        expect(isConsistent({ ...claim, fromRoot })).to.equal(false)
        expect(isConsistent({ ...claim, toRoot })).to.equal(false)
        for (const proof of spoiled(claim.proof, bit)) {
          expect(isConsistent({ ...claim, proof })).to.equal(false)
        }
      }),
      { numRuns: 300 },
    )
  })

  it('is refused if the smaller tree had another entry', () => {
    fc.assert(
      fc.property(growths, fc.nat(), ({ from, to }, other) => {
        fc.pre(from < to)
        const claim = consistencyOf({ from, to })
        const fromRoot = rootOfInclusion({
          ...inclusionOf({ index: other % from, size: from }),
          leaf: leafHash('rewritten'),
        })
        expect(fromRoot && isConsistent({ ...claim, fromRoot })).to.equal(false)
      }),
    )
  })

  it('is refused for a tree that is less high than the one it was made for', () => {
    const high = consistencyOf({ from: 4, to: 16 })
    expect(isConsistent({ ...high, to: 8 })).to.equal(false)
    expect(isConsistent({ ...consistencyOf({ from: 4, to: 8 }), to: 16 })).to.equal(false)
  })

  it('has no hashes from the empty tree, which every tree extends', () => {
    expect(consistencyNodes(0, 7)).to.deep.equal([])
    const claim = { from: 0, fromRoot: EMPTY_ROOT, to: 7, toRoot: numbered.root(0, 7), proof: [] }
    expect(isConsistent(claim)).to.equal(true)
    expect(isConsistent({ ...claim, fromRoot: leafHash('') })).to.equal(false)
    expect(isConsistent({ ...claim, proof: [leafHash('')] })).to.equal(false)
    expect(isConsistent({ ...claim, to: 0, toRoot: EMPTY_ROOT })).to.equal(true)
    expect(isConsistent({ ...claim, to: 0 })).to.equal(false)
  })

  it('is refused if it has no possible shape', () => {
    const claim = consistencyOf({ from: 6, to: 10 })
    for (const bad of BAD) {
      expect(isConsistent({ ...claim, from: bad })).to.equal(false)
      expect(isConsistent({ ...claim, to: bad })).to.equal(false)
      expect(() => consistencyNodes(bad, 10)).to.throw(RangeError)
      expect(() => consistencyNodes(0, bad)).to.throw(RangeError)
    }
    expect(() => consistencyNodes(11, 10)).to.throw(RangeError)
    expect(isConsistent({ ...claim, from: 10, to: 6 })).to.equal(false)
    expect(isConsistent({ ...claim, proof: [] })).to.equal(false)
    const short = Buffer.alloc(31)
    expect(isConsistent({ ...claim, fromRoot: short })).to.equal(false)
    expect(isConsistent({ ...claim, toRoot: short })).to.equal(false)
    expect(isConsistent({ ...claim, proof: claim.proof.map(() => short) })).to.equal(false)
    expect(
      isConsistent({ ...claim, from: 10, fromRoot: short, toRoot: short, proof: [] }),
    ).to.equal(false)
  })
})
