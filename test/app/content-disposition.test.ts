import { expect } from 'chai'
import fc from 'fast-check'
import { contentDisposition } from '../../src/app/content-disposition.ts'
import { isObjectKey, keyPrefix, objectKey } from '../../src/app/object-keys.ts'
import { arbitraryFileName } from '../support/object-storage-contract.ts'

/** What a client that knows RFC 8187 takes it for. */
const nameIn = (header: string): string =>
  decodeURIComponent(/filename\*=UTF-8''(\S+)$/.exec(header)?.[1] ?? '')

describe('Content-Disposition', () => {
  it('keeps an ordinary name as it is', () => {
    for (const name of [
      'photo.jpg',
      'Übersicht (2).png',
      '写真 1.webp',
      "it's.gif",
      '👩‍👩‍👧.jpg',
    ]) {
      expect(nameIn(contentDisposition('attachment', name))).to.equal(name)
    }
    expect(contentDisposition('inline', 'é 100%.png')).to.equal(
      `inline; filename="_ 100_.png"; filename*=UTF-8''%C3%A9%20100%25.png`,
    )
  })

  it('makes a harmless name of any text', () => {
    const law = fc.property(arbitraryFileName, (fileName) => {
      const header = contentDisposition('attachment', fileName)
      expect(header).to.match(
        /^attachment; filename="[ !#$&-[\]-~]+"; filename\*=UTF-8''[\w!#$&+.^`|~%-]+$/,
      )
      const name = nameIn(header)
      expect(name).to.match(/^[^.]/)
      expect(name).to.not.match(/[\p{Cc}\p{Bidi_Control}/\\:*?"<>|]/u)
      expect([...name]).to.have.length.within(1, 151)
    })
    fc.assert(law, { numRuns: 1_000 })
  })

  it('keeps the end of a long name', () => {
    expect(nameIn(contentDisposition('inline', `${'a'.repeat(500)}.jpg`))).to.match(/^a{146}\.jpg$/)
  })

  it('says `file` where nothing is left', () => {
    for (const name of ['', ' ', '\t'.repeat(0)]) {
      expect(nameIn(contentDisposition('inline', name))).to.equal('file')
    }
  })
})

describe('The key of an object', () => {
  it('is of plain segments', () => {
    expect(objectKey('photos', '17', '0193-a.jpg')).to.equal('photos/17/0193-a.jpg')
    expect(keyPrefix('photos', '17')).to.equal('photos/17/')
  })

  it('leads nowhere else, whatever its segments are', () => {
    const wrong = [
      '',
      '.',
      '..',
      '.a',
      'a/',
      '/a',
      'a//b',
      'A',
      'ä',
      'a b',
      'a\n',
      '%2e',
      '$' + '{filename}',
      'a'.repeat(101),
    ]
    for (const segment of wrong) {
      expect(isObjectKey(segment), segment).to.equal(false)
      expect(() => objectKey('photos', segment)).to.throw(RangeError)
      expect(() => keyPrefix('photos', segment)).to.throw(RangeError)
    }
    expect(() => objectKey()).to.throw(RangeError)
    expect(() => objectKey(...Array(9).fill('a'))).to.throw(RangeError)
    const law = fc.property(fc.array(fc.string({ unit: 'binary', maxLength: 5 })), (segments) => {
      const text = segments.join('/')
      if (!isObjectKey(text)) return
      expect(new URL(`http://a/${text}`).pathname).to.equal(`/${text}`)
    })
    fc.assert(law, { numRuns: 1_000 })
  })
})
