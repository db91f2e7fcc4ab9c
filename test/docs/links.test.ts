import { existsSync, globSync, readdirSync, statSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { expect } from 'chai'
import packageJson from '../../package.json' with { type: 'json' }
import { STATUS } from '../../src/http/errors.ts'
import { type ForReader, startForReader } from './for-reader.ts'
import { anchors, fences, literals, prose, read, rows, section } from './markdown.ts'

const DOCUMENTS = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...globSync('docs/**/*.md'),
].sort()

/** `path:line what`, for each place where something is found to be wrong. */
const places = (check: (path: string, text: string) => readonly string[]): readonly string[] =>
  DOCUMENTS.flatMap((path) => check(path, read(path)).map((what) => `${path}: ${what}`))

describe('The documentation', () => {
  it('links only to files and headings that are there', () => {
    const broken = places((path, text) =>
      links(text).filter((link) => {
        const [file = '', anchor] = link.split('#')
        const target = file === '' ? path : join(dirname(path), file)
        if (!existsSync(target)) return true
        return anchor !== undefined && !anchors(read(target)).includes(anchor)
      }),
    )
    expect(broken).to.deep.equal([])
  })

  it('can be found from the README, all of it', () => {
    const found = new Set(['README.md'])
    for (const path of found) {
      for (const link of links(read(path))) {
        const target = relative('.', join(dirname(path), link.replace(/#.*/, '') || '.'))
        if (target.endsWith('.md') && existsSync(target)) found.add(target)
        else if (existsSync(target) && statSync(target).isDirectory()) {
          const inside = readdirSync(target).map((name) => join(target, name))
          for (const file of inside) if (file.endsWith('.md')) found.add(file)
        }
      }
    }
    expect(DOCUMENTS.filter((path) => !found.has(path))).to.deep.equal([])
  })

  it('names only scripts that package.json has', () => {
    const scripts: Readonly<Record<string, string>> = packageJson.scripts
    const unknown = places((_path, text) =>
      [...text.matchAll(/\bnpm run (?:--?\w+ )*([a-z][\w:-]*)/g)]
        .filter(([, name = '']) => scripts[name] === undefined)
        .map(([command]) => command),
    )
    expect(unknown).to.deep.equal([])
  })

  it('names only files that are there', () => {
    const missing = places((_path, text) =>
      literals(prose(text))
        .filter((name) => /^(src|test|db|docs|cdk|bin|bench)\/[\w./-]+$/.test(name))
        .filter((name) => !existsSync(name)),
    )
    expect(missing).to.deep.equal([])
  })

  it('has blocks of JSON that are JSON', () => {
    const broken = places((_path, text) =>
      fences(text)
        .filter(({ language, code }) => language === 'json' && !isJson(code))
        .map(({ line }) => `line ${line}`),
    )
    expect(broken).to.deep.equal([])
  })
})

const links = (markdown: string): readonly string[] =>
  [...prose(markdown).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = '']) => target)
    .filter((target) => !/^[a-z]+:/.test(target))

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

describe('The table of variables', () => {
  const named = rows(read('docs/configuration.md')).flatMap(([names = '']) => literals(names))
  const known = variablesInSource()

  it('names each variable once', () => {
    expect(named.filter((name, at) => named.indexOf(name) !== at)).to.deep.equal([])
  })

  it('names every variable that the code reads', () => {
    expect(known.filter((name) => !named.includes(name))).to.deep.equal([])
  })

  it('names no other', () => {
    expect(named.filter((name) => !known.includes(name))).to.deep.equal([])
  })
})

describe("The API guide's table of errors", () => {
  it('has every code with its status, and no other', () => {
    const listed = rows(section(read('docs/api.md'), '## Errors')).map(([status, code]) => [
      code?.replaceAll('`', ''),
      Number(status),
    ])
    expect(Object.fromEntries(listed)).to.deep.equal(STATUS)
  })
})

/** Keys and quoted names in src/config.ts and those beside it, and what other files take out of an environment. */
function variablesInSource(): readonly string[] {
  const keys = globSync('src/*config.ts').flatMap((path) => [
    ...read(path).matchAll(/(?<=[{\s])([A-Z][A-Z0-9_]+):|'([A-Z]+_DB_[A-Z]+)'/g),
  ])
  const reads = globSync('src/**/*.ts').flatMap((path) => [
    ...read(path).matchAll(/\benv\.([A-Z][A-Z0-9_]+)/g),
  ])
  return [...new Set([...keys, ...reads].map(([, key, quoted]) => key ?? quoted ?? ''))].sort()
}

const NEXT = '-- next --'

/** An answer with one value in the place of each that differs from run to run. */
const withoutChance = (json: string): unknown =>
  JSON.parse(json, (key, value) => (/^(id|user_id)$|_at$/.test(key) ? key : value))

describe("The README's session", () => {
  let reader: ForReader

  before(async () => {
    reader = await startForReader()
  })
  after(() => reader.stop())

  it('works as printed, call by call, and answers what it says', async () => {
    const blocks = fences(section(read('README.md'), '## A session'))
    const proof = blocks.find(({ mark }) => mark === 'proof')
    const session = blocks.filter((block) => block !== proof)
    const calls = session.filter(({ language }) => language === 'sh').map(({ code }) => code)
    expect(calls[0]).to.match(/^API=http:\/\/127\.0\.0\.1:8080\/v1$/m)
    // Each call also says its status, apart from its answer.
    const spy = `curl() { command curl -sS -w '%{stderr}%{http_code}\\n' "$@"; }`
    const run = reader.run(`${spy}\n${calls.join(`\necho '${NEXT}'\n`)}`)
    expect(await run.ended).to.equal('code 0')
    const statuses = [201, 200, 201, 200, 200, 204, 200, 200, 200, 200, 200, 200]
    expect(run.err).to.deep.equal(statuses.map(String))

    const answers = run.out.join('\n').split(NEXT)
    const printed = session.flatMap(({ language, code }, at) =>
      language === 'json' ? [{ call: calls.indexOf(session[at - 1]?.code ?? ''), code }] : [],
    )
    expect(printed).to.have.lengthOf(3)
    for (const { call, code } of printed) {
      expect(withoutChance(answers[call] ?? '')).to.deep.equal(withoutChance(code))
    }
    expect(answers.at(-2)).to.match(/"status":"pending".*"version":5/)
    expect(answers.at(-1)).to.match(/"type":"TaskCompleted".*"type":"TaskDeleted"/)

    const check = reader.run(proof?.code ?? '')
    // 3 where the log does not cover all of it yet.
    expect(await check.ended, check.err.join('\n')).to.be.oneOf(['code 0', 'code 3'])
    for (const line of check.err) expect(line).to.match(/^NOT PROVEN: .*: not in the log of/)
  })
})
