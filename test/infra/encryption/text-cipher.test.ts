import { expect } from 'chai'
import fc from 'fast-check'
import {
  decryptText,
  type EncryptedText,
  encryptText,
  newDataKey,
  secretKeyWrap,
  textKey,
} from '../../../src/infra/encryption/text-cipher.ts'

const RUNS = { numRuns: 200 }
const USER = 7
const PLACE = { stream_id: 'task-17', field: 'title' }
/** Any well-formed text, whatever stands in it. */
const text = fc.string({ unit: 'binary', maxLength: 300 })

const bytesOf = ({ cipher }: EncryptedText) => Buffer.from(cipher, 'base64url')
const flipped = (bytes: Buffer, bit: number): Buffer => {
  const copy = Buffer.from(bytes)
  const index = (bit >> 3) % copy.length
  copy.writeUInt8(copy.readUInt8(index) ^ (1 << (bit & 7)), index)
  return copy
}

describe('An encrypted text', () => {
  const dataKey = newDataKey()
  const encrypt = (value: string) => encryptText(dataKey, USER, PLACE, value)
  const decrypt = (encrypted: EncryptedText, place = PLACE, key = dataKey) =>
    decryptText(textKey(key, encrypted), encrypted, place)

  it('becomes the text again, and names whose key it needs', () => {
    fc.assert(
      fc.property(text, (value) => {
        const encrypted = encrypt(value)
        expect(encrypted).to.have.all.keys('user', 'cipher').and.include({ user: USER })
        expect(encrypted.cipher).to.match(/^[\w-]+$/)
        expect(decrypt(JSON.parse(JSON.stringify(encrypted)))).to.equal(value)
      }),
      RUNS,
    )
  })

  it('looks different each time, and shows nothing but how long the text is', () => {
    fc.assert(
      fc.property(text, (value) => {
        const [one, two] = [encrypt(value), encrypt(value)]
        expect(one.cipher).to.not.equal(two.cipher)
        expect(bytesOf(one)).to.have.length(32 + Buffer.byteLength(value))
        if (value.length > 4) expect(bytesOf(one).includes(Buffer.from(value))).to.equal(false)
      }),
      RUNS,
    )
  })

  it('is refused at another place', () => {
    const places = fc.record({
      stream_id: fc.constantFrom('task-17', 'task-1', 'task-17/title', 'user-17', ''),
      field: fc.constantFrom('title', 'description', ''),
    })
    fc.assert(
      fc.property(text, places, (value, place) => {
        fc.pre(place.stream_id !== PLACE.stream_id || place.field !== PLACE.field)
        expect(() => decrypt(encrypt(value), place)).to.throw()
      }),
      RUNS,
    )
  })

  it('is refused with another key', () => {
    fc.assert(
      fc.property(text, (value) => {
        expect(() => decrypt(encrypt(value), PLACE, newDataKey())).to.throw()
      }),
      RUNS,
    )
  })

  it('is refused when any bit of it is not as it was, or the end is cut off', () => {
    fc.assert(
      fc.property(text, fc.nat(), fc.nat(), (value, bit, cut) => {
        const encrypted = encrypt(value)
        const bytes = bytesOf(encrypted)
        const refused = (wrong: Buffer) =>
          expect(() => decrypt({ user: USER, cipher: wrong.toString('base64url') })).to.throw()
        refused(flipped(bytes, bit))
        refused(bytes.subarray(0, cut % bytes.length))
      }),
      RUNS,
    )
  })

  it('has a key of its own, which opens it and no other text of the same user', () => {
    fc.assert(
      fc.property(text, text, (value, another) => {
        const [one, two] = [encrypt(value), encrypt(another)]
        const key = textKey(dataKey, one)
        expect(key).to.have.length(32)
        expect(decryptText(key, one, PLACE)).to.equal(value)
        expect(() => decryptText(key, two, PLACE)).to.throw()
        expect(() => decryptText(dataKey, one, PLACE)).to.throw()
      }),
      RUNS,
    )
  })
})

describe('A wrapped data key', () => {
  const SECRET = 'a secret of at least 32 characters, for texts'
  const OTHER = 'another secret of at least 32 characters, too'
  const wrap = secretKeyWrap(SECRET)
  const failure = (work: Promise<unknown>) =>
    work.then(
      () => 'done',
      (error: Error) => error.message,
    )

  it('becomes the key again, for its user', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), async (user) => {
        const key = newDataKey()
        const wrapped = await wrap.wrap(key, user)
        expect(wrapped.includes(key)).to.equal(false)
        expect(await wrap.unwrap(wrapped, wrap.id, user)).to.deep.equal(key)
      }),
      RUNS,
    )
  })

  it('is refused for another user, and when any bit of it is not as it was', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.nat(), async (user, bit) => {
        const wrapped = await wrap.wrap(newDataKey(), user)
        expect(await failure(wrap.unwrap(wrapped, wrap.id, user + 1))).to.not.equal('done')
        const wrong = flipped(wrapped, bit)
        expect(await failure(wrap.unwrap(wrong, wrap.id, user))).to.not.equal('done')
      }),
      RUNS,
    )
  })

  it('is unwrapped by the secret that wrapped it, also when that is the previous one', async () => {
    const key = newDataKey()
    const wrapped = await wrap.wrap(key, USER)
    const rotated = secretKeyWrap(OTHER, SECRET)
    expect(rotated.id).to.equal(secretKeyWrap(OTHER).id).and.not.equal(wrap.id)
    expect(await rotated.unwrap(wrapped, wrap.id, USER)).to.deep.equal(key)
    const again = await rotated.wrap(key, USER)
    expect(await secretKeyWrap(OTHER).unwrap(again, rotated.id, USER)).to.deep.equal(key)
  })

  it('is refused by name when its secret is not at hand', async () => {
    const wrapped = await wrap.wrap(newDataKey(), USER)
    const said = await failure(secretKeyWrap(OTHER).unwrap(wrapped, wrap.id, USER))
    expect(said).to.equal(`None of the given TEXT_KEYs is the one named ${wrap.id}.`)
    expect(said).to.not.include(SECRET)
  })

  it('is named after the secret, and tells nothing of it', () => {
    expect(wrap.id)
      .to.match(/^[0-9a-f]{16}$/)
      .and.equal(secretKeyWrap(SECRET).id)
  })
})
