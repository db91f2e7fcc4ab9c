import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto'
import { expect } from 'chai'
import fc from 'fast-check'
import { checkpointText } from '../../src/transparency-log/checkpoint.ts'
import { cosignedAt } from '../../src/transparency-log/cosignature.ts'
import {
  logSigner,
  parseVerifierKey,
  type VerifierKey,
  witnessSigner,
} from '../../src/transparency-log/keys.ts'
import { utf8 } from '../../src/transparency-log/lines.ts'
import { signatureLine } from '../../src/transparency-log/signature-line.ts'
import { readNote, verifiedBy, writeNote } from '../../src/transparency-log/signed-note.ts'
import { EMPTY_ROOT } from '../../src/transparency-log/tree.ts'
import { flipped, hostileTexts, nearlyTexts } from './changed.ts'

// The key and the note of the package documentation of golang.org/x/mod/sumdb/note.
const PETER = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW'
const TEXT = `If you think cryptography is the answer to your problem,
then you don't know what your problem is.
`
const BY_PETER =
  '\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n'
const BY_ENOCH =
  '\u2014 EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n'

// The example of c2sp.org/signed-note.
const FOO = 'example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k'
const BY_FOO = `This is an example message.

\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
`

const keyOf = (text: string): VerifierKey => {
  const key = parseVerifierKey(text)
  if (!key) throw new Error(`Not a key: ${text}`)
  return key
}
const seed = (of: string) => createHash('sha256').update(of).digest()
const NOW = 1_795_844_000_123

const log = logSigner('log.example', seed('log'))
const witness = witnessSigner('witness.example', seed('witness'), () => NOW)
const checkpoint = checkpointText({ origin: 'log.example', size: 0, root: EMPTY_ROOT })
const bothSigned = async () =>
  writeNote(checkpoint, [await log.sign(checkpoint), await witness.sign(checkpoint)])

describe('A signed note', () => {
  const peter = keyOf(PETER)

  it('of the Go team is verified', () => {
    expect(verifiedBy(`${TEXT}\n${BY_PETER}`, [peter])).to.deep.equal([peter])
    expect(verifiedBy(`${TEXT}\n${BY_PETER}${BY_ENOCH}`, [peter])).to.deep.equal([peter])
  })

  it('of the specification is verified', () => {
    expect(verifiedBy(BY_FOO, [keyOf(FOO)])).to.deep.equal([keyOf(FOO)])
  })

  it('has its text before the last empty line', () => {
    const text = 'one\n\n\ntwo\n'
    expect(readNote(`${text}\n${BY_PETER}`)).to.deep.include({ text })
    expect(readNote(`\n\n${BY_PETER}`)).to.deep.include({ text: '\n' })
  })

  it('is verified by each of the keys that signed it, once', async () => {
    const note = await bothSigned()
    const keys = [witness.key, log.key, peter, witness.key]
    expect(verifiedBy(note, keys)).to.deep.equal([witness.key, log.key])
    const twice = `${note}${await log.sign(checkpoint)}`
    expect(verifiedBy(twice, [log.key])).to.deep.equal([log.key])
    expect(verifiedBy(note, [peter])).to.deep.equal([])
    expect(verifiedBy(note, [])).to.deep.equal([])
    const read = readNote(note)
    expect(read && verifiedBy(read, [log.key])).to.deep.equal([log.key])
  })

  it('is refused if a known key is named with a wrong signature, before or after its own', async () => {
    const other = await log.sign('another text\n')
    const own = await log.sign(checkpoint)
    for (const lines of [[other], [own, other], [other, own]]) {
      expect(verifiedBy(writeNote(checkpoint, lines), [log.key])).to.equal(null)
      expect(verifiedBy(writeNote(checkpoint, lines), [witness.key])).to.deep.equal([])
    }
  })

  it('ignores a signature that shares only its name or its id with a known key', async () => {
    const { id } = log.key
    const signature = Buffer.alloc(64)
    const lines = [
      signatureLine({ name: 'log.example', id: Buffer.alloc(4), signature }),
      signatureLine({ name: 'other.example', id, signature }),
      await log.sign(checkpoint),
    ]
    expect(verifiedBy(writeNote(checkpoint, lines), [log.key])).to.deep.equal([log.key])
  })

  it('is refused if a known signature has another length', async () => {
    const signed = readNote(writeNote(checkpoint, [await log.sign(checkpoint)]))?.signatures[0]
    const signature = signed?.signature ?? Buffer.alloc(0)
    for (const wrong of [signature.subarray(1), Buffer.concat([signature, Buffer.of(0)])]) {
      const line = signatureLine({ name: log.key.name, id: log.key.id, signature: wrong })
      expect(verifiedBy(writeNote(checkpoint, [line]), [log.key])).to.equal(null)
    }
  })

  it('is not verified once any bit of it is changed', async () => {
    const note = Buffer.from(await bothSigned())
    const keys = [log.key, witness.key]
    for (let bit = 0; bit < note.length * 8; bit += 1) {
      const text = utf8(flipped(note, bit))
      const verified = text === null ? [] : (verifiedBy(text, keys) ?? [])
      expect(verified.length, `bit ${bit}`).to.be.below(2)
    }
  })

  it('has one spelling', async () => {
    const whole = await bothSigned()
    const notes = fc.constantFrom(whole, BY_FOO, `${TEXT}\n${BY_PETER}${BY_ENOCH}`)
    fc.assert(
      fc.property(fc.oneof(hostileTexts, nearlyTexts(notes)), (text) => {
        const note = readNote(text)
        const again = note ? writeNote(note.text, note.signatures.map(signatureLine)) : text
        expect(again).to.equal(text)
        expect(verifiedBy(text, [log.key, witness.key, peter]) ?? []).to.be.an('array')
      }),
      { numRuns: 2000 },
    )
  })

  const line = BY_PETER
  const BAD = {
    'no empty line': `${TEXT}${line}`,
    'no signature': `${TEXT}\n`,
    'no newline at its end': `${TEXT}\n${line.trimEnd()}`,
    'an empty line at its end': `${TEXT}\n${line}\n`,
    'a line that is no signature': `${TEXT}\n${line}more\n`,
    'a hyphen for the dash': `${TEXT}\n${line.replace('\u2014', '-')}`,
    'two spaces': `${TEXT}\n${line.replace('\u2014 ', '\u2014  ')}`,
    'a space at the end of a line': `${TEXT}\n${line.replace('\n', ' \n')}`,
    'a name with a plus': `${TEXT}\n${line.replace('PeterNeumann', 'Peter+Neumann')}`,
    'a name with a wide space': `${TEXT}\n${line.replace('PeterNeumann', 'Peter\u3000Neumann')}`,
    'a name with U+0085': `${TEXT}\n${line.replace('PeterNeumann', 'Peter\u0085Neumann')}`,
    'a tab': `${TEXT}\t\n\n${line}`,
    'a carriage return': `${TEXT}\n${line}`.replaceAll('\n', '\r\n'),
    'a null character': `\0${TEXT}\n${line}`,
    'half a character': `\ud83d${TEXT}\n${line}`,
    'base64 without padding': `${TEXT}\n${line.replace('=', '')}`,
    'base64 with other unused bits': `${TEXT}\n${line.replace('M=', 'N=')}`,
    'nothing but a key id': `${TEXT}\n\u2014 PeterNeumann x08gow==\n`,
    'more than a hundred signatures': `${TEXT}\n${line.repeat(101)}`,
    'more than 2^20 bytes': `${'a'.repeat(2 ** 20)}\n\n${line}`,
    'more than 2^20 bytes in fewer characters': `${'\u2014'.repeat(2 ** 19)}\n\n${line}`,
  }
  for (const [what, text] of Object.entries(BAD)) {
    it(`is refused with ${what}`, () => {
      expect(readNote(text)).to.equal(null)
      expect(verifiedBy(text, [peter])).to.equal(null)
    })
  }

  it('may have a hundred signatures, and almost 2^20 bytes', () => {
    expect(verifiedBy(`${TEXT}\n${line.repeat(100)}`, [peter])).to.deep.equal([peter])
    const long = `${'a'.repeat(2 ** 20 - 2 - Buffer.byteLength(line))}\n\n${line}`
    expect(readNote(long)).not.to.equal(null)
  })

  it('comes from bytes that are UTF-8', () => {
    expect(utf8(Buffer.from('é\u2014😀'))).to.equal('é\u2014😀')
    expect(utf8(Buffer.from('\ufeffa'))).to.equal('\ufeffa')
    for (const bytes of ['80', 'c3', 'c0af', 'eda0bd', 'f4908080']) {
      expect(utf8(Buffer.from(bytes, 'hex'))).to.equal(null)
    }
  })
})

describe('A verifier key', () => {
  it('is read as it is written', () => {
    for (const text of [PETER, FOO, log.key.text, witness.key.text]) {
      const key = keyOf(text)
      expect(key.text).to.equal(text)
      expect(`${key.name}+${key.id.toString('hex')}`).to.equal(text.split('+', 2).join('+'))
    }
    expect([keyOf(PETER).type, witness.key.type]).to.deep.equal([1, 4])
  })

  it('has one spelling', () => {
    const keys = fc.constantFrom(PETER, FOO, log.key.text, witness.key.text)
    fc.assert(
      fc.property(fc.oneof(hostileTexts, nearlyTexts(keys)), (text) => {
        expect(parseVerifierKey(text)?.text ?? text).to.equal(text)
      }),
      { numRuns: 2000 },
    )
  })

  it('is refused once any bit of it is changed', () => {
    const text = Buffer.from(witness.key.text)
    for (let bit = 0; bit < text.length * 8; bit += 1) {
      expect(parseVerifierKey(utf8(flipped(text, bit)) ?? ''), `bit ${bit}`).to.equal(null)
    }
  })

  const raw = log.key.publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)
  const named = (name: string, typed: Buffer) => {
    const id = createHash('sha256').update(`${name}\n`).update(typed).digest('hex').slice(0, 8)
    return `${name}+${id}+${typed.toString('base64')}`
  }

  it('is that of a log or a witness', () => {
    const accepted = Array.from({ length: 256 }, (_, type) => type).filter((type) =>
      parseVerifierKey(named('log.example', Buffer.concat([Buffer.of(type), raw]))),
    )
    expect(accepted).to.deep.equal([1, 4])
  })

  it('has 32 bytes, a name and the id of both', () => {
    const typed = Buffer.concat([Buffer.of(1), raw])
    expect(parseVerifierKey(named('log.example', typed))).to.deep.equal(log.key)
    for (const length of [0, 1, 32]) {
      expect(parseVerifierKey(named('log.example', typed.subarray(0, length)))).to.equal(null)
    }
    expect(parseVerifierKey(named('log.example', Buffer.concat([typed, Buffer.of(0)])))).to.equal(
      null,
    )
    for (const name of ['', 'a b', 'a\u00a0b', 'a\nb', 'a\x1fb', '\ud83d']) {
      expect(parseVerifierKey(named(name, typed)), JSON.stringify(name)).to.equal(null)
    }
    expect(parseVerifierKey(PETER.replace('c74f20a3', 'C74F20A3'))).to.equal(null)
  })
})

describe('A signer', () => {
  it('signs what its key verifies', () => {
    const names = fc
      .string({ minLength: 1, unit: 'grapheme' })
      .filter((name) => !/[\s+\p{Cc}]/u.test(name))
    const texts = fc.string({ unit: 'grapheme' }).map((text) => `${text.replace(/\p{Cc}/gu, '')}\n`)
    return fc.assert(
      fc.asyncProperty(names, texts, async (name, text) => {
        const signer = logSigner(name, seed(text))
        expect(parseVerifierKey(signer.key.text)).to.deep.equal(signer.key)
        const note = writeNote(text, [await signer.sign(text)])
        expect(verifiedBy(note, [signer.key])).to.deep.equal([signer.key])
      }),
    )
  })

  it('has the same key for the same seed', () => {
    expect(logSigner('log.example', seed('log')).key).to.deep.equal(log.key)
    expect(logSigner('log.example', seed('another')).key.text).not.to.equal(log.key.text)
  })

  it('wants 32 bytes and the name of a key', () => {
    for (const name of ['', 'a b', 'a+b', 'a\nb']) {
      expect(() => logSigner(name, seed('log'))).to.throw(RangeError)
      expect(() => witnessSigner(name, seed('log'), Date.now)).to.throw(RangeError)
    }
    for (const length of [31, 33]) {
      expect(() => logSigner('log.example', Buffer.alloc(length))).to.throw(RangeError)
    }
  })
})

describe('A cosignature', () => {
  const signatureOf = async (text = checkpoint) =>
    readNote(writeNote(text, [await witness.sign(text)]))?.signatures[0]?.signature ??
    Buffer.alloc(0)

  it('signs the time and the checkpoint, and carries the time', async () => {
    const signature = await signatureOf()
    expect(signature.length).to.equal(72)
    expect(cosignedAt(signature)).to.equal(1_795_844_000)
    expect(signature.readBigUInt64BE()).to.equal(1_795_844_000n)
    const der = Buffer.concat([
      Buffer.from('302e020100300506032b657004220420', 'hex'),
      seed('witness'),
    ])
    const signed = Buffer.from(`cosignature/v1\ntime 1795844000\n${checkpoint}`)
    const key = { key: der, format: 'der', type: 'pkcs8' } as const
    expect(signature.subarray(8)).to.deep.equal(sign(null, signed, key))
    expect(createPublicKey(createPrivateKey(key)).equals(witness.key.publicKey)).to.equal(true)
  })

  it('is made for checkpoints only', async () => {
    const error = await witness.sign('a text\n').catch((thrown: unknown) => thrown)
    expect(error).to.be.instanceOf(RangeError)
  })

  it('is refused once any bit of it is changed', async () => {
    const { name, id } = witness.key
    const signature = await signatureOf()
    for (let bit = 0; bit < signature.length * 8; bit += 1) {
      const line = signatureLine({ name, id, signature: flipped(signature, bit) })
      expect(verifiedBy(writeNote(checkpoint, [line]), [witness.key]), `bit ${bit}`).to.equal(null)
    }
  })

  it('is refused with another length', async () => {
    const { name, id } = witness.key
    const signature = await signatureOf()
    const wrong = [signature.subarray(8), signature.subarray(0, 71), Buffer.concat([signature, id])]
    for (const each of wrong) {
      const line = signatureLine({ name, id, signature: each })
      expect(verifiedBy(writeNote(checkpoint, [line]), [witness.key])).to.equal(null)
      expect(() => cosignedAt(each)).to.throw(RangeError)
    }
  })

  it('is of no use as the signature of a log with the same key, and the other way round', async () => {
    const sameSeed = logSigner('witness.example', seed('witness'))
    expect(sameSeed.key.id).not.to.deep.equal(witness.key.id)
    const asLog = signatureLine({ ...sameSeed.key, signature: (await signatureOf()).subarray(8) })
    expect(verifiedBy(writeNote(checkpoint, [asLog]), [sameSeed.key])).to.equal(null)
    const own = await sameSeed.sign(checkpoint)
    expect(verifiedBy(writeNote(checkpoint, [own]), [witness.key])).to.deep.equal([])
  })
})
