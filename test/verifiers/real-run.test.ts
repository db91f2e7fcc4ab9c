import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect } from 'chai'
import fc from 'fast-check'
import pg from 'pg'
import { utf8 } from '../../src/transparency-log/lines.ts'
import {
  type ProofFile,
  readProofFile,
  writeProofFile,
} from '../../src/transparency-log/proof-file.ts'
import { bundlePath, grownTiles, tilePath } from '../../src/transparency-log/tiles.ts'
import { until } from '../support/processes.ts'
import { giveRole } from '../support/roles.ts'
import { skipped } from '../support/skipped.ts'
import { type System, startSystem } from '../support/system.ts'
import { workers } from '../support/workers.ts'
import { flipped } from '../transparency-log/changed.ts'
import type { Claim, ConsistencyClaim } from './claims.ts'
import { hasGo } from './go.ts'
import { proofFileClaims, type ServedLog, servedLog } from './served-log.ts'
import { TAMPERINGS } from './tamperings.ts'
import { openVerifiers, type Question, type Verifiers } from './verifiers.ts'

type User = Awaited<ReturnType<System['newUser']>>

const TASKS = 10
const CHANGES = 8
const EVERY = 7
const SEED = Number(process.env.VERIFIER_SEED ?? Date.now() % 2 ** 31)

describe(`The log of a running system before those verifiers (VERIFIER_SEED=${SEED})`, function () {
  this.timeout(300_000)

  let directory: string
  let system: System
  let processes: ReturnType<typeof workers>
  let verifiers: Verifiers
  let auditor: User
  let served: ServedLog
  let keys: readonly string[]
  /** As the service answered it. */
  let note: string
  let proofs: readonly string[]
  let earlier: number

  const bytesAt = async (path: string): Promise<Buffer> => {
    const headers = { authorization: `Bearer ${auditor.token}` }
    const answer = await fetch(system.urls.task + path, { headers })
    expect(answer.status, path).to.equal(200)
    return Buffer.from(await answer.arrayBuffer())
  }
  const textAt = async (path: string) => (await bytesAt(path)).toString()
  /** Waits for the checkpoint that covers the event. */
  async function proofOf(position: number): Promise<string> {
    const path = `/audit/events/${position}/proof`
    await until(async () => {
      const { status, body } = await system.call('GET', path, { token: auditor.token })
      if (status !== 200) expect(body.code).to.equal('proof_not_ready')
      return status === 200
    }, `the proof of event ${position}`)
    return textAt(path)
  }
  const call = async (user: User, method: string, path: string, body?: object) => {
    const answer = await system.call(method, path, { token: user.token, body })
    expect(answer.status, `${method} ${path}`).to.be.below(300)
    return answer.body
  }

  /** The positions of its events. */
  async function taskWithChanges(user: User): Promise<readonly number[]> {
    const { task } = await call(user, 'POST', '/tasks', { title: `A task of ${user.username}` })
    for (let change = 1; change <= CHANGES; change++) {
      const status = change % 2 === 0 ? 'pending' : 'in_progress'
      await call(user, 'PUT', `/tasks/${task.id}`, { title: `Change ${change}`, status })
    }
    const { events } = await call(user, 'GET', `/tasks/${task.id}/history`)
    return events.map(({ position }: { position: number }) => position)
  }

  async function work(users: readonly User[]): Promise<readonly number[]> {
    const tasks = users.flatMap((user) => Array.from({ length: TASKS }, () => user))
    return (await Promise.all(tasks.map(taskWithChanges))).flat().toSorted((a, b) => a - b)
  }

  const sizeOf = (text: string) => Number(text.split('\n')[1])

  /** Copies the log as it is in a checkpoint. It grows meanwhile: reading entries is recorded. */
  async function copyLog(): Promise<void> {
    const save = async (path: string) => {
      const file = join(directory, path)
      await mkdir(dirname(file), { recursive: true })
      await writeFile(file, await bytesAt(`/log/${path}`))
    }
    for (const tile of grownTiles(0, sizeOf(note))) {
      await save(`tile/${tilePath(tile)}`)
      if (tile.level === 0) await save(`tile/${bundlePath(tile)}`)
    }
    await writeFile(join(directory, 'checkpoint'), note)
  }

  before(async function () {
    if (!hasGo) return skipped(this, 'no Go with golang.org/x/mod of Debian on this machine')
    directory = await mkdtemp(join(tmpdir(), 'tasktrail-served-'))
    verifiers = await openVerifiers()
    system = await startSystem()
    processes = workers(system.database.url)
    const { TEXT_KEY = '' } = system.env
    await processes.start({ TEXT_KEY, LOG_INTERVAL_MS: '50' })
    const users = [await system.newUser(), await system.newUser()]
    auditor = await system.newUser()
    const sql = new pg.Client(system.database.url)
    await sql.connect()
    await giveRole(sql, auditor.id, 'auditor')
    await sql.end()

    const [first = 0] = await work(users.slice(0, 1))
    earlier = sizeOf(readProofFile(await proofOf(first))?.checkpoint ?? '')
    await call(auditor, 'GET', `/audit/events?actor_id=${users[0]?.id}`)
    const positions = await work(users)
    await proofOf(positions.at(-1) ?? 0)
    note = await textAt('/log/checkpoint')
    keys = (await textAt('/log/key')).trimEnd().split('\n')
    const found: string[] = []
    for (const [at, position] of positions.entries()) {
      if (at % EVERY === 0) found.push(await proofOf(position))
    }
    proofs = found
    await copyLog()
    served = await servedLog(directory)
  })
  after(async () => {
    if (!hasGo) return
    processes.killAll()
    await Promise.all([verifiers.close(), system.stop()])
    await rm(directory, { recursive: true })
  })

  const questions = (about: string, isTrue: boolean | null, claims: readonly Claim[]) =>
    claims.map((claim): Question => ({ about, isTrue, claim }))
  async function expectAgreement(asked: readonly Question[]): Promise<void> {
    const found = await verifiers.disagreements(asked)
    expect(found.length, found.slice(0, 10).join('\n')).to.equal(0)
  }

  /** With the hashes that the service answers. */
  async function answered(from: number): Promise<ConsistencyClaim> {
    const { hashes } = JSON.parse(await textAt(`/log/consistency?from=${from}&to=${served.size}`))
    const proof = hashes.map((hash: string) => Buffer.from(hash, 'base64'))
    return { ...(await served.consistency(from)), proof }
  }

  it('has a full tile, and leaves for events and for what was looked at', async () => {
    const entries: string[] = []
    for (let index = 0; index < served.size; index++) {
      entries.push((await served.inclusion(index)).entry.toString())
    }
    expect(served.size).to.be.above(256)
    expect(earlier).to.be.within(1, served.size - 1)
    expect(entries.some((entry) => /"stream_id":"task-/.test(entry))).to.equal(true)
    const records = entries.filter((entry) => entry.startsWith('{"audit_accesses":'))
    expect(
      records.some((entry) => !/"audit_accesses":0,|"security_events":0}/.test(entry)),
    ).to.equal(true)
  })

  it('is what all accept: checkpoint, tiles, entries and proofs', async () => {
    const asked = [
      ...questions('the log', true, served.claims(keys)),
      ...proofs.flatMap((file) => questions('a proof', true, proofFileClaims(file, keys))),
    ]
    for (let index = 0; index < served.size; index++) {
      if (index % EVERY > 0 && index < served.size - 1) continue
      asked.push(...questions(`leaf ${index}`, true, [await served.inclusion(index)]))
    }
    for (const from of [1, earlier, 255, 256, 257, served.size - 1, served.size]) {
      const claims = [await served.consistency(from), await answered(from)]
      asked.push(...questions(`what extends ${from}`, true, claims))
    }
    await expectAgreement(asked)
  })

  it('is what all refuse once a file of it is tampered with', async () => {
    const step = { size: served.size, root: served.root, note }
    const numbers = fc.tuple(fc.nat(), fc.nat())
    const choices = fc.sample(numbers, { numRuns: 3, seed: SEED })
    const asked: Question[] = []
    for (const [name, tampering] of Object.entries(TAMPERINGS)) {
      for (const [a, b] of choices) {
        const found = await tampering({ log: { directory, keys }, step, a, b })
        asked.push({ about: `${name} (${a}, ${b})`, ...found })
      }
    }
    await expectAgreement(asked)
  })

  const PARTS: Readonly<Record<string, (file: ProofFile, bit: number) => Partial<ProofFile>>> = {
    'the entry': ({ extra }, bit) => ({ extra: bitOf(extra, bit) }),
    'a hash': ({ proof }, bit) => ({ proof: proof.with(0, bitOf(proof[0] ?? null, bit)) }),
    'the leaf': ({ index }) => ({ index: index + 1 }),
  }
  const bitOf = (bytes: Buffer | null, bit: number) =>
    bytes === null ? Buffer.of(0) : flipped(bytes, bit % (bytes.length * 8))

  it('is what all refuse with another event, hash or leaf in a proof', async () => {
    const asked: Question[] = []
    const bits = fc.sample(fc.nat(), { numRuns: proofs.length, seed: SEED })
    for (const [at, text] of proofs.entries()) {
      const file = readProofFile(text)
      if (file === null) throw new Error(`no proof: ${text}`)
      for (const [name, change] of Object.entries(PARTS)) {
        const changed = writeProofFile({ ...file, ...change(file, bits[at] ?? 0) })
        asked.push(...questions(name, false, proofFileClaims(changed, []))) // the keys are right
      }
    }
    await expectAgreement(asked)
  })

  it('is refused with any bit changed in a proof, by us or by all', async () => {
    const choices = fc.sample(fc.tuple(fc.nat(), fc.nat()), { numRuns: 60, seed: SEED })
    for (const [which, bit] of choices) {
      const bytes = Buffer.from(proofs[which % proofs.length] ?? '')
      const text = utf8(bitOf(bytes, bit))
      const claims = text === null ? null : claimsOf(text)
      if (text === null || claims === null) continue
      // What everybody accepted would be the only thing without a disagreement.
      const found = await verifiers.disagreements(questions(text, true, claims))
      expect(found.length, text).to.be.above(0)
    }
  })

  /** Null: we cannot even read it. */
  function claimsOf(text: string): readonly Claim[] | null {
    try {
      return proofFileClaims(text, keys)
    } catch {
      return null
    }
  }
})
