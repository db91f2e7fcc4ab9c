import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { expect } from 'chai'
import { startProcess } from '../support/processes.ts'
import { type ForReader, startForReader } from './for-reader.ts'
import { type Fence, fences, read, section } from './markdown.ts'

const page = read('docs/proof.md')

/** One word in the place of each that differs from run to run. */
const withoutChance = (lines: readonly string[]): readonly string[] =>
  lines.map((line) =>
    line
      .replace(/\b[0-9a-f]{64}\b/g, 'HASH')
      .replace(/[\w+/]{43}=/g, 'ROOT')
      .replace(/\+[0-9a-f]{8}\b/g, '+ID')
      .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
      // Logins and looks are leaves too, one or more of them together.
      .replace(/\b\d+( of)? (\d+ )?leaves/g, 'N leaves')
      .replace(/leaf \d+/g, 'leaf N')
      .replace(/in the log: \d+/, 'in the log: N'),
  )

describe("docs/proof.md's worked example", () => {
  let reader: ForReader

  before(async () => {
    reader = await startForReader()
  })
  after(() => reader.stop())

  it('works as printed, and answers what it says', async () => {
    const blocks = fences(section(page, '## A worked example'))
    const script = blocks.flatMap(({ language, code }) => (language === 'sh' ? [code] : []))
    expect(script[0]).to.match(/^API=http:\/\/127\.0\.0\.1:8080\/v1$/m)
    const run = reader.run(`exec 2>&1\n${script.join('\n')}`)
    const ended = await run.ended
    expect(ended, run.out.join('\n')).to.equal('code 0')
    const printed = blocks.flatMap(({ language, code }) =>
      language === 'text' ? code.split('\n') : [],
    )
    expect(printed).to.have.length.above(20)
    expect(withoutChance(run.out)).to.deep.equal(withoutChance(printed))
  })
})

describe("docs/proof.md's proof file", () => {
  const blocks = fences(section(page, '## A proof file'))
  const marked = (mark: string): Fence => {
    const block = blocks.find((block) => block.mark === mark)
    if (block === undefined) throw new Error(`there is no <!-- ${mark} -->`)
    return block
  }
  let directory: string

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'tasktrail-proof-'))
    const [key, witness] = marked('sample keys').code.split('\n')
    await writeFile(join(directory, 'sample.key'), `${key}\n`)
    await writeFile(join(directory, 'witness.key'), `${witness}\n`)
  })
  afterEach(() => rm(directory, { recursive: true, force: true }))

  const check = async (file: string) => {
    await writeFile(join(directory, 'sample.tlog-proof'), file)
    const { code } = marked('sample check')
    const script = code.replace('verify-audit.mjs', `'${resolve('verify-audit.mjs')}'`)
    const run = startProcess('bash', ['-euc', script], { cwd: directory })
    return { ended: await run.ended, out: run.out, err: run.err }
  }

  it('checks with the printed keys, as printed', async () => {
    const printed = blocks[blocks.indexOf(marked('sample check')) + 1]?.code.split('\n')
    const file = `${marked('sample').code}\n`
    expect(await check(file)).to.deep.equal({ ended: 'code 0', out: printed, err: [] })
  })

  it('does so no more when it says something else', async () => {
    const file = `${marked('sample').code}\n`
    expect((await check(file.replace('index 2', 'index 3'))).ended).to.equal('code 1')
  })

  it('has the entry that the text says', () => {
    const [, extra = ''] = marked('sample').code.match(/^extra (.*)$/m) ?? []
    const entry = Buffer.from(extra, 'base64').toString()
    const said = section(page, '## A proof file').match(/`(\{"hash":"\w+…".*?\})`/)?.[1] ?? ''
    expect(entry.replace(/(?<="hash":"\w{8})\w+/, '…')).to.equal(said)
  })
})
