import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import vm from 'node:vm'
import { expect } from 'chai'
import { jpeg } from '../support/photos.ts'
import { until } from '../support/processes.ts'
import { type ForReader, startForReader } from './for-reader.ts'
import { fences, read, section } from './markdown.ts'

const page = read('docs/photos.md')

const code = (text: string, language: string): string =>
  fences(text)
    .flatMap((block) => (block.language === language ? [block.code] : []))
    .join('\n')

/** What the README does before: an account, a token and a task. */
const SESSION = `
API=
curl -sS -X POST $API/auth/register -H 'Content-Type: application/json' \
  -d '{"username":"ada","email":"ada@example.com","password":"engines-of-analysis"}' > /dev/null
TOKEN=$(curl -s -X POST $API/auth/login -H 'Content-Type: application/json' \
  -d '{"username":"ada","password":"engines-of-analysis"}' | sed 's/.*"token":"\\([^"]*\\)".*/\\1/')
TASK=$(curl -s -X POST $API/tasks -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
  -d '{"title":"Kitchen"}' | sed 's/.*"id":\\([0-9]*\\).*/\\1/')
`

describe("docs/photos.md's examples", function () {
  this.timeout(120_000)
  let reader: ForReader
  let token: string

  before(async () => {
    reader = await startForReader()
    await writeFile(join(reader.directory, 'kitchen.jpg'), await jpeg())
  })
  after(() => reader?.stop())

  const get = async (path: string) => {
    const headers = { authorization: `Bearer ${token}` }
    return (await fetch(`${reader.api}${path}`, { headers })).json() as Promise<{
      photos: { name: string; thumbnails: null | { small: { width: number } } }[]
    }>
  }

  it('work with curl as printed', async () => {
    const script = code(section(page, '## With curl'), 'sh')
    const run = reader.run(`${SESSION}\n${script}\necho; echo "token: $TOKEN"`)
    const ended = await run.ended
    const out = run.out.join('\n')
    expect(ended, `${out}\n${run.err.join('\n')}`).to.equal('code 0')
    expect(out).to.match(/^204$/m)
    expect(out).to.include('the same')
    token = /token: (\S+)/.exec(out)?.[1] ?? ''
    const { photos } = await get('/tasks/1/photos')
    expect(photos.map(({ name }) => name)).to.deep.equal(['kitchen.jpg'])
  })

  it('work in a browser as printed', async () => {
    const script = code(section(page, '## In a browser'), 'js')
    const bytes = await jpeg(1)
    const context = {
      API: reader.api,
      token,
      fetch,
      FormData,
      Uint8Array,
      JSON,
      crypto,
      Promise,
      Error,
    }
    const addPhoto = vm.runInNewContext(`${script}; addPhoto`, context)
    await addPhoto(new File([Uint8Array.from(bytes)], 'sink.jpg', { type: 'image/jpeg' }), 1)
    const { photos } = await get('/tasks/1/photos')
    expect(photos.map(({ name }) => name)).to.deep.equal(['kitchen.jpg', 'sink.jpg'])
  })

  it('have thumbnails a moment later', async () => {
    const made = async () => {
      const { photos } = await get('/tasks/1/photos')
      return photos.every(({ thumbnails }) => thumbnails !== null)
    }
    await until(made, 'the thumbnails')
  })
})
