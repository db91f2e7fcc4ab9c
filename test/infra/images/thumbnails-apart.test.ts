import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { thumbnailsApart } from '../../../src/infra/images/thumbnails-apart.ts'
import { blackPng, photograph, plain } from '../../support/images.ts'
import { until } from '../../support/processes.ts'

const PROGRAM = fileURLToPath(new URL('../../../src/thumbnails.ts', import.meta.url))

describe('A process for the thumbnails of each image', function () {
  this.timeout(60_000)
  let directory: string
  let image: Buffer
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'tasktrail-apart-'))
    image = await plain(500, 400).jpeg().toBuffer()
  })
  after(() => rm(directory, { recursive: true }))

  /** With a program that does this when it is sent an image. */
  const doing = async (statement: string, patienceMs?: number) => {
    const program = join(directory, `${Math.random()}.mjs`)
    await writeFile(program, `process.once('message', (image) => { ${statement} })\n`)
    return thumbnailsApart({ program, ...(patienceMs !== undefined && { patienceMs }) })
  }
  const failing = async (statement: string) =>
    (await doing(statement))(image).then(
      () => expect.fail('no failure'),
      (error: Error) => error.message,
    )

  it('makes them', async () => {
    const made = await thumbnailsApart({ program: PROGRAM })(image)
    if (typeof made === 'string') throw new Error(made)
    expect(made.small).to.include({ width: 320, height: 256 })
    expect(made.large).to.include({ width: 500, height: 400 })
    expect(Buffer.from(made.small.bytes).toString('latin1', 0, 4)).to.equal('RIFF')
  })

  it('says what cannot be decoded, and what is too large', async () => {
    const thumbnails = thumbnailsApart({ program: PROGRAM })
    expect(await thumbnails(image.subarray(0, image.length / 2))).to.equal('not_decodable')
    expect(await thumbnails(Buffer.from('GIF89a'))).to.equal('not_decodable')
    expect(await thumbnails(blackPng(20_000, 20_000))).to.equal('too_many_pixels')
  })

  it('survives an image that ends the other one', async () => {
    const crashing = await doing(`process.kill(process.pid, 'SIGSEGV')`)
    expect(await crashing(image)).to.equal('not_decodable')
  })

  it('does not wait for an image that stops the other one', async () => {
    const hanging = await doing('for (;;) {}', 500)
    expect(await hanging(image)).to.equal('not_decodable')
  })

  it('is not to blame an image for a fault of ours', async () => {
    expect(await failing('process.exit(3)')).to.equal('no thumbnails: it ended with code 3')
    expect(await failing(`process.send({ fault: 'no space' })`)).to.equal('no thumbnails: no space')
    const missing = thumbnailsApart({ program: join(directory, 'is-not-there.mjs') })
    const refused = await missing(image).catch((error: Error) => error.message)
    expect(refused).to.equal('no thumbnails: it ended with code 1')
  })

  it('knows nothing of our environment', async () => {
    process.env.A_SECRET_OF_OURS = 'do not tell'
    try {
      const seen = await failing('process.send({ fault: Object.keys(process.env).join() })')
      expect(seen)
        .to.match(/^no thumbnails: [\w,]*$/)
        .and.not.contain('A_SECRET_OF_OURS')
    } finally {
      delete process.env.A_SECRET_OF_OURS
    }
  })

  it('is one at a time, and gone afterwards', async () => {
    const alive = JSON.stringify(join(directory, 'alive'))
    const thumbnails = await doing(`
      const { rmSync, writeFileSync } = process.getBuiltinModule('node:fs')
      writeFileSync(${alive}, '', { flag: 'wx' })
      setTimeout(() => {
        rmSync(${alive})
        process.send({ small: { bytes: image, width: process.pid, height: 1 } })
      }, 100)`)
    const made = await Promise.all([image, image, image].map((one) => thumbnails(one)))
    const pids = made.map((answer) => (typeof answer === 'string' ? 0 : answer.small.width))
    expect(new Set(pids).size).to.equal(3)
    for (const pid of pids) expect(() => process.kill(pid, 0)).to.throw('ESRCH')
  })

  it('ends with the one that has started it, and before it if memory is short', async () => {
    const stdio = ['ignore', 'ignore', 'ignore', 'ipc'] as const
    const child = fork(PROGRAM, [], { env: {}, serialization: 'advanced', stdio: [...stdio] })
    const ended = once(child, 'exit')
    if (process.platform === 'linux') {
      const score = `/proc/${child.pid}/oom_score_adj`
      await until(() => readFileSync(score, 'utf8') === '1000\n', 'the worst score')
    }
    const large = await photograph(2_000, 1_500).jpeg().toBuffer()
    child.send(large, () => child.disconnect())
    expect(await ended).to.deep.equal([0, null])
  })
})
