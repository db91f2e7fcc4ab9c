import { expect } from 'chai'
import { PHOTO_PLACE } from '../support/photo-place.ts'
import { startProcess } from '../support/processes.ts'

describe('The measurement of uploads', function () {
  this.timeout(180_000)

  it(`runs, without an error, and shows every figure: ${PHOTO_PLACE}`, async () => {
    const { ended, out, err } = startProcess(process.execPath, ['bench/uploads.ts', '--quick'])
    expect(await ended, err.join('\n')).to.equal('code 0')
    for (const figure of [
      /^24 uploads of 0\.\d MB, 16 in flight, to .+: 0 errors, [\d.]+ uploads\/s$/,
      /^offer: median \d+ ms, p99 \d+ ms$/,
      /^upload: median \d+ ms, p99 \d+ ms$/,
      /^complete: median \d+ ms, p99 \d+ ms$/,
      /^task-service: \d+ MB before, \d+ MB at most, \d+ MB after; .*; [\d.]+ ms of CPU an upload$/,
      /^worker: \d+ photos got thumbnails meanwhile; [\d.]+ ms of CPU an upload$/,
    ]) {
      expect(out.join('\n')).to.match(new RegExp(figure.source, 'm'))
    }
  })
})
