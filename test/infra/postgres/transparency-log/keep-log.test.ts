import { expect } from 'chai'
import { logKeeper } from '../../../../src/infra/postgres/transparency-log/keep-log.ts'
import { logWriter } from '../../../../src/infra/postgres/transparency-log/log-writer.ts'
import { WitnessContradicts } from '../../../../src/infra/witnesses/witness-contradicts.ts'
import { parseCheckpoint } from '../../../../src/transparency-log/checkpoint.ts'
import { readNote } from '../../../../src/transparency-log/signed-note.ts'
import { EMPTY_ROOT, isConsistent } from '../../../../src/transparency-log/tree.ts'
import { type OpenLog, ORIGIN, openLog, sessionOf, signer } from '../../../support/open-log.ts'

/** One that remembers what it has cosigned, as the protocol wants it. */
function honestWitness() {
  let seen = { size: 0, root: EMPTY_ROOT }
  const witness = {
    away: false,
    asked: 0,
    size: () => seen.size,
    cosign: async (
      note: string,
      size: number,
      prove: (from: number) => Promise<readonly Buffer[]>,
    ) => {
      witness.asked++
      if (witness.away) return { note, met: false }
      const next = parseCheckpoint(readNote(note)?.text ?? '')
      if (next?.size !== size) throw new Error('not the checkpoint that it says')
      const { size: from, root: fromRoot } = seen
      if (from > size) throw new WitnessContradicts('w', from, `but this log has ${size}`)
      const proof = from === 0 || from === size ? [] : await prove(from)
      if (!isConsistent({ from, fromRoot, to: size, toRoot: next.root, proof })) {
        throw new WitnessContradicts('w', from, 'and not those')
      }
      seen = next
      return { note: `${note}cosigned\n`, met: true }
    },
  }
  return witness
}

describe('The keeping of the log with witnesses', () => {
  let log: OpenLog
  beforeEach(async () => {
    log = await openLog()
  })
  afterEach(() => log.stop())

  const keeper = (witness: ReturnType<typeof honestWitness> | null) => {
    const options = { origin: ORIGIN, signers: [signer] as const, witnessed: witness !== null }
    const { round } = logKeeper(logWriter(options), witness, () => {})
    const first = new AbortController().signal
    return (over = first) => round({ ...sessionOf(log.root), over })
  }
  const stored = async () => (await log.root.query('select * from log_checkpoint')).rows[0]

  it('publishes what they have cosigned, and only that', async () => {
    const witness = honestWitness()
    const round = keeper(witness)
    await log.write(1)
    await round()
    expect(await stored()).to.include({ size: 1, published_size: 1 })
    expect((await stored()).published_note).to.match(/cosigned\n$/)
    witness.away = true
    await log.write(1)
    await round()
    expect(await stored()).to.include({ size: 2, published_size: 1 })
    witness.away = false
    await round()
    expect(await stored()).to.include({ size: 2, published_size: 2, published_position: 2 })
    const { asked } = witness
    await round()
    expect(witness.asked).to.equal(asked)
  })

  it('signs nothing more once one of them knows another log, until it says otherwise', async () => {
    const witness = honestWitness()
    const round = keeper(witness)
    await log.write(1)
    await round()
    const honest = witness.cosign
    witness.cosign = async () => {
      throw new WitnessContradicts('w', 9, 'but this log has 2')
    }
    await log.write(2)
    const refusal = async () => {
      const error = await round().catch((error: unknown) => error)
      expect(error).to.be.instanceOf(WitnessContradicts)
    }
    await refusal()
    const before = await stored()
    await log.write(3)
    await refusal()
    await refusal()
    expect(await stored()).to.eql(before)
    witness.cosign = honest
    await round()
    expect(await stored()).to.include({ size: 3, published_size: 3 })
  })

  it('hears them again each time that it comes to lead', async () => {
    const witness = honestWitness()
    const round = keeper(witness)
    await log.write(1)
    await round()
    witness.away = true
    await log.write(2)
    const again = new AbortController().signal
    await round(again)
    expect(await stored()).to.include({ size: 1 })
    witness.away = false
    await round(again)
    expect(await stored()).to.include({ size: 2, published_size: 2 })
  })

  it('signs no event before they have been heard', async () => {
    const witness = honestWitness()
    witness.away = true
    const round = keeper(witness)
    await log.write(1)
    await round()
    await round()
    expect(await stored()).to.include({ size: 0, published_note: null })
    witness.away = false
    await round()
    expect(await stored()).to.include({ size: 1, published_size: 1 })
  })

  it('signs nothing on a database of yesterday, or on one that was begun anew, even after a restart', async () => {
    const witness = honestWitness()
    await log.write(1)
    await keeper(witness)()
    await log.root.query(
      ['log_checkpoint', 'log_tiles', 'log_bundles', 'events', 'streams']
        .map((table) => `create table ${table}_of_yesterday as table ${table};`)
        .join(' '),
    )
    for (const id of [2, 3]) await log.write(id)
    await keeper(witness)()
    expect(witness.size()).to.equal(3)
    await log.root.query(
      ['log_checkpoint', 'log_tiles', 'log_bundles']
        .map(
          (table) => `alter table ${table} disable trigger all; delete from ${table};
          insert into ${table} table ${table}_of_yesterday;`,
        )
        .join(' '),
    )
    const before = await stored()
    const refusal = async () => {
      const error = await keeper(witness)().catch((error: unknown) => error)
      expect(error).to.be.instanceOf(WitnessContradicts)
    }
    await refusal()
    expect(await stored()).to.eql(before)
    await log.root.query(`update log_checkpoint set size = 0, root = sha256(''), position = 0, note = null,
      published_size = 0, published_position = 0, published_note = null; delete from log_tiles; delete from log_bundles`)
    await refusal()
    expect(await stored()).to.include({ size: 0, position: 0 })
    expect(witness.size()).to.equal(3)
  })
})
