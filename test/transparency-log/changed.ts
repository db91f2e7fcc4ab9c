import fc from 'fast-check'

/** The bytes with one bit changed. */
export function flipped(bytes: Uint8Array, bit: number): Buffer {
  const copy = Buffer.from(bytes)
  const at = Math.floor(bit / 8)
  copy[at] = (copy[at] ?? 0) ^ (1 << (bit % 8))
  return copy
}

/** Texts that no parser may trip over: any characters, halves of pairs and control characters too. */
export const hostileTexts: fc.Arbitrary<string> = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc
    .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 50 })
    .map((units) => String.fromCharCode(...units)),
  fc.constantFrom(
    '',
    '\n',
    '\n\n',
    '\n\n\n',
    ' ',
    '__proto__',
    'a\n\n\u2014 ',
    '\u2014  \n',
    '0\n'.repeat(100),
  ),
)

const PIECES = [
  '\n',
  '\n\n',
  ' ',
  '  ',
  '0',
  '00',
  '+',
  '=',
  '/',
  '\r\n',
  '\t',
  '\0',
  '\u2014 ',
  'A',
  '\ufeff',
]

/** A text with one place cut out, doubled, or with something put into it. */
export const nearlyTexts = (texts: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc
    .record({
      text: texts,
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      length: fc.constantFrom(0, 1, 1, 2, 5, 45),
      put: fc.oneof(fc.constant(''), fc.constantFrom(...PIECES), fc.string({ maxLength: 3 })),
      twice: fc.boolean(),
    })
    .map(({ text, at, length, put, twice }) => {
      const from = Math.round(at * text.length)
      const middle = twice ? text.slice(from, from + length).repeat(2) : put
      return text.slice(0, from) + middle + text.slice(from + length)
    })
