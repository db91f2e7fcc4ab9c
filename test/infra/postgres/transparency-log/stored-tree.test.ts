import { expect } from 'chai'
import {
  type Leaf,
  storedTree,
} from '../../../../src/infra/postgres/transparency-log/stored-tree.ts'
import { readTiles } from '../../../../src/infra/postgres/transparency-log/tiles.ts'
import { tileProofs } from '../../../../src/transparency-log/tile-proofs.ts'
import { growingTree, leafHash } from '../../../../src/transparency-log/tree.ts'
import { type OpenLog, openLog } from '../../../support/open-log.ts'

describe('The stored tree', () => {
  let log: OpenLog
  before(async () => {
    log = await openLog()
  })
  after(() => log.stop())

  const leaf = (n: number): Leaf => ({ hash: leafHash(String(n)), place: [n + 1, 'task-1', n + 1] })

  it('grows over all levels of tiles, as it is read again each time', async () => {
    const whole = growingTree()
    for (const more of [1, 254, 1, 1, 65_535 - 257, 1, 1]) {
      const tree = await storedTree(log.query, whole.size)
      expect(tree.root()).to.eql(whole.root())
      for (let n = 0; n < more; n++) {
        tree.add(leaf(whole.size))
        whole.addLeaf(leaf(whole.size).hash)
      }
      await tree.write(log.query)
      expect([tree.size(), tree.root()]).to.eql([whole.size, whole.root()])
      expect(await tileProofs(readTiles(log.query)).root(whole.size)).to.eql(whole.root())
    }
    const { rows } = await log.root.query(`
      select level, count(*)::int as tiles, sum(length(hashes) / 32)::int as hashes from log_tiles
      group by level order by level`)
    expect(rows).to.eql([
      { level: 0, tiles: 257, hashes: 65_537 },
      { level: 1, tiles: 1, hashes: 256 },
      { level: 2, tiles: 1, hashes: 1 },
    ])
    const bundles = await log.root.query(
      'select count(*)::int as bundles, sum(jsonb_array_length(places))::int as places from log_bundles',
    )
    expect(bundles.rows).to.eql([{ bundles: 257, places: 65_537 }])
  }).timeout(60_000)
})
