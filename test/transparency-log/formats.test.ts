import { expect } from 'chai'
import fc from 'fast-check'
import { readAddCheckpoint, writeAddCheckpoint } from '../../src/transparency-log/add-checkpoint.ts'
import { checkpointText, parseCheckpoint } from '../../src/transparency-log/checkpoint.ts'
import { readBundle, writeBundle } from '../../src/transparency-log/entry-bundle.ts'
import { readProofFile, writeProofFile } from '../../src/transparency-log/proof-file.ts'
import { EMPTY_ROOT, leafHash } from '../../src/transparency-log/tree.ts'
import { flipped, hostileTexts, nearlyTexts } from './changed.ts'

const hashes = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes))
const proofs = fc.array(hashes, { maxLength: 63 })
const origins = fc.oneof(
  fc.constant('tasktrail.example/log'),
  fc.string({ minLength: 1, unit: 'grapheme' }).filter((text) => !/\p{Cc}/u.test(text)),
)
const checkpoints = fc.record({ origin: origins, size: fc.maxSafeNat(), root: hashes })
const ROOT = EMPTY_ROOT.toString('base64')
const NOTE = `log.example\n7\n${ROOT}\n\n\u2014 log.example AAAAAAAA\n`

describe('A checkpoint', () => {
  it('is written as tlog-checkpoint says', () => {
    expect(checkpointText({ origin: 'log.example', size: 7, root: EMPTY_ROOT })).to.equal(
      'log.example\n7\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n',
    )
  })

  it('is read as it was written', () => {
    fc.assert(
      fc.property(checkpoints, (checkpoint) => {
        expect(parseCheckpoint(checkpointText(checkpoint))).to.deep.equal(checkpoint)
      }),
    )
  })

  it('has one spelling', () => {
    const texts = fc.oneof(hostileTexts, nearlyTexts(checkpoints.map(checkpointText)))
    fc.assert(
      fc.property(texts, (text) => {
        const checkpoint = parseCheckpoint(text)
        expect(checkpoint ? checkpointText(checkpoint) : text).to.equal(text)
      }),
      { numRuns: 2000 },
    )
  })

  const BAD = {
    'no newline at its end': `log.example\n7\n${ROOT}`,
    'no origin': `\n7\n${ROOT}\n`,
    'a line more': `log.example\n7\n${ROOT}\nmore\n`,
    'an empty line more': `log.example\n7\n${ROOT}\n\n`,
    'a line less': 'log.example\n7\n',
    'a leading zero': `log.example\n07\n${ROOT}\n`,
    'a sign': `log.example\n+7\n${ROOT}\n`,
    'an exponent': `log.example\n7e3\n${ROOT}\n`,
    'a fraction': `log.example\n7.0\n${ROOT}\n`,
    'a size that is not exact': `log.example\n9007199254740992\n${ROOT}\n`,
    'a short root': `log.example\n7\n${Buffer.alloc(31).toString('base64')}\n`,
    'a long root': `log.example\n7\n${Buffer.alloc(33).toString('base64')}\n`,
    'a root without padding': `log.example\n7\n${ROOT.slice(0, -1)}\n`,
    'a root with other unused bits': `log.example\n7\n${ROOT.replace('U=', 'V=')}\n`,
    'a root for URLs': `log.example\n7\n${ROOT.replace('/', '_').replaceAll('+', '-')}\n`,
    'a carriage return': `log.example\r\n7\r\n${ROOT}\r\n`,
    'a control character': `log\x1fexample\n7\n${ROOT}\n`,
    'half a character': `log\ud83dexample\n7\n${ROOT}\n`,
  }
  for (const [what, text] of Object.entries(BAD)) {
    it(`is refused with ${what}`, () => expect(parseCheckpoint(text)).to.equal(null))
  }

  it('is not written if it could not be read again', () => {
    const good = { origin: 'log.example', size: 7, root: EMPTY_ROOT }
    const bad = [
      ...['', 'a\nb', 'a\x1fb', '\ud83d'].map((origin) => ({ ...good, origin })),
      ...[-1, 0.5, Number.NaN, 2 ** 53].map((size) => ({ ...good, size })),
      { ...good, root: Buffer.alloc(31) },
    ]
    for (const each of bad) expect(() => checkpointText(each)).to.throw(RangeError)
  })
})

describe('A proof file', () => {
  const files = fc.record({
    extra: fc.oneof(
      fc.constant(null),
      fc.uint8Array({ minLength: 1, maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
    ),
    index: fc.maxSafeNat(),
    proof: proofs,
    checkpoint: fc.constant(NOTE),
  })

  it('is written as tlog-proof says', () => {
    const extra = Buffer.from('{"a":1}')
    const file = writeProofFile({ extra, index: 5, proof: [EMPTY_ROOT], checkpoint: NOTE })
    expect(file).to.equal(`c2sp.org/tlog-proof@v1\nextra eyJhIjoxfQ==\nindex 5\n${ROOT}\n\n${NOTE}`)
    expect(writeProofFile({ index: 0, proof: [], checkpoint: NOTE })).to.equal(
      `c2sp.org/tlog-proof@v1\nindex 0\n\n${NOTE}`,
    )
  })

  it('is read as it was written', () => {
    fc.assert(
      fc.property(files, (file) => {
        expect(readProofFile(writeProofFile(file))).to.deep.equal(file)
      }),
    )
  })

  it('has one spelling', () => {
    const texts = fc.oneof(hostileTexts, nearlyTexts(files.map(writeProofFile)))
    fc.assert(
      fc.property(texts, (text) => {
        const file = readProofFile(text)
        expect(file ? writeProofFile(file) : text).to.equal(text)
      }),
      { numRuns: 2000 },
    )
  })

  const HEAD = 'c2sp.org/tlog-proof@v1\n'
  const BAD = {
    'another version': `c2sp.org/tlog-proof@v2\nindex 0\n\n${NOTE}`,
    'no index': `${HEAD}${ROOT}\n\n${NOTE}`,
    'a leading zero': `${HEAD}index 01\n\n${NOTE}`,
    'a negative index': `${HEAD}index -1\n\n${NOTE}`,
    'an index that is not exact': `${HEAD}index 9007199254740992\n\n${NOTE}`,
    'an empty extra': `${HEAD}extra \nindex 0\n\n${NOTE}`,
    'two extras': `${HEAD}extra AA==\nextra AA==\nindex 0\n\n${NOTE}`,
    'extra after the index': `${HEAD}index 0\nextra AA==\n\n${NOTE}`,
    'extra that is not base64': `${HEAD}extra A=A=\nindex 0\n\n${NOTE}`,
    'a short hash': `${HEAD}index 0\n${ROOT.slice(4)}\n\n${NOTE}`,
    'more hashes than a tree is high': `${HEAD}index 0\n${`${ROOT}\n`.repeat(64)}\n${NOTE}`,
    'no checkpoint': `${HEAD}index 0\n\n`,
    'no empty line': `${HEAD}index 0\n${NOTE}`.replace('\n\n', '\n'),
    'a line before it': `\n${HEAD}index 0\n\n${NOTE}`,
    'more than two million characters': `${HEAD}index 0\n\n${NOTE}${'A'.repeat(2 ** 21)}`,
  }
  for (const [what, text] of Object.entries(BAD)) {
    it(`is refused with ${what}`, () => expect(readProofFile(text)).to.equal(null))
  }
})

describe('A request to a witness', () => {
  const requests = fc.record({ old: fc.maxSafeNat(), proof: proofs, note: fc.constant(NOTE) })

  it('is written as tlog-witness says', () => {
    expect(writeAddCheckpoint({ old: 5, proof: [EMPTY_ROOT], note: NOTE })).to.equal(
      `old 5\n${ROOT}\n\n${NOTE}`,
    )
    expect(writeAddCheckpoint({ old: 0, proof: [], note: NOTE })).to.equal(`old 0\n\n${NOTE}`)
  })

  it('is read as it was written', () => {
    fc.assert(
      fc.property(requests, (request) => {
        expect(readAddCheckpoint(writeAddCheckpoint(request))).to.deep.equal(request)
      }),
    )
  })

  it('has one spelling', () => {
    const texts = fc.oneof(hostileTexts, nearlyTexts(requests.map(writeAddCheckpoint)))
    fc.assert(
      fc.property(texts, (text) => {
        const request = readAddCheckpoint(text)
        expect(request ? writeAddCheckpoint(request) : text).to.equal(text)
      }),
      { numRuns: 2000 },
    )
  })

  const BAD = {
    'no size': `\n\n${NOTE}`,
    'a leading zero': `old 05\n\n${NOTE}`,
    'two spaces': `old  5\n\n${NOTE}`,
    'a size that is not exact': `old 9007199254740992\n\n${NOTE}`,
    'a short hash': `old 5\n${ROOT.slice(4)}\n\n${NOTE}`,
    'sixty-four hashes': `old 5\n${`${ROOT}\n`.repeat(64)}\n${NOTE}`,
    'no checkpoint': 'old 5\n\n',
    'no empty line': 'old 5\n',
  }
  for (const [what, text] of Object.entries(BAD)) {
    it(`is refused with ${what}`, () => expect(readAddCheckpoint(text)).to.equal(null))
  }
})

describe('An entry bundle', () => {
  const bundles = fc.array(fc.uint8Array({ maxLength: 60 }), { minLength: 1, maxLength: 20 })

  it('has the length of each entry in two bytes before it', () => {
    const bundle = writeBundle([Buffer.from('ab'), Buffer.alloc(0), Buffer.alloc(0x102, 'c')])
    expect(bundle.subarray(0, 9)).to.deep.equal(Buffer.from('\0\x02ab\0\0\x01\x02c'))
    expect(bundle.length).to.equal(3 * 2 + 2 + 0x102)
  })

  it('is read as it was written', () => {
    fc.assert(
      fc.property(bundles, (entries) => {
        const read = readBundle(writeBundle(entries))
        expect(read).to.deep.equal(entries.map((entry) => Buffer.from(entry)))
      }),
    )
    const longest = Buffer.alloc(0xffff, 'x')
    expect(readBundle(writeBundle([longest, longest]))).to.deep.equal([longest, longest])
  })

  it('has other entries, or none, once one bit is changed', () => {
    fc.assert(
      fc.property(bundles, fc.nat(), (entries, bit) => {
        const bundle = writeBundle(entries)
        const changed = readBundle(flipped(bundle, bit % (bundle.length * 8)))
        const leaves = (list: readonly Uint8Array[]) => list.map((entry) => leafHash(entry))
        expect(changed && leaves(changed)).not.to.deep.equal(leaves(entries))
      }),
      { numRuns: 500 },
    )
  })

  it('is refused if its last entry is cut off', () => {
    fc.assert(
      fc.property(bundles, fc.nat(), (entries, cut) => {
        const whole = writeBundle(entries)
        const last = 2 + (entries.at(-1)?.length ?? 0)
        expect(readBundle(whole.subarray(0, whole.length - 1 - (cut % (last - 1))))).to.equal(null)
      }),
    )
  })

  it('takes no entry that is longer than two bytes can say', () => {
    expect(() => writeBundle([Buffer.alloc(0x10000)])).to.throw(RangeError)
  })

  it('is read from any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        const entries = readBundle(Buffer.from(bytes))
        if (entries) expect(writeBundle(entries)).to.deep.equal(Buffer.from(bytes))
      }),
    )
  })
})
