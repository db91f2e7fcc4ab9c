import { expect } from 'chai'
import fc from 'fast-check'
import { decryptedText } from '../../../src/infra/encryption/decrypted-texts.ts'
import { encryptText, newDataKey } from '../../../src/infra/encryption/text-cipher.ts'

describe('A text that was decrypted lately', () => {
  const place = { stream_id: 'task-1', field: 'title' }

  it('is the text that was encrypted, however often it is read, whatever it is', () => {
    const key = newDataKey()
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 3_000 }), (text) => {
        const wellFormed = text.toWellFormed()
        const encrypted = encryptText(key, 1, place, wellFormed)
        for (let n = 0; n < 3; n++) {
          expect(decryptedText(key, encrypted, place)).to.equal(wellFormed)
        }
      }),
    )
  })

  it('is read with no other key and in no other place, though it is at hand', () => {
    const key = newDataKey()
    const text = encryptText(key, 1, place, 'A task')
    expect(decryptedText(key, text, place)).to.equal('A task')
    for (const elsewhere of [
      { ...place, field: 'description' },
      { ...place, stream_id: 'task-2' },
    ]) {
      expect(() => decryptedText(key, text, elsewhere)).to.throw()
    }
    expect(() => decryptedText(newDataKey(), text, place)).to.throw()
  })
})
