import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect } from 'chai'
import { loadGenerator } from '../../bench/compare/load.ts'
import { hasPeers } from '../../bench/compare/peers.ts'
import { misses, ratio } from '../../bench/compare/results.ts'
import { startProcess } from '../support/processes.ts'
import { skipped } from '../support/skipped.ts'

/** A service that answers like this, under load. */
async function underLoad(status: number, text: string) {
  const server = createServer((_request, response) => response.writeHead(status).end(text))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const expects = { status: 200, text: 'right' }
  const request = { method: 'GET', path: '/', headers: {}, expects } as const
  const generator = loadGenerator()
  try {
    const peak = await generator.run({ url, seconds: 1, connections: [[request]] })
    const paced = await generator.run({ url, seconds: 1, connections: [[request]], rate: 50 })
    return { peak, paced }
  } finally {
    generator.stop()
    server.closeAllConnections()
    server.close()
  }
}

const failure = (load: Promise<unknown>) =>
  load.then(
    () => null,
    ({ message }) => message,
  )

describe('The comparison with other ways to write the API', function () {
  this.timeout(300_000)

  before(function () {
    if (!hasPeers()) skipped(this, 'the peers want npm ci --prefix bench/peers')
  })

  it('runs, with every answer right, and shows every figure', async () => {
    const { ended, out, err } = startProcess(process.execPath, ['bench/compare.ts', '--quick'])
    expect(await ended, err.join('\n')).to.equal('code 0')
    for (const figure of [
      ...['read one', 'list', 'create', 'change'].map((name) => new RegExp(`^${name} \\(`)),
      ...['tasktrail', 'ordinary', 'tuned', 'emmett', 'koa'].map(
        (name) => new RegExp(`^${name} +\\d`),
      ),
      /^catch-up +emmett +\d/,
      /^append +pgbench +\d|^skipped: the append/,
    ]) {
      expect(
        out.some((line) => figure.test(line)),
        `${figure} in\n${out.join('\n')}`,
      ).to.equal(true)
    }
  })

  it('counts nothing when an answer is not the right one, or not a success', async () => {
    const { peak, paced } = await underLoad(200, 'right')
    expect(peak.requests).to.be.above(100)
    expect(paced.rate).to.be.within(40, 55)
    expect(await failure(underLoad(200, 'wrong'))).to.match(/answers are wrong\n.*200 wrong/)
    expect(await failure(underLoad(503, 'right'))).to.match(/answers are wrong\n.*503 right/)
  })

  it('does not hide a figure that misses what is wanted', () => {
    const met = ratio('list', 'tuned', [20, 30, 25], [10, 10, 20], 2)
    expect(met).to.include({ ratio: 2.5 })
    expect(met.spread).to.deep.equal([1.25, 3])
    expect(misses(met)).to.equal(false)
    expect(misses({ ...met, ratio: 1.99 })).to.equal(true)
    expect(misses({ ...met, ratio: Number.NaN })).to.equal(true)
  })
})
