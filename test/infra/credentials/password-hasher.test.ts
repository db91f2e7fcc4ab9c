import { stat } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import bcrypt from 'bcrypt'
import { expect } from 'chai'
import { AppError } from '../../../src/app/errors.ts'
import { bcryptPasswordHasher } from '../../../src/infra/credentials/password-hasher.ts'

const PEPPER = 'pepper for the tests'

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

async function milliseconds(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  await work()
  return performance.now() - began
}

describe('A password hash', () => {
  const hasher = bcryptPasswordHasher(PEPPER, 10)
  let hash: string

  before(async () => {
    hash = await hasher.hash('correct horse')
  })

  it('is a salted bcrypt hash of the cost asked for', async () => {
    expect(hash).to.match(/^\$2b\$10\$[./A-Za-z0-9]{53}$/)
    expect(await hasher.hash('correct horse')).not.to.equal(hash)
  })

  it('verifies its password alone', async () => {
    expect(await hasher.verify('correct horse', hash)).to.equal(true)
    for (const other of ['correct horsE', 'correct horse ', ' correct horse', 'correct', '']) {
      expect(await hasher.verify(other, hash), other).to.equal(false)
    }
  })

  it('is of no use without the pepper', async () => {
    expect(await bcrypt.compare('correct horse', hash)).to.equal(false)
    const other = bcryptPasswordHasher(`${PEPPER}!`, 10)
    expect(await other.verify('correct horse', hash)).to.equal(false)
  })

  it('tells passwords apart that differ after 72 bytes, or after a NUL', async () => {
    const long = await hasher.hash(`${'a'.repeat(72)}x`)
    expect(await hasher.verify(`${'a'.repeat(72)}x`, long)).to.equal(true)
    expect(await hasher.verify(`${'a'.repeat(72)}y`, long)).to.equal(false)
    const cut = await hasher.hash('before\0after')
    expect(await hasher.verify('before\0other', cut)).to.equal(false)
  })

  it('is the same for spellings that look the same', async () => {
    const composed = await hasher.hash('\u00c5ngstr\u00f6m \u{1f600}')
    expect(await hasher.verify('A\u030angstro\u0308m \u{1f600}', composed)).to.equal(true)
    expect(await hasher.verify('\u212bngstr\u00f6m \u{1f600}', composed)).to.equal(true)
    expect(await hasher.verify('Angstrom \u{1f600}', composed)).to.equal(false)
  })

  it('is never right when there is none', async () => {
    expect(await hasher.verify('correct horse', null)).to.equal(false)
    expect(await hasher.verify('', null)).to.equal(false)
    expect(await hasher.verify('correct horse', '')).to.equal(false)
    expect(await hasher.verify('correct horse', 'no hash')).to.equal(false)
  })

  it('takes as long to refuse when there is none as when it is wrong', async () => {
    const [nobody, wrong]: [number[], number[]] = [[], []]
    for (let round = 0; round < 9; round++) {
      nobody.push(await milliseconds(() => hasher.verify('wrong horse', null)))
      wrong.push(await milliseconds(() => hasher.verify('wrong horse', hash)))
    }
    expect(median(nobody) / median(wrong)).to.be.within(0.6, 1.6)
  })

  it('is outdated when its cost is not the current one', () => {
    expect(hasher.isOutdated(hash)).to.equal(false)
    expect(bcryptPasswordHasher(PEPPER, 11).isOutdated(hash)).to.equal(true)
    expect(bcryptPasswordHasher(PEPPER, 9).isOutdated(hash)).to.equal(true)
  })
})

describe('Hashing', () => {
  const COST = 12
  const hasher = bcryptPasswordHasher(PEPPER, COST)
  const slots = Math.min(availableParallelism(), 3)

  it('goes on for so many at once, and refuses who has waited for a second', async () => {
    const one = await milliseconds(() => hasher.hash('password'))
    const many = Math.ceil((slots * 3_000) / one)
    const waits: number[] = []
    let done = 0
    const outcomes = await Promise.allSettled(
      Array.from({ length: many }, async () => {
        const began = performance.now()
        try {
          await hasher.hash('password')
          done += 1
        } catch (error) {
          waits.push(performance.now() - began)
          throw error
        }
      }),
    )
    const refused = outcomes.flatMap((outcome) =>
      outcome.status === 'rejected' ? [outcome.reason] : [],
    )
    expect(done).to.be.at.least(slots)
    expect(refused).to.have.length.greaterThan(0)
    for (const error of refused) {
      expect(error).to.be.instanceOf(AppError).with.property('code', 'hashing_busy')
      expect(error.retryAfter).to.be.greaterThan(0)
    }
    expect(Math.min(...waits)).to.be.greaterThan(900)
    expect(Math.max(...waits)).to.be.lessThan(2_500)
    expect(await hasher.verify('password', await hasher.hash('password'))).to.equal(true)
  })

  it('leaves a thread for files and names, however much is asked of it', async () => {
    const busy = Promise.allSettled(Array.from({ length: 12 }, () => hasher.hash('password')))
    const began = performance.now()
    await stat('.')
    expect(performance.now() - began).to.be.lessThan(200)
    await busy
  })
})
