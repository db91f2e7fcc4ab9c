import { expect } from 'chai'
import fc from 'fast-check'
import { tileProofs } from '../../src/transparency-log/tile-proofs.ts'
import {
  bundlePath,
  grownTiles,
  hashIn,
  parseBundlePath,
  parseTilePath,
  placeOf,
  type Tile,
  tilePath,
  widthAt,
} from '../../src/transparency-log/tiles.ts'
import { leafHash, type Node, nodesBetween } from '../../src/transparency-log/tree.ts'
import { flipped, hostileTexts, nearlyTexts } from './changed.ts'
import { numbered } from './naive-tree.ts'

/** All tiles of a tree, as tlog-tiles counts them: floor(s / 256^l) hashes at level l, 256 a tile. */
function tilesOf(size: number): readonly Tile[] {
  const tiles: Tile[] = []
  for (let level = 0, left = size; left > 0; level += 1, left = Math.floor(left / 256)) {
    for (let n = 0; n * 256 < left; n += 1) {
      tiles.push({ level, n, width: Math.min(256, left - n * 256) })
    }
  }
  return tiles
}

/** MTH(D[(n * 256 + i) * 256**l : (n * 256 + i + 1) * 256**l]) for every i. */
function hashesOf({ level, n, width }: Tile): Buffer {
  const leaves = 256 ** level
  const first = Array.from({ length: width }, (_, i) => (n * 256 + i) * leaves)
  return Buffer.concat(first.map((from) => numbered.root(from, from + leaves)))
}

const hashOf = ({ level, index }: Node) =>
  numbered.root(index * 2 ** level, (index + 1) * 2 ** level)

const EDGES = [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 70_000]
const sizes = fc.oneof(fc.nat({ max: 70_000 }), fc.constantFrom(...EDGES))
const someTiles = fc.record({
  level: fc.nat({ max: 63 }),
  n: fc.oneof(fc.nat({ max: 2000 }), fc.maxSafeNat()),
  width: fc.integer({ min: 1, max: 256 }),
})

describe('The path of a tile', () => {
  it('is that of tlog-tiles', () => {
    expect(tilePath({ level: 0, n: 1_234_067, width: 256 })).to.equal('0/x001/x234/067')
    expect(tilePath({ level: 4, n: 1_234_067, width: 8 })).to.equal('4/x001/x234/067.p/8')
    expect(tilePath({ level: 0, n: 0, width: 1 })).to.equal('0/000.p/1')
    expect(tilePath({ level: 1, n: 1000, width: 256 })).to.equal('1/x001/000')
    expect(bundlePath({ n: 1067, width: 256 })).to.equal('entries/x001/067')
    expect(bundlePath({ n: 273, width: 112 })).to.equal('entries/273.p/112')
  })

  it('is read as the tile that it was written for', () => {
    fc.assert(
      fc.property(someTiles, (tile) => {
        const { level: _, ...bundle } = tile
        expect(parseTilePath(tilePath(tile))).to.deep.equal(tile)
        expect(parseBundlePath(bundlePath(bundle))).to.deep.equal(bundle)
        expect(parseTilePath(bundlePath(bundle))).to.equal(null)
        expect(parseBundlePath(tilePath(tile))).to.equal(null)
      }),
    )
  })

  it('has one spelling', () => {
    const texts = fc.oneof(
      hostileTexts,
      nearlyTexts(someTiles.map(tilePath)),
      nearlyTexts(someTiles.map(bundlePath)),
      fc.string({
        unit: fc.constantFrom('0', '1', '9', 'x', '/', '.p/', 'entries'),
        maxLength: 12,
      }),
    )
    fc.assert(
      fc.property(texts, (text) => {
        const tile = parseTilePath(text)
        const bundle = parseBundlePath(text)
        expect(tile ? tilePath(tile) : text).to.equal(text)
        expect(bundle ? bundlePath(bundle) : text).to.equal(text)
      }),
      { numRuns: 2000 },
    )
  })

  const NUMBERS = [
    ...[
      '',
      '0',
      '00',
      '0000',
      'x000/001',
      '001/002',
      'x001',
      'x001/x002',
      'X001/002',
      '000/',
      '/000',
    ],
    ...['000.p', '000.p/', '000.p/0', '000.p/01', '000.p/256', '000.p/257', '000.p/1/2', '000.P/1'],
    ...['000 ', ' 000', '000\n', '\u0660\u0660\u0660', '-01', '0x1', '1e2', '000?', '../000'],
    // The first that is not exact, and one with another group of zeros in front of it.
    ...['x009/x007/x199/x254/x740/992', 'x000/x009/x007/x199/x254/x740/991', 'x001/'.repeat(9)],
  ]
  const LEVELS = [
    '',
    '00',
    '01',
    '64',
    '-1',
    '0x',
    '100',
    'data',
    'Entries',
    'entries ',
    'tile/0',
    ' 0',
  ]

  it('is refused in any other', () => {
    const tiles = [...LEVELS.map((level) => `${level}/000`), ...NUMBERS.map((n) => `0/${n}`)]
    expect(tiles.filter((path) => parseTilePath(path) !== null)).to.deep.equal([])
    const bundles = [
      ...LEVELS.map((level) => `${level}/000`),
      ...NUMBERS.map((n) => `entries/${n}`),
    ]
    expect(bundles.filter((path) => parseBundlePath(path) !== null)).to.deep.equal([])
    expect(parseTilePath('0/x009/x007/x199/x254/x740/991')).not.to.equal(null)
  })
})

describe('The tiles of a tree', () => {
  it('of 70,000 leaves are as wide as tlog-tiles says', () => {
    expect([0, 272, 273, 274].map((n) => widthAt(70_000, 0, n))).to.deep.equal([256, 256, 112, 0])
    expect([0, 1, 2].map((n) => widthAt(70_000, 1, n))).to.deep.equal([256, 17, 0])
    expect([0, 1].map((n) => widthAt(70_000, 2, n))).to.deep.equal([1, 0])
    expect(widthAt(70_000, 63, 0)).to.equal(0)
    expect([widthAt(256, 0, 0), widthAt(256, 1, 0)]).to.deep.equal([256, 1])
    expect(widthAt(0, 0, 0)).to.equal(0)
  })

  it('are all new in a tree that was empty', () => {
    fc.assert(
      fc.property(sizes, (size) => {
        expect(grownTiles(0, size)).to.deep.equal(tilesOf(size))
      }),
    )
  })

  it('that have grown are those that the smaller tree does not have', () => {
    const slow = fc.tuple(sizes, fc.nat({ max: 600 })).map(([from, more]) => [from, from + more])
    const growths = fc.oneof(slow, fc.tuple(sizes, sizes))
    fc.assert(
      fc.property(growths, (pair) => {
        const [from, to] = [Math.min(...pair), Math.max(...pair)]
        const before = new Set(tilesOf(from).map(tilePath))
        const grown = tilesOf(to).filter((tile) => !before.has(tilePath(tile)))
        expect(grownTiles(from, to)).to.deep.equal(grown)
        for (const { level, n, width } of grown) expect(widthAt(to, level, n)).to.equal(width)
      }),
      { numRuns: 200 },
    )
  })

  it('have every complete subtree', () => {
    fc.assert(
      fc.property(fc.nat({ max: 16 }), fc.nat(), (level, many) => {
        const node = { level, index: many % Math.floor(70_000 / 2 ** level) }
        const place = placeOf(node)
        const tile = hashesOf({ ...place, width: widthAt(70_000, place.level, place.n) })
        expect(hashIn(tile, place.start, place.count)).to.deep.equal(hashOf(node))
      }),
    )
  })

  it('have them at exact places in the largest trees', () => {
    const last = { level: 0, index: Number.MAX_SAFE_INTEGER - 1 }
    expect(placeOf(last)).to.deep.equal({ level: 0, n: 2 ** 45 - 1, start: 254, count: 1 })
    expect(placeOf({ level: 52, index: 0 })).to.deep.equal({ level: 6, n: 0, start: 0, count: 16 })
    expect(placeOf({ level: 7, index: 2 ** 46 - 1 })).to.deep.equal({
      level: 0,
      n: 2 ** 45 - 1,
      start: 128,
      count: 128,
    })
  })

  it('have no hash beyond their end', () => {
    const tile = hashesOf({ level: 0, n: 0, width: 7 })
    for (const [start, count] of [
      [7, 1],
      [6, 2],
      [0, 8],
      [-1, 1],
      [0.5, 1],
      [0, 3],
      [0, 0],
    ] as const) {
      expect(() => hashIn(tile, start, count), `${start} ${count}`).to.throw(RangeError)
    }
    expect(() => hashIn(tile.subarray(0, -1), 6, 1)).to.throw(RangeError)
  })
})

describe('Proofs from tiles', () => {
  /** Serves the tiles of one tree, and counts how often it is asked. */
  const served = (size: number) => {
    const calls: string[][] = []
    const read = async (tiles: readonly Pick<Tile, 'level' | 'n'>[]) => {
      calls.push(tiles.map(({ level, n }) => `${level}/${n}`))
      return tiles.map(({ level, n }) => hashesOf({ level, n, width: widthAt(size, level, n) }))
    }
    return { calls, proofs: tileProofs(read) }
  }

  const growths = fc
    .tuple(sizes, sizes)
    .map(([a, b]) => ({ from: Math.min(a, b), to: Math.max(a, b) }))

  it('are those of RFC 6962, also from the tiles of a tree that has grown', async () => {
    const claims = fc.tuple(growths, fc.nat(), fc.constantFrom(0, 1, 300))
    await fc.assert(
      fc.asyncProperty(claims, async ([{ from, to }, leaf, more]) => {
        const { proofs } = served(to + more)
        expect(await proofs.root(to)).to.deep.equal(numbered.root(0, to))
        if (from === 0) return
        const index = leaf % to
        expect(await proofs.inclusion(index, to)).to.deep.equal(numbered.path(index, 0, to))
        expect(await proofs.consistency(from, to)).to.deep.equal(numbered.proof(from, to))
      }),
    )
  })

  it('read each tile once, and all in one call', async () => {
    const { calls, proofs } = served(70_000)
    await proofs.root(70_000)
    await proofs.inclusion(65_000, 70_000)
    await proofs.consistency(300, 70_000)
    await proofs.nodes(nodesBetween(1, 70_000))
    expect(calls.length).to.equal(4)
    for (const tiles of calls) expect(tiles.length).to.equal(new Set(tiles).size)
    expect(calls[0]).to.have.members(['2/0', '1/1', '0/273'])
  })

  it('read nothing where there is nothing to prove', async () => {
    const { calls, proofs } = served(1)
    expect(await proofs.root(0)).to.deep.equal(numbered.root(0, 0))
    expect(await proofs.inclusion(0, 1)).to.deep.equal([])
    expect(await proofs.consistency(0, 1)).to.deep.equal([])
    expect(await proofs.consistency(1, 1)).to.deep.equal([])
    expect(await proofs.nodes([])).to.deep.equal([])
    expect(calls).to.deep.equal([])
  })

  const failed = (promise: Promise<unknown>) =>
    promise.then(
      () => null,
      (error: unknown) => error,
    )

  it('fail if a tile is missing or too short, or the tree has no such part', async () => {
    const { proofs } = served(300)
    expect(await failed(proofs.root(301))).to.be.instanceOf(RangeError)
    expect(await failed(proofs.inclusion(300, 300))).to.be.instanceOf(RangeError)
    expect(await failed(proofs.consistency(301, 300))).to.be.instanceOf(RangeError)
    expect(await failed(tileProofs(async () => []).root(3))).to.be.instanceOf(RangeError)
    const broken = tileProofs(() => Promise.reject(new Error('no tiles today')))
    expect(await failed(broken.root(3))).to.have.property('message', 'no tiles today')
  })

  it('have another root once a tile is changed', async () => {
    const bits = fc.nat({ max: 300 * 256 - 1 })
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 255 }), bits, async (size, bit) => {
        const tile = flipped(hashesOf({ level: 0, n: 0, width: size }), bit % (size * 256))
        expect(await tileProofs(async () => [tile]).root(size)).not.to.deep.equal(
          numbered.root(0, size),
        )
      }),
    )
  })

  it('serve any list of nodes', async () => {
    const { proofs } = served(70_000)
    const nodes = [...nodesBetween(3, 69_999), ...nodesBetween(3, 5)]
    expect(await proofs.nodes(nodes)).to.deep.equal(nodes.map(hashOf))
    expect(await proofs.nodes([{ level: 0, index: 5 }])).to.deep.equal([leafHash('entry 5')])
  })
})
