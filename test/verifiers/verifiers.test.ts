import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import fc from 'fast-check'
import { skipped } from '../support/skipped.ts'
import { hasGo } from './go.ts'
import { type RandomLog, randomLogs } from './random-logs.ts'
import { TAMPERINGS } from './tamperings.ts'
import { truthsOf } from './truths.ts'
import { openVerifiers, type Question, type Verifiers } from './verifiers.ts'

const LOGS = Number(process.env.VERIFIER_LOGS ?? 20)
const MANY = Number(process.env.VERIFIER_TAMPERINGS ?? 100)
const SEED = Number(process.env.VERIFIER_SEED ?? Date.now() % 2 ** 31)

describe(`A log before Tasktrail, the Go team's sumdb packages and @sigstore/verify (VERIFIER_SEED=${SEED})`, function () {
  this.timeout(600_000)

  let directory: string
  let verifiers: Verifiers
  let logs: readonly RandomLog[]

  before(async function () {
    if (!hasGo) return skipped(this, 'no Go with golang.org/x/mod of Debian on this machine')
    directory = await mkdtemp(join(tmpdir(), 'tasktrail-logs-'))
    verifiers = await openVerifiers()
    logs = await randomLogs(directory, LOGS, SEED)
  })
  after(async () => {
    if (!hasGo) return
    await verifiers.close()
    await rm(directory, { recursive: true })
  })

  async function expectAgreement(questions: readonly Question[]): Promise<void> {
    const found = await verifiers.disagreements(questions)
    expect(found.length, found.slice(0, 10).join('\n')).to.equal(0)
  }

  it(`is what all accept (${LOGS} logs)`, async () => {
    const questions: Question[] = []
    for (const log of logs) questions.push(...(await truthsOf(log, SEED)))
    await expectAgreement(questions)
  })

  const pick = <T>(list: readonly T[], choice: number): T => {
    const found = list[choice % list.length]
    if (found === undefined) throw new Error('Nothing to choose from')
    return found
  }

  /** Each kind in turn, at random places of random logs. */
  async function tampered(): Promise<readonly Question[]> {
    const kinds = Object.entries(TAMPERINGS)
    const choices = fc.sample(fc.tuple(fc.nat(), fc.nat(), fc.nat()), { numRuns: MANY, seed: SEED })
    const scenes = logs.flatMap((log) =>
      log.steps.filter(({ size }) => size > 0).map((step) => ({ log, step })),
    )
    const questions: Question[] = []
    for (const [at, [which, a, b]] of choices.entries()) {
      const [name, tampering] = pick(kinds, at)
      const scene = pick(scenes, which)
      const about = `${scene.log.name}, at ${scene.step.size}, ${name} (${a}, ${b})`
      questions.push({ about, ...(await tampering({ ...scene, a, b })) })
    }
    return questions
  }

  it(`is what all refuse once it is tampered with (${MANY} times)`, async () => {
    await expectAgreement(await tampered())
  })

  it('is what a wrong answer would be noticed about', async () => {
    const [, log] = logs
    const truths = log ? await truthsOf(log, SEED) : []
    const lies = truths.map((question) => ({ ...question, isTrue: false }))
    expect(await verifiers.disagreements(lies)).to.have.length(truths.length)
  })
})
