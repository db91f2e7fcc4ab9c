import { expect } from 'chai'
import { startProcess } from '../support/processes.ts'

describe('The measurement of thumbnails', function () {
  this.timeout(120_000)

  it('runs in every format, and shows every figure', async () => {
    const { ended, out, err } = startProcess(process.execPath, ['bench/thumbnails.ts', '--quick'])
    expect(await ended, err.join('\n')).to.equal('code 0')
    for (const format of [
      'jpeg',
      'jpeg, progressive',
      'jpeg, on its side',
      'png',
      'webp',
      'avif',
    ]) {
      expect(out.join('\n')).to.match(
        new RegExp(
          `^${format}, 800 x 600, [\\d.]+ MB: median \\d+ ms, CPU \\d+ ms; ` +
            'in a process of its own \\d+ ms, at most [\\d.]+ MB$',
          'm',
        ),
      )
    }
  })
})
