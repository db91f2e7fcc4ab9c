import { expect } from 'chai'
import fc from 'fast-check'
import {
  EMPTY_ROOT,
  growingTree,
  leafHash,
  type Node,
  nodeHash,
  nodesBetween,
  rootOf,
} from '../../src/transparency-log/tree.ts'
import { entryOf, numbered } from './naive-tree.ts'

const MOST = 2000

const hashOf = ({ level, index }: Node) =>
  numbered.root(index * 2 ** level, (index + 1) * 2 ** level)

const sizes = fc.integer({ min: 0, max: MOST })
const ranges = fc.tuple(sizes, sizes).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const)

/** The leaves that a range shares with a complete subtree, cut in halves from the top. */
function cover([from, to]: readonly [number, number], node: Node): readonly Node[] {
  const first = node.index * 2 ** node.level
  const end = first + 2 ** node.level
  if (to <= first || end <= from) return []
  if (from <= first && end <= to) return [node]
  const level = node.level - 1
  return [node.index * 2, node.index * 2 + 1].flatMap((index) =>
    cover([from, to], { level, index }),
  )
}

describe('The hashes of a tree', () => {
  // The entries and roots that the tests of Certificate Transparency have used since 2013.
  const ENTRIES = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657']
  const LAST = '606162636465666768696a6b6c6d6e6f'

  it('are those of Certificate Transparency', () => {
    const tree = growingTree()
    expect(tree.root().toString('hex')).to.equal(
      'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    )
    for (const entry of [...ENTRIES, LAST]) tree.addLeaf(leafHash(Buffer.from(entry, 'hex')))
    expect(tree.root().toString('hex')).to.equal(
      '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
    )
  })

  it('take a text as its bytes in UTF-8', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        expect(leafHash(text)).to.deep.equal(leafHash(Buffer.from(text)))
      }),
    )
  })

  it('tell a leaf from a node, and left from right', () => {
    const [left, right] = [leafHash('a'), leafHash('b')]
    expect(nodeHash(left, right)).not.to.deep.equal(leafHash(Buffer.concat([left, right])))
    expect(nodeHash(left, right)).not.to.deep.equal(nodeHash(right, left))
  })

  it('are folded only if they have 32 bytes', () => {
    const hash = leafHash('a')
    for (const length of [0, 31, 33]) {
      const other = Buffer.alloc(length)
      expect(() => nodeHash(hash, other)).to.throw(RangeError)
      expect(() => nodeHash(other, hash)).to.throw(RangeError)
      expect(() => rootOf([other])).to.throw(RangeError)
      expect(() => growingTree().addLeaf(other)).to.throw(RangeError)
      expect(() => growingTree().addNode(3, other)).to.throw(RangeError)
    }
  })
})

describe('A growing tree', () => {
  it(`has the root of RFC 6962 at every size up to ${MOST}`, () => {
    const tree = growingTree()
    for (let size = 0; size <= MOST; size += 1) {
      expect(tree.size).to.equal(size)
      expect(tree.root()).to.deep.equal(numbered.root(0, size))
      tree.addLeaf(leafHash(entryOf(size)))
    }
  })

  it('has it where tiles of the second and third level begin', () => {
    const tree = growingTree()
    const wanted = [254, 255, 256, 257, 65_534, 65_535, 65_536, 65_537]
    for (let size = 0; size <= 65_537; size += 1) {
      if (wanted.includes(size)) expect(tree.root()).to.deep.equal(numbered.root(0, size))
      tree.addLeaf(leafHash(entryOf(size)))
    }
  })

  it('takes complete subtrees instead of leaves wherever they fit', () => {
    const cuts = fc.array(sizes, { maxLength: 10 })
    fc.assert(
      fc.property(cuts, (unsorted) => {
        const tree = growingTree()
        const sorted = [...unsorted].sort((a, b) => a - b)
        for (const cut of sorted) {
          for (const node of nodesBetween(tree.size, cut)) tree.addNode(node.level, hashOf(node))
          tree.addLeaf(leafHash(entryOf(tree.size)))
          expect(tree.root()).to.deep.equal(numbered.root(0, tree.size))
        }
      }),
    )
  })

  it('refuses a subtree that does not begin where it ends', () => {
    fc.assert(
      fc.property(sizes, fc.integer({ min: -1, max: 60 }), (size, level) => {
        const tree = growingTree()
        for (const node of nodesBetween(0, size)) tree.addNode(node.level, hashOf(node))
        const add = () => tree.addNode(level, EMPTY_ROOT)
        const fits = level >= 0 && level < 53 && size % 2 ** level === 0
        if (fits) add()
        else expect(add).to.throw(RangeError)
        expect(tree.size).to.equal(fits ? size + 2 ** level : size)
      }),
    )
    for (const level of [0.5, Number.NaN, Infinity]) {
      expect(() => growingTree().addNode(level, EMPTY_ROOT)).to.throw(RangeError)
    }
  })
})

describe('The nodes between two leaves', () => {
  it('are the fewest that cover them', () => {
    fc.assert(
      fc.property(ranges, (range) => {
        expect(nodesBetween(...range)).to.deep.equal(cover(range, { level: 11, index: 0 }))
      }),
    )
  })

  it('are exact up to the largest size', () => {
    const to = Number.MAX_SAFE_INTEGER
    const levels = nodesBetween(0, to).map(({ level }) => level)
    expect(levels).to.deep.equal(Array.from({ length: 53 }, (_, at) => 52 - at))
    expect(nodesBetween(to - 1, to)).to.deep.equal([{ level: 0, index: to - 1 }])
  })

  it('are none where there is no leaf', () => {
    expect(nodesBetween(5, 5)).to.deep.equal([])
    expect(nodesBetween(6, 5)).to.deep.equal([])
  })

  it('are asked for with whole numbers only', () => {
    for (const bad of [-1, 0.5, Number.NaN, Infinity, 2 ** 53]) {
      expect(() => nodesBetween(bad, 10)).to.throw(RangeError)
      expect(() => nodesBetween(0, bad)).to.throw(RangeError)
    }
  })

  it('from 0 on have the root of the tree', () => {
    fc.assert(
      fc.property(sizes, (size) => {
        const hashes = nodesBetween(0, size).map(hashOf)
        expect(rootOf(hashes)).to.deep.equal(numbered.root(0, size))
      }),
    )
  })
})
