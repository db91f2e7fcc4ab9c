import { createHash } from 'node:crypto'
import { expect } from 'chai'
import fc from 'fast-check'
import { logSigner, witnessSigner } from '../../src/transparency-log/keys.ts'
import { isMet, PolicyError, readPolicy } from '../../src/transparency-log/policy.ts'
import { hostileTexts, nearlyTexts } from './changed.ts'

const seed = (of: string) => createHash('sha256').update(of).digest()
const keyOf = (name: string) => witnessSigner(`${name}.example`, seed(name), Date.now).key
const log = logSigner('log.example', seed('log')).key

const NAMES = ['X1', 'X2', 'X3', 'Y1', 'Y2', 'Y3']
// The example of c2sp.org/tlog-policy.
const EXAMPLE = `log ${log.text}

witness X1 ${keyOf('X1').text}
witness X2 ${keyOf('X2').text}
witness X3 ${keyOf('X3').text}
group X-witnesses 2 X1 X2 X3

witness Y1 ${keyOf('Y1').text}
witness Y2 ${keyOf('Y2').text}
witness Y3 ${keyOf('Y3').text}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
`

const witnessLine = (name: string, url = '') => `witness ${name} ${keyOf(name).text} ${url}`

const refusal = (text: string) => {
  try {
    readPolicy(text)
    return null
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
    return error
  }
}

describe('A policy', () => {
  it('is met by the witnesses that it needs', () => {
    const policy = readPolicy(EXAMPLE)
    fc.assert(
      fc.property(fc.subarray(NAMES), (names) => {
        const counted = (first: string) => names.filter((name) => name.startsWith(first)).length
        const keys = [log, ...names.map(keyOf), keyOf('stranger')]
        expect(isMet(policy, keys)).to.equal(counted('X') >= 2 && counted('Y') >= 1)
        expect(isMet(policy, [...keys, ...keys])).to.equal(isMet(policy, keys))
      }),
    )
  })

  it('names its logs and witnesses', () => {
    const { logs, witnesses } = readPolicy(
      `log ${log.text} https://log.example/\n${witnessLine('X1', 'https://x.example/w')}\n${witnessLine('X2')}\nquorum X1`,
    )
    expect(logs).to.deep.equal([{ key: log, url: 'https://log.example/' }])
    expect(witnesses).to.deep.equal([
      { name: 'X1', key: keyOf('X1'), url: 'https://x.example/w' },
      { name: 'X2', key: keyOf('X2'), url: null },
    ])
  })

  it('may need one witness, or none', () => {
    const one = readPolicy(`${witnessLine('X1')}\nquorum X1`)
    expect([isMet(one, []), isMet(one, [keyOf('X1')])]).to.deep.equal([false, true])
    expect(isMet(one, [log, keyOf('X2')])).to.equal(false)
    expect(isMet(readPolicy('quorum none'), [])).to.equal(true)
    expect(readPolicy('quorum none')).to.deep.include({ logs: [], witnesses: [] })
  })

  it('knows a witness by its key, not by the name of the key', () => {
    const one = readPolicy(`${witnessLine('X1')}\nquorum X1`)
    const forged = witnessSigner(keyOf('X1').name, seed('forged'), Date.now).key
    expect(isMet(one, [forged])).to.equal(false)
  })

  it('has comments, empty lines, tabs and lines in any order', () => {
    const text = `# one; two\n\n \t \n\twitness\tX1  ${keyOf('X1').text}\t\n  # three\nquorum X1\nlog ${log.text}\n`
    expect(isMet(readPolicy(text), [keyOf('X1')])).to.equal(true)
  })

  it('may stand in one line', () => {
    const text = EXAMPLE.trim().replace(/\n+/g, ';')
    expect(readPolicy(text)).to.deep.equal(readPolicy(EXAMPLE))
    expect(readPolicy(`${text};\n`)).to.deep.equal(readPolicy(EXAMPLE))
    expect(refusal(`quorum none; ${witnessLine('X1')};group g`)?.line).to.equal(3)
  })

  it('may be called after an object of JavaScript', () => {
    const policy = readPolicy(
      `witness __proto__ ${keyOf('X1').text}\ngroup constructor any __proto__\nquorum constructor`,
    )
    expect([isMet(policy, []), isMet(policy, [keyOf('X1')])]).to.deep.equal([false, true])
    expect(refusal('quorum toString')?.line).to.equal(1)
  })

  const X1 = witnessLine('X1')
  const X2 = witnessLine('X2')
  const BAD: Readonly<Record<string, readonly [text: string, line: number | null]>> = {
    'no quorum': [X1, null],
    'nothing in it': ['', null],
    'two quorums': ['quorum none\nquorum none', 2],
    'a quorum of two names': [`${X1}\n${X2}\nquorum X1 X2`, 3],
    'a quorum without a name': [`${X1}\nquorum`, 2],
    'a quorum that nothing defines': [`${X1}\nquorum X2`, 2],
    'a quorum that is defined later': [`quorum X1\n${X1}`, 1],
    'a name for two witnesses': [`${X1}\n${X2.replace('X2', 'X1')}\nquorum X1`, 2],
    'one key under two names': [`${X1}\n${X1.replace('X1', 'X2')}\nquorum X1`, 2],
    'one public key under two key names': [
      `${X1}\nwitness X2 ${witnessSigner('other.example', seed('X1'), Date.now).key.text}\nquorum X1`,
      2,
    ],
    'a log that is its own witness': [
      `log ${log.text}\nwitness X1 ${witnessSigner('log.example', seed('log'), Date.now).key.text}\nquorum X1`,
      2,
    ],
    'a log twice': [`log ${log.text}\nlog ${log.text}\nquorum none`, 2],
    'a witness called none': [`${X1.replace('X1', 'none')}\nquorum none`, 1],
    'a group with the name of a witness': [`${X1}\n${X2}\ngroup X1 any X2\nquorum X1`, 3],
    'a group called none': [`${X1}\ngroup none any X1\nquorum none`, 2],
    'a member twice in a group': [`${X1}\ngroup g 2 X1 X1\nquorum g`, 2],
    'a member of two groups': [`${X1}\n${X2}\ngroup g any X1\ngroup h any X1 X2\nquorum h`, 4],
    'a group in itself': [`${X1}\ngroup g any X1 g\nquorum g`, 2],
    'a member that nothing defines': [`${X1}\ngroup g any X2\nquorum g`, 2],
    'none as a member': [`${X1}\ngroup g any X1 none\nquorum g`, 2],
    'a group without members': [`${X1}\ngroup g all\nquorum g`, 2],
    'a group that needs nobody': [`${X1}\ngroup g 0 X1\nquorum g`, 2],
    'a group that needs more than it has': [`${X1}\ngroup g 2 X1\nquorum g`, 2],
    'a group that needs 1.5': [`${X1}\n${X2}\ngroup g 1.5 X1 X2\nquorum g`, 3],
    'a group that needs 01': [`${X1}\ngroup g 01 X1\nquorum g`, 2],
    'the key of a witness for a log': [`log ${keyOf('X1').text}\nquorum none`, 1],
    'the key of a log for a witness': [`witness X1 ${log.text}\nquorum none`, 1],
    'a key that is none': [`witness X1 ${keyOf('X1').text}A\nquorum none`, 1],
    'a witness without a key': ['witness X1\nquorum none', 1],
    'a log without a key': ['log\nquorum none', 1],
    'a witness with two URLs': [`${X1} https://a https://b\nquorum X1`, 1],
    'a log with two URLs': [`log ${log.text} https://a https://b\nquorum none`, 1],
    'a word that it does not have': ['Quorum none', 1],
    'a carriage return': [`${X1}\r\nquorum X1\r\n`, 1],
    'a null character in a comment': ['# \0\nquorum none', 1],
    'a space of another kind': ['quorum\u00a0none', 1],
    'none of two spellings': ['quorum \u212a', 1],
  }
  for (const [what, [text, line]] of Object.entries(BAD)) {
    it(`is refused with ${what}`, () => {
      const error = refusal(text)
      expect(error).to.be.instanceOf(PolicyError)
      expect(error?.line).to.equal(line)
      expect(error?.message).to.match(line === null ? /^Policy: / : /^Policy, line \d+: /)
    })
  }

  it('is read or refused, whatever it is', () => {
    fc.assert(
      fc.property(fc.oneof(hostileTexts, nearlyTexts(fc.constant(EXAMPLE))), (text) => {
        const error = refusal(text)
        if (!error) expect(isMet(readPolicy(text), NAMES.map(keyOf))).to.equal(true)
      }),
      { numRuns: 1000 },
    )
  })
})
