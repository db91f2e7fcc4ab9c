import { readFileSync } from 'node:fs'
import { expect } from 'chai'

const CRITERIA = [1, 2, 3, 4, 5, 7, 9, 11, 12].flatMap((requirement) =>
  [1, 2, 3, 4, 5].map((criterion) => `${requirement}.${criterion}`),
)
/** Of the story of photos, edge and Redis. */
const OF_STORY = [1, 2, 3, 4, 5, 6, 7, 8].map((criterion) => `AC ${criterion}`)

/** The rows of docs/requirements.md: for each criterion the tests that it names. */
const rows = readFileSync('docs/requirements.md', 'utf8')
  .split('\n')
  .flatMap((line) => {
    const [, criterion, , tests] = line.split(/ ?\| ?/)
    if (criterion === undefined || !/^(\d+\.\d|AC \d)$/.test(criterion)) return []
    const named = (tests ?? '').split('<br>').map((test) => {
      const [, file = '', title = ''] = test.match(/^`(test\/[\w/-]+\.test\.ts)` › (.+)$/) ?? []
      return { file, title }
    })
    return [{ criterion, named }]
  })

/** What makes mocha pass tests over, which it counts as fine. */
const PASSES_OVER =
  /\b(?:x(?:describe|context|it|specify)|(?:describe|context|it|specify|this)\.skip)\b/

const titlesIn = (file: string): readonly string[] =>
  [...readFileSync(file, 'utf8').matchAll(/^\s*it\(\s*(['"`])(.*?)\1,/gms)].map(
    ([, , title]) => title ?? '',
  )

describe('docs/requirements.md', () => {
  it('has every acceptance criterion of requirements 1 to 5, 7, 9, 11 and 12, and of the story', () => {
    expect(rows.map(({ criterion }) => criterion)).to.deep.equal([...CRITERIA, ...OF_STORY])
  })

  for (const criterion of [...CRITERIA, ...OF_STORY]) {
    it(`names tests for ${criterion} that are there`, () => {
      const named = rows.find((row) => row.criterion === criterion)?.named ?? []
      expect(named).to.have.length.above(0)
      for (const { file, title } of named) {
        expect(file, 'a row that cannot be read').to.not.equal('')
        expect(titlesIn(file), file).to.include(title)
        const some = PASSES_OVER.exec(readFileSync(file, 'utf8'))?.[0]
        expect(some, `${file} passes tests over`).to.equal(undefined)
      }
    })
  }
})
