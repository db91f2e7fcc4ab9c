import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect } from 'chai'
import { strengthApart } from '../../../src/infra/credentials/strength-apart.ts'

/** Says that it is ready, and then what it was asked. */
const PROGRAM = `
const { parentPort } = require('node:worker_threads')
parentPort.on('message', ([password, own]) => {
  if (password === 'end') process.exit()
  if (password === 'throw') throw new Error('broken')
  parentPort.postMessage({ asked: password, own })
})
parentPort.postMessage('ready')`

const codeOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    (said) => said,
    (error) => error.code,
  )

describe('The thread that estimates passwords', () => {
  let directory: string
  let program: URL

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'tasktrail-strength-'))
    program = pathToFileURL(join(directory, 'thread.cjs'))
    await writeFile(program, PROGRAM)
  })
  after(() => rm(directory, { recursive: true }))

  it('answers each question about the password that was asked about', async () => {
    const strength = strengthApart(program)
    const texts = Array.from({ length: 20 }, (_, n) => `password ${n}`)
    const said = await Promise.all(texts.map((text) => strength(text, [text])))
    expect(said).to.deep.equal(texts.map((text) => ({ asked: text, own: [text] })))
  })

  for (const fault of ['end', 'throw']) {
    it(`is begun anew after it has come to its end: ${fault}`, async () => {
      const strength = strengthApart(program)
      const said = await Promise.all([
        codeOf(strength(fault, [])),
        codeOf(strength('the next one', [])),
      ])
      expect(said).to.deep.equal(['hashing_busy', { asked: 'the next one', own: [] }])
    })
  }
})
