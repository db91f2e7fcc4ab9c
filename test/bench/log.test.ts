import { expect } from 'chai'
import { startProcess } from '../support/processes.ts'

describe('The measurement of the transparency log', function () {
  this.timeout(180_000)

  it('runs, with every answer right, and shows every figure', async () => {
    const { ended, out, err } = startProcess(process.execPath, ['bench/log.ts', '--quick'])
    expect(await ended, err.join('\n')).to.equal('code 0')
    for (const figure of [
      /^the writer, catching up with 8000 events: \d.* events\/s/,
      /^log_tiles: \d.* bytes/,
      /^log_bundles: \d.* bytes/,
      /^a proof from 20000 leaves, the longest file: \d.* bytes; met/,
      /^a proof from 20000 leaves, p99: \d.* ms/,
      /^node -e 0: \d.* ms; verify-audit\.mjs of a proof: \d.* ms/,
      /^writes beside which proofs are made: \d.* events\/s/,
      /^from the answer of a write to the proof of its event, p99: \d.* ms/,
    ]) {
      expect(out.join('\n')).to.match(new RegExp(figure.source, 'm'))
    }
  })
})
