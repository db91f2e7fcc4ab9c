import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import fc from 'fast-check'
import type { Witness } from '../../../src/app/ports/witness.ts'
import { secretWitnessSigner } from '../../../src/infra/credentials/note-signers.ts'
import {
  type CheckpointFiles,
  checkpointFiles,
} from '../../../src/infra/witness/checkpoint-files.ts'
import { openWitness, StoreRefused } from '../../../src/infra/witness/witness.ts'
import { writeAddCheckpoint } from '../../../src/transparency-log/add-checkpoint.ts'
import { checkpointText } from '../../../src/transparency-log/checkpoint.ts'
import type { NoteSigners } from '../../../src/transparency-log/keys.ts'
import { readNote, verifiedBy, writeNote } from '../../../src/transparency-log/signed-note.ts'
import { leafHash } from '../../../src/transparency-log/tree.ts'
import { silent } from '../../support/log.ts'
import { type TestLog, testLog } from '../../support/test-log.ts'

const NOW = 1_795_844_000_123
const signerOf = (secret: string) => secretWitnessSigner('witness.test', secret, () => NOW)
const SIGNER = signerOf('w'.repeat(32))

describe('A witness', () => {
  let directory: string
  let files: CheckpointFiles
  let log: TestLog
  let witness: Witness

  const open = async (signers: NoteSigners = [SIGNER], logKeys = [log.key]) => {
    files = await checkpointFiles(directory, 0)
    return openWitness({ files, logKeys, signers, log: silent }).catch((error) => {
      files.close()
      throw error
    })
  }
  const reopen = async (...how: Parameters<typeof open>) => {
    files.close()
    witness = await open(...how)
  }
  const add = (request: string) => witness.addCheckpoint(Buffer.from(request))
  /** The outcome of a submission, and the size that it names. */
  const said = async (request: string | Promise<string>) => {
    const answer = await add(await request)
    return answer.outcome === 'conflict' ? `conflict ${answer.size}` : answer.outcome
  }
  const size = () => witness.logs()[0]?.size

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'witness-'))
    log = testLog()
    witness = await open()
  })
  afterEach(async () => {
    files.close()
    await rm(directory, { recursive: true, force: true })
  })

  it('cosigns the first checkpoint, and what extends it', async () => {
    for (const [old, next] of [
      [0, 1],
      [1, 5],
      [5, 5],
      [5, 300],
    ] as const) {
      log.grow(next - log.size())
      const answer = await add(await log.request(old))
      const signed = answer.outcome === 'cosigned' ? answer.signatures : ''
      const note = writeNote(log.text(next), [signed])
      expect(verifiedBy(note, [SIGNER.key])).to.deep.equal([SIGNER.key])
      expect(size()).to.equal(next)
    }
  })

  it('cosigns the empty log', async () => {
    expect(await said(log.request(0))).to.equal('cosigned')
    expect(size()).to.equal(0)
    log.grow(3)
    expect(await said(log.request(0))).to.equal('cosigned')
  })

  it('refuses a root that the empty log does not have', async () => {
    const text = checkpointText({ origin: log.origin, size: 0, root: leafHash('x') })
    const note = writeNote(text, [await log.signer.sign(text)])
    expect(await said(writeAddCheckpoint({ old: 0, proof: [], note }))).to.equal('conflict 0')
  })

  it('says where it stands to a log that believes something else', async () => {
    log.grow(8)
    await add(await log.request(0, 5))
    for (const old of [0, 3, 8]) expect(await said(log.request(old))).to.equal('conflict 5')
    expect(size()).to.equal(5)
  })

  it('refuses a log that was rolled back', async () => {
    log.grow(8)
    await add(await log.request(0))
    expect(await said(log.request(5, 5))).to.equal('conflict 8')
    expect(await said(log.request(0, 5))).to.equal('conflict 8')
  })

  it('refuses another root of the same size', async () => {
    log.grow(8)
    await add(await log.request(0))
    log.grow(1, 'forged', 7)
    expect(await said(log.request(8))).to.equal('conflict 8')
    expect(size()).to.equal(8)
  })

  it('refuses what grows from another past', async () => {
    log.grow(8)
    await add(await log.request(0))
    log.grow(5, 'forged', 7)
    expect(await said(log.request(8))).to.equal('not_consistent')
    expect(size()).to.equal(8)
  })

  it('refuses a proof of which anything is missing, changed or too much', async () => {
    log.grow(20)
    await add(await log.request(0, 6))
    const proof = log.prove(6, 20)
    const note = await log.note(20)
    const wrong = [
      proof.slice(1),
      proof.slice(0, -1),
      [...proof, leafHash('x')],
      proof.toReversed(),
      proof.with(1, leafHash('x')),
      [],
    ]
    for (const proof of wrong) {
      expect(await said(writeAddCheckpoint({ old: 6, proof, note }))).to.equal('not_consistent')
    }
    expect(await said(writeAddCheckpoint({ old: 6, proof, note }))).to.equal('cosigned')
    const more = writeAddCheckpoint({ old: 20, proof: [leafHash('x')], note })
    expect(await said(more)).to.equal('not_consistent')
  })

  it('knows only the logs that it was told of', async () => {
    const other = testLog('other.test/log')
    other.grow(1)
    expect(await said(other.request(0))).to.equal('unknown_log')
    await reopen([SIGNER], [log.key, other.key])
    expect(await said(other.request(0))).to.equal('cosigned')
    expect(witness.logs()).to.deep.equal([
      { origin: log.origin, size: 0 },
      { origin: other.origin, size: 1 },
    ])
  })

  it('refuses what the log has not signed', async () => {
    log.grow(1)
    const forger = testLog(log.origin, 'another secret')
    forger.grow(1)
    expect(await said(forger.request(0))).to.equal('not_signed')
    const bare = log.text(1)
    const own = writeNote(bare, [await SIGNER.sign(bare)])
    expect(await said(writeAddCheckpoint({ old: 0, proof: [], note: own }))).to.equal('not_signed')
    expect(size()).to.equal(0)
  })

  it('does not care who else has signed', async () => {
    log.grow(1)
    const forger = testLog(log.origin, 'another secret')
    const note = await log.note(1, [forger.signer, log.signer])
    expect(await said(writeAddCheckpoint({ old: 0, proof: [], note }))).to.equal('cosigned')
    const [name = ''] = (await readdir(directory)).filter((name) => name.endsWith('.note'))
    const stored = readNote(await readFile(join(directory, name), 'utf8'))
    expect(stored?.signatures.map(({ id }) => id)).to.deep.equal([log.key.id, SIGNER.key.id])
  })

  it('takes a log with either key while one replaces the other', async () => {
    log.grow(3)
    const renewed = testLog(log.origin, 'the next secret')
    renewed.grow(3)
    await reopen([SIGNER], [log.key, renewed.key])
    expect(await said(log.request(0, 1))).to.equal('cosigned')
    expect(await said(renewed.request(1, 2))).to.equal('cosigned')
    const both = await log.note(3, [log.signer, renewed.signer])
    const request = writeAddCheckpoint({ old: 2, proof: log.prove(2, 3), note: both })
    expect(await said(request)).to.equal('cosigned')
    expect(witness.logs()).to.deep.equal([{ origin: log.origin, size: 3 }])
  })

  it('refuses what is no such request', async () => {
    log.grow(2)
    const request = await log.request(0)
    const wrong = [
      '',
      'old 0',
      request.replace('old 0', 'old 00'),
      request.replace('old 0', 'old -1'),
      request.replace('old 0', 'OLD 0'),
      request.replace('old 0\n', ''),
      request.replace('old 0\n', 'old 0\nx\n'),
      request.replace('\n2\n', '\n02\n'),
      request.slice(0, -1),
      request.replaceAll('\n', '\r\n'),
      await log.request(3),
    ]
    for (const text of wrong) expect(await said(text), JSON.stringify(text)).to.equal('malformed')
    const notUtf8 = Buffer.concat([Buffer.from(request), Buffer.of(0xff)])
    expect((await witness.addCheckpoint(notUtf8)).outcome).to.equal('malformed')
  })

  it('answers anything, and signs nothing of it', async () => {
    log.grow(4)
    const request = await log.request(0)
    const changed = fc
      .tuple(fc.nat(request.length - 1), fc.string({ maxLength: 3 }))
      .map(([at, text]) => request.slice(0, at) + text + request.slice(at + 1))
      .filter((text) => text !== request)
    await fc.assert(
      fc.asyncProperty(fc.oneof(changed, fc.string()), async (text) => {
        expect(await said(text)).not.to.equal('cosigned')
      }),
    )
    expect(await said(request)).to.equal('cosigned')
  })

  it('cosigns one of two that extend the same checkpoint at once', async () => {
    log.grow(10)
    await add(await log.request(0, 4))
    const honest = await log.request(4, 9)
    log.grow(6, 'forged', 4)
    const answers = await Promise.all([said(honest), said(log.request(4, 10))])
    expect(answers.toSorted()).to.deep.equal(['conflict 9', 'cosigned'])
  })

  it('of which nothing but growth is asked keeps to it, whatever is asked in what order', async () => {
    const fork = testLog(log.origin)
    log.grow(40)
    fork.grow(17)
    fork.grow(23, 'forged')
    const requests = fc.array(
      fc.record({ forged: fc.boolean(), old: fc.nat(40), size: fc.nat(40) }),
      { maxLength: 30 },
    )
    await fc.assert(
      fc.asyncProperty(requests, async (all) => {
        await rm(directory, { recursive: true, force: true })
        await reopen()
        const cosigned: { forged: boolean; size: number }[] = []
        for (const { forged, old, size } of all) {
          const from = forged ? fork : log
          // Often what is right, or the test would hardly ever get beyond the first.
          const believed = old % 2 === 0 ? (witness.logs()[0]?.size ?? 0) : old
          if ((await said(from.request(believed, size))) === 'cosigned') {
            cosigned.push({ forged, size })
          }
        }
        const sizes = cosigned.map(({ size }) => size)
        expect(sizes).to.deep.equal(sizes.toSorted((a, b) => a - b))
        const apart = cosigned.filter(({ size }) => size > 17)
        expect(new Set(apart.map(({ forged }) => forged)).size).to.be.at.most(1)
      }),
      { numRuns: 20 },
    )
  })

  describe('that is started again', () => {
    beforeEach(async () => {
      log.grow(8)
      await add(await log.request(0))
    })
    const stored = () => files.place(log.origin)
    const refusal = () =>
      open().then(
        () => 'opened',
        (error) => (error instanceof StoreRefused ? 'refused' : error),
      )

    it('goes on where it was', async () => {
      await reopen()
      expect(size()).to.equal(8)
      expect(await said(log.request(0, 8))).to.equal('conflict 8')
      log.grow(1)
      expect(await said(log.request(8))).to.equal('cosigned')
    })

    it('refuses a stored note of which any byte is missing or changed', async () => {
      const note = await readFile(stored())
      files.close()
      const lengths = [0, 1, note.length >> 1, note.length - 1]
      for (const length of lengths) {
        await truncate(stored(), length)
        expect(await refusal(), `${length} bytes`).to.equal('refused')
        await writeFile(stored(), note)
      }
      const places = [0, 20, 30, 60, note.length - 100, note.length - 2]
      for (const at of places) {
        await writeFile(stored(), note.with(at, (note[at] ?? 0) ^ 1))
        expect(await refusal(), `byte ${at}`).to.equal('refused')
      }
      await writeFile(stored(), note)
      witness = await open()
      expect(size()).to.equal(8)
    })

    it('refuses the stored note of another log', async () => {
      const other = testLog('other.test/log')
      const note = await readFile(stored())
      await writeFile(files.place(other.origin), note)
      files.close()
      const opened = open([SIGNER], [log.key, other.key]).catch((error) => error)
      expect(await opened).to.be.instanceOf(StoreRefused)
    })

    it('refuses what was not cosigned with its key', async () => {
      files.close()
      const other = signerOf('o'.repeat(32))
      expect(await open([other]).catch((error) => error)).to.be.instanceOf(StoreRefused)
      witness = await open([other, SIGNER])
      expect(witness.keys).to.deep.equal([other.key.text, SIGNER.key.text])
      const answer = await add(await log.request(8))
      const note = writeNote(log.text(8), [answer.outcome === 'cosigned' ? answer.signatures : ''])
      expect(verifiedBy(note, [SIGNER.key, other.key])).to.have.length(2)
      await reopen([other])
      expect(size()).to.equal(8)
    })

    it('cosigns with no previous key that has cosigned nothing of the log', async () => {
      await reopen([SIGNER, signerOf('o'.repeat(32))])
      expect(witness.keys).to.deep.equal([SIGNER.key.text])
      const answer = await add(await log.request(8))
      const lines = answer.outcome === 'cosigned' ? answer.signatures : ''
      expect(readNote(writeNote(log.text(8), [lines]))?.signatures).to.have.length(1)
    })

    it('leaves no draft of a killed process in its way', async () => {
      files.close()
      await writeFile(`${stored()}.draft`, 'half a no')
      witness = await open()
      expect(size()).to.equal(8)
      log.grow(1)
      expect(await said(log.request(8))).to.equal('cosigned')
    })
  })

  it('cosigns nothing that it cannot store', async () => {
    log.grow(4)
    await add(await log.request(0))
    await rm(directory, { recursive: true, force: true })
    log.grow(1)
    const failure = await add(await log.request(4)).catch((error) => error)
    expect(failure).to.be.instanceOf(Error)
    expect(size()).to.equal(4)
  })

  it('cosigns nothing when somebody else has written to its store', async () => {
    log.grow(8)
    await add(await log.request(0, 4))
    const earlier = await readFile(files.place(log.origin))
    await add(await log.request(4, 6))
    await writeFile(files.place(log.origin), earlier)
    const failure = await add(await log.request(6, 8)).catch((error) => error)
    expect(failure.message).to.match(/was changed by somebody else$/)
    expect(size()).to.equal(6)
  })

  it('shares its store with no other', async () => {
    const second = await checkpointFiles(directory, 0).catch((error) => error)
    expect(second.message).to.match(/^Another process works in this directory: /)
    files.close()
    files = await checkpointFiles(directory, 0)
  })
})
