import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { expect } from 'chai'
import fc from 'fast-check'
import { type KeyPrefix, keyPrefix, type ObjectKey, objectKey } from '../../src/app/object-keys.ts'
import type {
  ListedVersion,
  ObjectFacts,
  ObjectStorage,
  UploadForm,
} from '../../src/app/ports/object-storage.ts'
import { until } from './processes.ts'

export const sha256 = (bytes: Uint8Array): string =>
  createHash('sha256').update(bytes).digest('hex')

/** The `bytes` of a photo that nobody has taken, and what is said of them. */
export function photo(key: ObjectKey, size = 1_000): { facts: ObjectFacts; bytes: Buffer } {
  const bytes = randomBytes(size)
  return { facts: { key, contentType: 'image/jpeg', size, sha256: sha256(bytes) }, bytes }
}

/** As a browser sends it; `fields` in the place of the form's own. */
export async function post(
  { url, fields }: UploadForm,
  bytes: Uint8Array,
  changed: Readonly<Record<string, string>> = fields,
): Promise<number> {
  const body = new FormData()
  for (const [name, value] of Object.entries(changed)) body.append(name, value)
  // The type and name of the part say nothing.
  body.append('file', new Blob([Uint8Array.from(bytes)], { type: 'text/html' }), '../../page.html')
  const response = await fetch(url, { method: 'POST', body })
  await response.arrayBuffer()
  return response.status
}

const REFUSED = [400, 403, 404]

/** Another character in its place. */
const altered = (text: string, at: number): string =>
  text.slice(0, at) + (text[at] === 'z' ? 'y' : 'z') + text.slice(at + 1)

const arbitraryKey = fc
  .array(fc.stringMatching(/^[a-z0-9_-][a-z0-9._-]{0,30}$/), { minLength: 1, maxLength: 4 })
  .map((segments) => segments as readonly string[])

/** Names of files as people and attackers write them. */
export const arbitraryFileName = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc
    .array(
      fc.constantFrom(
        '"',
        '\\',
        ';',
        '\r\n',
        '\0',
        '/',
        '..',
        '%0d%0a',
        '%',
        "'",
        '\u202e',
        'é',
        'a',
        '\ud800',
      ),
      { maxLength: 20 },
    )
    .map((parts) => parts.join('')),
)

export type ObjectStorageFacts = {
  readonly storage: () => ObjectStorage
  /** It compares an upload with the checksum in its form, and tells checksums. */
  readonly knowsChecksums: boolean
  /** Fields of a form that it does not look at. */
  readonly unread?: readonly string[]
}

/** The laws of the ObjectStorage port; every implementation obeys all of them. */
export function objectStorageContract({
  storage,
  knowsChecksums,
  unread = [],
}: ObjectStorageFacts): void {
  const place = () => `test-${randomUUID()}`
  const newKey = () => objectKey('photos', place())
  const all = async (prefix: KeyPrefix) => {
    const versions: ListedVersion[] = []
    let next: string | undefined
    do {
      const page = await storage().list(prefix, next)
      versions.push(...page.versions)
      next = page.next ?? undefined
    } while (next !== undefined)
    return versions
  }
  const jpeg = (key: ObjectKey) => ({ key, contentType: 'image/jpeg' })
  const offer = (facts: ObjectFacts, seconds = 300) => storage().offerUpload(facts, seconds)
  const download = (key: ObjectKey, version: string, seconds = 60) =>
    storage().offerDownload(
      { key, version, contentType: 'image/png', disposition: 'inline', fileName: 'photo.png' },
      seconds,
    )

  it('answers', () => storage().ping())

  it('knows nothing of a key that was never written', async () => {
    const key = newKey()
    expect(await storage().head(key)).to.equal(null)
    expect(await storage().read({ key, version: randomUUID() }, 10)).to.equal(null)
    expect(await storage().checksum({ key, version: randomUUID() })).to.equal(null)
    expect(await storage().list(keyPrefix(key))).to.deep.equal({ versions: [], next: null })
    expect(await storage().removeSome(keyPrefix(key))).to.deep.equal({ more: false })
  })

  it('gives back what was put, and says what it is', async () => {
    const { facts, bytes } = photo(newKey())
    const before = Date.now()
    const { version } = await storage().put(jpeg(facts.key), bytes)
    const { modified, ...head } = (await storage().head(facts.key)) ?? { modified: '' }
    const sum = knowsChecksums ? facts.sha256 : null
    expect(head).to.deep.equal({ version, size: 1_000, contentType: 'image/jpeg', sha256: sum })
    expect(Date.parse(modified)).to.be.within(before - 2_000, Date.now() + 2_000)
    expect(await storage().read({ key: facts.key, version }, 1_000)).to.deep.equal(bytes)
    expect(await storage().checksum({ key: facts.key, version })).to.equal(facts.sha256)
  })

  it('keeps each version as it was, and shows the newest', async () => {
    const key = newKey()
    const versions: string[] = []
    for (const word of ['one', 'two', 'three']) {
      versions.push((await storage().put(jpeg(key), Buffer.from(word))).version)
    }
    expect(new Set(versions).size).to.equal(3)
    const words = await Promise.all(
      versions.map((version) => storage().read({ key, version }, 100)),
    )
    expect(words.map(String)).to.deep.equal(['one', 'two', 'three'])
    expect(await storage().head(key)).to.include({ version: versions[2], size: 5 })
    expect(await storage().head(key, versions[0])).to.include({ version: versions[0], size: 3 })
  })

  it('reads as much of the beginning as is asked for', async () => {
    const key = newKey()
    const sizes = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 200_000 }))
    const law = fc.asyncProperty(sizes, sizes, async (size, most) => {
      const bytes = randomBytes(size)
      const stored = await storage().put(jpeg(key), bytes)
      const read = await storage().read(stored, most)
      expect(read?.equals(bytes.subarray(0, most))).to.equal(true)
    })
    await fc.assert(law, { numRuns: 100 })
  })

  it('takes any key, and lists keys in their order', async () => {
    const root = place()
    const keys = new Set<string>()
    const law = fc.asyncProperty(arbitraryKey, async (segments) => {
      const key = objectKey(root, ...segments)
      const { version } = await storage().put(jpeg(key), Buffer.from(key))
      const read = await storage().read({ key, version }, 1_000)
      expect(read?.toString()).to.equal(key)
      keys.add(key)
    })
    await fc.assert(law, { numRuns: 100 })
    const listed = (await all(keyPrefix(root))).map(({ key }) => key)
    expect([...new Set(listed)]).to.deep.equal([...keys].sort())
  })

  describe('an upload', () => {
    it('stores what its form was made for', async () => {
      const law = fc.asyncProperty(fc.integer({ min: 1, max: 50_000 }), async (size) => {
        const { facts, bytes } = photo(newKey(), size)
        const form = await offer(facts)
        expect(await post(form, bytes)).to.equal(204)
        const head = await storage().head(facts.key)
        expect(head).to.include({ size, contentType: 'image/jpeg' })
        expect(head?.sha256).to.equal(knowsChecksums ? facts.sha256 : null)
        const stored = { key: facts.key, version: head?.version ?? '' }
        expect((await storage().read(stored, size + 1))?.equals(bytes)).to.equal(true)
      })
      await fc.assert(law, { numRuns: 100 })
    })

    it('says until when it can be made', async () => {
      const before = Date.now()
      const { expires_at } = await offer(photo(newKey()).facts)
      expect(Date.parse(expires_at)).to.be.within(before + 300_000, Date.now() + 300_000)
    })

    it('is refused with more bytes or fewer, and leaves nothing', async () => {
      const { facts, bytes } = photo(newKey())
      const form = await offer(facts)
      const many = Buffer.concat([bytes, randomBytes(1_000_000)])
      for (const other of [bytes.subarray(1), many, Buffer.concat([bytes, Buffer.from('x')])]) {
        expect(await post(form, other)).to.be.oneOf(REFUSED)
      }
      expect(await storage().head(facts.key)).to.equal(null)
    })

    if (knowsChecksums) {
      it('is refused with other bytes, and leaves nothing', async () => {
        const { facts, bytes } = photo(newKey())
        const form = await offer(facts)
        bytes[500] = (bytes[500] ?? 0) ^ 1
        expect(await post(form, bytes)).to.equal(400)
        expect(await storage().head(facts.key)).to.equal(null)
      })
    }

    it('is refused when a field was changed, left out or added, and leaves nothing', async () => {
      const root = place()
      const { facts, bytes } = photo(objectKey(root, 'a'))
      const form = await offer(facts)
      const signed = Object.entries(form.fields).filter(([name]) => !unread.includes(name))
      for (const [name, value] of signed) {
        const { [name]: _, ...without } = form.fields
        expect(await post(form, bytes, without), `without ${name}`).to.be.oneOf(REFUSED)
        const places = [0, Math.floor(value.length / 2), value.length - 1]
        for (const at of places) {
          const changed = { ...form.fields, [name]: altered(value, at) }
          expect(await post(form, bytes, changed), `${name} at ${at}`).to.be.oneOf(REFUSED)
        }
      }
      for (const name of [
        'acl',
        'success_action_redirect',
        'x-amz-meta-a',
        'x-amz-storage-class',
      ]) {
        const more = { ...form.fields, [name]: 'public-read' }
        expect(await post(form, bytes, more), name).to.be.oneOf(REFUSED)
      }
      expect(await all(keyPrefix(root))).to.deep.equal([])
    })

    it('is refused with the fields of another form', async () => {
      const [one, two] = [photo(newKey()), photo(newKey())]
      const [first, second] = [await offer(one.facts), await offer(two.facts)]
      for (const name of Object.keys(second.fields).filter((name) => !unread.includes(name))) {
        const value = second.fields[name] ?? ''
        if (value === first.fields[name] || Object.keys(first.fields).length === 1) continue
        const mixed = { ...first.fields, [name]: value }
        expect(await post(first, one.bytes, mixed), name).to.be.oneOf(REFUSED)
      }
      expect(await post(second, one.bytes.subarray(1))).to.be.oneOf(REFUSED)
      expect(await storage().head(two.facts.key)).to.equal(null)
    })

    it('is refused when its time is over', async () => {
      const { facts, bytes } = photo(newKey())
      const form = await offer(facts, 1)
      await until(async () => (await post(form, bytes)) === 403, 'the end of the form')
    })

    it('that is interrupted leaves nothing', async () => {
      const { facts, bytes } = photo(newKey(), 300_000)
      const form = await offer(facts)
      await halfPost(form, bytes)
      expect(await storage().head(facts.key)).to.equal(null)
      expect(await post(form, bytes)).to.equal(204)
      expect(await all(keyPrefix('photos'))).to.satisfy(
        (found: ListedVersion[]) => found.filter(({ key }) => key === facts.key).length === 1,
      )
    })
  })

  describe('a download', () => {
    it('is of one version, as what it was offered for', async () => {
      const key = newKey()
      const { version } = await storage().put(
        { key, contentType: 'text/html' },
        Buffer.from('<script>'),
      )
      const url = await download(key, version)
      await storage().put(jpeg(key), Buffer.from('newer'))
      const response = await fetch(url)
      expect(response.status).to.equal(200)
      expect(await response.text()).to.equal('<script>')
      expect(response.headers.get('content-type')).to.equal('image/png')
      expect(response.headers.get('content-length')).to.equal('8')
    })

    it('carries any file name, and no name breaks out of its header', async () => {
      const stored = await storage().put(jpeg(newKey()), Buffer.from('bytes'))
      const law = fc.asyncProperty(arbitraryFileName, async (fileName) => {
        const what = { ...stored, contentType: 'image/jpeg', fileName } as const
        const url = await storage().offerDownload({ ...what, disposition: 'attachment' }, 60)
        const response = await fetch(url)
        expect(response.status).to.equal(200)
        expect(await response.text()).to.equal('bytes')
        expect(response.headers.get('content-type')).to.equal('image/jpeg')
        const header = response.headers.get('content-disposition')
        expect(header).to.match(
          /^attachment; filename="[^"\\]+"; filename\*=UTF-8''[\w!#$&+.^`|~%-]+$/,
        )
      })
      await fc.assert(law, { numRuns: 100 })
    })

    it('is refused when anything of its URL was changed', async () => {
      const key = newKey()
      const { version } = await storage().put(jpeg(key), Buffer.from('one'))
      const other = await storage().put(jpeg(key), Buffer.from('two'))
      const url = await download(key, version)
      const from = new URL(url).origin.length + 1
      const places = fc.integer({ min: from, max: url.length - 1 })
      const law = fc.asyncProperty(places, async (at) => {
        const response = await fetch(altered(url, at), { redirect: 'manual' })
        await response.arrayBuffer()
        expect(response.status).to.be.oneOf(REFUSED)
      })
      await fc.assert(law, { numRuns: 100 })
      const swapped = url.replace(version, other.version)
      if (swapped !== url) expect((await fetch(swapped)).status).to.equal(403)
    })

    it('is refused when its time is over', async () => {
      const { version, key } = await storage().put(jpeg(newKey()), Buffer.from('one'))
      const url = await download(key, version, 1)
      await until(async () => (await fetch(url)).status === 403, 'the end of the URL')
    })

    it('is 404 when the version was removed', async () => {
      const stored = await storage().put(jpeg(newKey()), Buffer.from('one'))
      const url = await download(stored.key, stored.version)
      await storage().remove(stored)
      expect((await fetch(url)).status).to.equal(404)
    })
  })

  describe('removing', () => {
    it('takes one version and leaves the others', async () => {
      const key = newKey()
      const one = await storage().put(jpeg(key), Buffer.from('one'))
      const two = await storage().put(jpeg(key), Buffer.from('two'))
      await storage().remove(two)
      await storage().remove(two)
      expect(await storage().head(key)).to.include({ version: one.version })
      expect(await storage().read(two, 10)).to.equal(null)
      await storage().remove(one)
      expect(await storage().head(key)).to.equal(null)
    })

    it('takes everything under a prefix, in pages, and nothing beside it', async () => {
      const root = place()
      const [mine, others] = [keyPrefix(root, '1'), keyPrefix(root, '12')]
      const beside = await storage().put(jpeg(objectKey(root, '12', 'a')), Buffer.from('other'))
      await storage().put(jpeg(objectKey(root, '1')), Buffer.from('other'))
      const keys = Array.from({ length: 501 }, (_, at) => objectKey(root, '1', `photo-${at}`))
      const put = (key: ObjectKey) => storage().put(jpeg(key), Buffer.from('x'))
      for (let at = 0; at < keys.length; at += 20) {
        await Promise.all(
          keys.slice(at, at + 20).map(async (key) => [await put(key), await put(key)]),
        )
      }
      // So the first page ends between two versions of one key.
      await put(objectKey(root, '1', 'photo-0'))
      const first = await storage().list(mine)
      expect(first.versions).to.have.lengthOf(1_000)
      const listed = (await all(mine)).map(({ key, version }) => `${key} ${version}`)
      expect(new Set(listed).size).to.equal(1_003)
      expect(listed).to.have.lengthOf(1_003)
      expect(await storage().removeSome(mine)).to.deep.equal({ more: true })
      expect(await all(mine)).to.have.lengthOf(3)
      expect(await storage().removeSome(mine)).to.deep.equal({ more: false })
      expect(await all(mine)).to.deep.equal([])
      expect((await all(others)).map(({ version }) => version)).to.deep.equal([beside.version])
      expect(await storage().head(objectKey(root, '1'))).to.not.equal(null)
    })
  })
}

/** Sends the form and half of the bytes, and hangs up. */
async function halfPost({ url, fields }: UploadForm, bytes: Uint8Array): Promise<void> {
  const { hostname, port, pathname } = new URL(url)
  const part = (name: string, value: string) =>
    `--B\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
  const parts = Object.entries(fields).map(([name, value]) => part(name, value))
  const file = '--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
  const begin = Buffer.from(parts.join('') + file)
  const head = [
    `POST ${pathname} HTTP/1.1`,
    `Host: ${hostname}:${port}`,
    'Content-Type: multipart/form-data; boundary=B',
    `Content-Length: ${begin.length + bytes.length + '\r\n--B--\r\n'.length}`,
  ].join('\r\n')
  const socket = connect(Number(port), hostname)
  await once(socket, 'connect')
  const half = bytes.subarray(0, bytes.length / 2)
  const sent = Buffer.concat([Buffer.from(`${head}\r\n\r\n`), begin, half])
  await new Promise((resolve) => socket.write(sent, resolve))
  socket.destroy()
  await once(socket, 'close')
}
