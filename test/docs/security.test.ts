import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { IRREPLACEABLE } from '../../src/infra/postgres/connection/migrations.ts'
import { literals, read, rows, section } from './markdown.ts'

const page = read('docs/security.md')
const threats = rows(section(page, '## Threats'))

const asvs = rows(section(page, '## ASVS 5, level 2: authentication, sessions, recovery'))

const titlesIn = (file: string): readonly string[] =>
  [...readFileSync(file, 'utf8').matchAll(/^\s*it\(\s*(['"`])(.*?)\1,/gms)].map(
    ([, , title]) => title ?? '',
  )

describe('docs/security.md', () => {
  it('numbers its threats one after the other', () => {
    expect(threats.length).to.be.greaterThan(20)
    expect(threats.map(([id]) => id)).to.deep.equal(threats.map((_, index) => `S${index + 1}`))
  })

  const named = [
    ...threats.map(([id = '', , , tests = '']) => [id, tests] as const),
    ...asvs.flatMap(([id = '', , tests = '']) => (tests === '' ? [] : [[id, tests] as const])),
  ]
  for (const [id, tests] of named) {
    it(`names tests for ${id} that are there`, () => {
      for (const test of tests.split('<br>')) {
        const [, file = '', title = ''] = test.match(/^`(test\/[\w/-]+\.test\.ts)` › (.+)$/) ?? []
        expect(file, `a test that cannot be read: ${test}`).to.not.equal('')
        expect(titlesIn(file), file).to.include(title)
      }
    })
  }

  it('says of each row of ASVS which test or document shows it, or why none does', () => {
    expect(asvs.length).to.be.greaterThan(50)
    for (const [id, , tests, remarks] of asvs) expect(`${tests}${remarks}`, id).to.not.equal('')
  })

  it('says of each table what bounds it', () => {
    const bounded = rows(section(page, '## What grows, and what bounds it')).flatMap(
      ([names = '']) => literals(names),
    )
    expect(bounded).to.include.members([...IRREPLACEABLE])
    const made = readFileSync('test/infra/postgres/roles.test.ts', 'utf8')
      .match(/const REPLACEABLE = \[.*?\n\]/s)?.[0]
      .matchAll(/'(\w+)'/g)
    const replaceable = [...(made ?? [])].map(([, table]) => table)
    expect(replaceable).to.have.length.above(5)
    expect(bounded).to.have.members([...IRREPLACEABLE, ...replaceable])
  })
})
