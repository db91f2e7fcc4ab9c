import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import fc from 'fast-check'
import { AppError } from '../../../src/app/errors.ts'
import { keyPrefix, type ObjectKey, objectKey } from '../../../src/app/object-keys.ts'
import { signedObjects } from '../../../src/http/signed-objects.ts'
import { moveInto, removeEmptyUpTo } from '../../../src/infra/local/objects/directories.ts'
import { localStorage } from '../../../src/infra/local/objects/local-storage.ts'
import { objectStorageContract, photo, post } from '../../support/object-storage-contract.ts'
import { until } from '../../support/processes.ts'

const SECRET = 'a-secret-of-at-least-32-characters'
type Storage = ReturnType<typeof localStorage>

describe('Object storage in a directory', function () {
  this.timeout(120_000)
  let directory: string
  let server: Server
  let url: string
  let storage: Storage
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'tasktrail-objects-'))
    server = createServer((request, response) =>
      signedObjects('/objects', storage)(request, response),
    ).listen(0, '127.0.0.1')
    await once(server, 'listening')
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/objects`
    storage = localStorage({ directory, url, secret: SECRET })
  })
  after(async () => {
    server.closeAllConnections()
    server.close()
    await rm(directory, { recursive: true })
  })
  const files = async () => (await readdir(directory, { recursive: true })).sort()
  const drafts = () => readdir(join(directory, 'drafts'))

  objectStorageContract({ storage: () => storage, knowsChecksums: true })

  // After the uploads above.
  describe('when all is over', () => {
    it('has no draft left of any upload, refused or interrupted', async () => {
      await until(async () => (await drafts()).length === 0, 'the end of the drafts')
    })
  })

  it('leaves no directory of what was removed', async () => {
    const before = await files()
    const stored = await storage.put(
      { key: objectKey('deep', 'down', 'here', 'a'), contentType: 'image/png' },
      Buffer.from('x'),
    )
    expect(await files()).to.have.length.above(before.length + 3)
    await storage.remove(stored)
    expect(await files()).to.deep.equal(before)
  })

  it('removes drafts that a killed process has left, and none that may be written', async () => {
    const [old, young] = [join(directory, 'drafts/old'), join(directory, 'drafts/young')]
    await writeFile(old, 'x')
    await writeFile(young, 'x')
    await utimes(old, new Date(0), new Date(0))
    await storage.put({ key: objectKey('a'), contentType: 'image/png' }, Buffer.from('x'))
    expect(await drafts()).to.deep.equal(['young'])
    await rm(young)
  })

  it('writes and removes at the same time without losing a version', async () => {
    const key = objectKey('busy', 'a', 'b')
    const writeAndRemove = async () => {
      for (let round = 0; round < 20; round++) {
        const stored = await storage.put({ key, contentType: 'image/png' }, Buffer.from('x'))
        expect(await storage.head(key, stored.version)).to.not.equal(null)
        await storage.remove(stored)
      }
    }
    await Promise.all(Array.from({ length: 8 }, writeAndRemove))
    expect((await storage.list(keyPrefix('busy'))).versions).to.deep.equal([])
  })

  it('moves a version into a directory that others keep removing', async () => {
    const [root, place] = [join(directory, 'contended'), join(directory, 'contended/a/b')]
    await mkdir(root)
    let isOver = false
    const remover = async () => {
      while (!isOver) await removeEmptyUpTo(root, place)
    }
    const removers = [remover(), remover(), remover()]
    for (let at = 0; at < 2_000; at++) {
      const file = join(directory, `file-${at}`)
      await writeFile(file, 'x')
      moveInto(place, file, 'name')
      await rm(join(place, 'name'))
    }
    isOver = true
    await Promise.all(removers)
    await rm(root, { recursive: true })
  })

  it('reads nothing outside of its directory, whatever keys and versions say', async () => {
    await writeFile(join(directory, 'secret'), 'secret')
    const parts = fc.constantFrom('..', '.', '', '/', 'secret', 'objects', 'drafts', '\0', '%2e%2e')
    const texts = fc.oneof(
      fc.array(parts, { minLength: 1, maxLength: 6 }).map((words) => words.join('/')),
      fc.string({ unit: 'binary', maxLength: 20 }),
    )
    const law = fc.asyncProperty(texts, texts, async (key, version) => {
      expect(await storage.read({ key: key as ObjectKey, version }, 100)).to.equal(null)
      expect(await storage.read({ key: objectKey('a'), version }, 100)).to.equal(null)
      await storage.remove({ key: key as ObjectKey, version })
      expect(() => keyPrefix(key, '..')).to.throw(RangeError)
    })
    await fc.assert(law, { numRuns: 100 })
    expect(await readFile(join(directory, 'secret'), 'utf8')).to.equal('secret')
  })

  it('does not take the token of a download for an upload, nor the other way', async () => {
    const { facts, bytes } = photo(objectKey('photos', 'crossed'))
    const form = await storage.offerUpload(facts, 60)
    expect((await fetch(`${url}/${form.fields.token}`)).status).to.equal(403)
    const stored = await storage.put(facts, bytes)
    const what = { ...stored, contentType: 'image/png', fileName: 'a' } as const
    const download = await storage.offerDownload({ ...what, disposition: 'inline' }, 60)
    const token = download.slice(url.length + 1)
    expect(await post(form, bytes, { token })).to.equal(403)
  })

  it('takes no token that was signed with another secret', async () => {
    const stranger = localStorage({ directory, url, secret: `${SECRET}!` })
    const { facts, bytes } = photo(objectKey('photos', 'foreign'))
    expect(await post(await stranger.offerUpload(facts, 60), bytes)).to.equal(403)
    expect(await storage.head(facts.key)).to.equal(null)
  })

  it('answers a download so that a browser takes it for nothing else', async () => {
    const stored = await storage.put(
      { key: objectKey('a'), contentType: 'text/html' },
      Buffer.from('<script>'),
    )
    const what = { ...stored, contentType: 'image/png', fileName: 'a.png' } as const
    const response = await fetch(
      await storage.offerDownload({ ...what, disposition: 'inline' }, 60),
    )
    expect(Object.fromEntries(response.headers)).to.include({
      'content-type': 'image/png',
      'content-disposition': `inline; filename="a.png"; filename*=UTF-8''a.png`,
      'x-content-type-options': 'nosniff',
      'content-security-policy': "sandbox; default-src 'none'",
      'cache-control': 'private, no-store',
    })
    await response.arrayBuffer()
  })

  it('stops an upload at the first byte too many', async () => {
    const { facts } = photo(objectKey('photos', 'endless'))
    const { fields } = await storage.offerUpload(facts, 60)
    let sent = 0
    const endless = async function* () {
      for (;;) {
        sent += 100
        yield Buffer.alloc(100)
        if (sent > 2_000) return
      }
    }
    const given = new Map(Object.entries(fields))
    expect(await storage.receive(given, endless())).to.equal('too_large')
    expect(sent).to.equal(1_100)
  })

  it('refuses what is no form', async () => {
    const send = async (type: string, body: string, method = 'POST') => {
      const response = await fetch(url, { method, body, headers: { 'Content-Type': type } })
      return [response.status, /<Code>(\w+)</.exec(await response.text())?.[1]]
    }
    const { facts } = photo(objectKey('photos', 'malformed'))
    const { token } = (await storage.offerUpload(facts, 60)).fields
    const part = (name: string, more = '') =>
      `--B\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n`
    const field = `${part('token')}${token}\r\n`
    const multipart = 'multipart/form-data; boundary=B'
    const malformed = [400, 'MalformedPOSTRequest']
    expect(await send('application/json', '{}')).to.deep.equal(malformed)
    expect(await send('multipart/form-data', 'x')).to.deep.equal(malformed)
    expect(await send(multipart, `${field}--B--\r\n`)).to.deep.equal(malformed)
    expect(await send(multipart, field)).to.deep.equal(malformed)
    const file = `${part('file', '; filename="a"')}x\r\n--B--\r\n`
    expect(await send(multipart, `${field}${field}${file}`)).to.deep.equal(malformed)
    expect(await send(multipart, `${field}${file}`)).to.deep.equal([400, 'EntityTooSmall'])
    const otherName = `${field}${part('photo', '; filename="a"')}x\r\n--B--\r\n`
    expect(await send(multipart, otherName)).to.deep.equal(malformed)
    const tokenLast = `${part('file', '; filename="a"')}x\r\n${field}--B--\r\n`
    expect(await send(multipart, tokenLast)).to.deep.equal([403, 'AccessDenied'])
    expect(await send(multipart, 'x', 'PUT')).to.deep.equal([405, 'MethodNotAllowed'])
    expect(await storage.head(facts.key)).to.equal(null)
  })

  it('is unavailable when the directory cannot be used', async () => {
    const file = join(directory, 'a-file')
    await writeFile(file, 'x')
    const broken = localStorage({ directory: file, url, secret: SECRET })
    const key = objectKey('photos', 'a')
    const calls = [
      broken.ping(),
      broken.put({ key, contentType: 'image/png' }, Buffer.from('x')),
      broken.head(key),
      broken.list(keyPrefix('photos')),
    ]
    for (const outcome of await Promise.allSettled(calls)) {
      expect(outcome).to.have.property('reason').that.is.instanceOf(AppError)
      expect(outcome).to.have.nested.property('reason.code', 'storage_unavailable')
    }
    await mkdir(join(directory, 'objects'), { recursive: true })
  })
})
