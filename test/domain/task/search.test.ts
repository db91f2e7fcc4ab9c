import { expect } from 'chai'
import fc from 'fast-check'
import { fold, searchFor } from '../../../src/domain/task/search.ts'

const FORMS = ['NFC', 'NFD', 'NFKC', 'NFKD'] as const

/** All ways to write the same text that a search does not tell apart. */
const spellings = (text: string): string[] => [
  text.toLowerCase(),
  // Decomposed first, as Unicode wants it (D145): the iota below ᾀ becomes a letter, and other marks on the α would
  // be left standing on that.
  text.normalize('NFD').toUpperCase(),
  ...FORMS.map((form) => text.normalize(form)),
  fold(text),
]

describe('Folding a text for a search', () => {
  it('folds all ways of writing a character to one, for every character of Unicode', () => {
    for (let code = 0; code <= 0x10ffff; code++) {
      const character = String.fromCodePoint(code)
      if (/[\p{Cn}\p{Co}\p{Cs}]/u.test(character)) continue
      const folded = fold(character)
      for (const other of spellings(character)) {
        if (fold(other) !== folded) expect.fail(`U+${code.toString(16)} as ${escape(other)}`)
      }
    }
  })

  it('folds all ways of writing a text to one', () => {
    const unit = fc.oneof(
      fc.constantFrom(...'aAßẞςσΣᾀiİıI\u0307\u0303\u0327\u200d\u00adñÑkK\u212a'),
      fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
    )
    fc.assert(
      fc.property(fc.string({ unit }), (text) => {
        const folded = fold(text)
        for (const other of spellings(text)) expect(fold(other)).to.equal(folded)
      }),
      { numRuns: 5_000 },
    )
  })

  it('knows one letter i, with and without its dot', () => {
    for (const letter of ['i', 'I', 'İ', 'ı', 'i\u0307']) expect(fold(letter)).to.equal('i')
  })

  it('takes no longer the more marks are on one letter', () => {
    const began = performance.now()
    fold(`i${'\u0307'.repeat(10_000)}`.repeat(10))
    expect(performance.now() - began).to.be.below(1_000)
  })

  it('keeps accents, and removes invisible characters', () => {
    expect(fold('Ñ')).to.not.equal(fold('n'))
    expect(fold('a\u200b\u00ad\ufe0fb')).to.equal('ab')
  })
})

describe('A search', () => {
  it('finds what a text contains, wherever it is and however it is written', () => {
    const text = fc.string({ unit: fc.constantFrom(...'aAßςΣiİıñÑé '), maxLength: 8 })
    fc.assert(
      fc.property(text, text, text, (before, wanted, after) => {
        const isFound = searchFor(wanted)
        expect(isFound(before + wanted.toUpperCase() + after, null)).to.equal(true)
        expect(isFound('', `${before}${wanted.normalize('NFD')}${after}`)).to.equal(true)
      }),
    )
  })
})
