import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import type pg from 'pg'
import { secretLogSigner } from '../src/infra/credentials/note-signers.ts'
import { forgetKey } from '../src/infra/postgres/keys/required-key.ts'
import { parseVerifierKey } from '../src/transparency-log/keys.ts'
import { verifiedBy } from '../src/transparency-log/signed-note.ts'
import { connect } from './support/audit-fold.ts'
import { type TestDatabase, testDatabase } from './support/postgres.ts'
import { until } from './support/processes.ts'
import { tasksInLog } from './support/tasks-in-log.ts'
import { type StartedWitness, witnessProcesses } from './support/witness-processes.ts'
import { WORKER_SECRETS, workers } from './support/workers.ts'

const LOG = secretLogSigner('tasktrail.local/log', WORKER_SECRETS.LOG_KEY).key
const TABLES = ['log_checkpoint', 'log_tiles', 'log_bundles', 'log_records', 'events', 'streams']

describe('The worker and a witness, as processes,', () => {
  let database: TestDatabase
  let sql: pg.Client
  let log: ReturnType<typeof tasksInLog>
  let directory: string
  let processes: ReturnType<typeof workers>
  let witnesses: ReturnType<typeof witnessProcesses>
  let witness: StartedWitness
  let key: string

  beforeEach(async () => {
    database = await testDatabase()
    sql = await connect(database.url)
    log = tasksInLog(database)
    processes = workers(database.url)
    directory = await mkdtemp(join(tmpdir(), 'worker-and-witness-'))
    witnesses = witnessProcesses(directory, [LOG])
    witness = await witnesses.start()
    key = (await witnessKeys())[0]
  })
  afterEach(async () => {
    processes.killAll()
    witnesses.killAll()
    await Promise.all([log.close(), sql.end()])
    await database.drop()
    await rm(directory, { recursive: true })
  })

  const witnessKeys = async () => {
    const said: { keys: readonly [string, ...string[]] } = JSON.parse(
      await witness.line(/"msg":"witnessing"/),
    )
    return said.keys
  }
  const start = (env: Record<string, string> = {}) =>
    processes.start({
      ...env,
      LOG_INTERVAL_MS: '50',
      WITNESSES: `witness w ${key} ${witness.url}; quorum w`,
    })
  const stored = async () => {
    const facts = 'size, published_size, published_note, verifier_keys'
    return (await sql.query(`select ${facts} from log_checkpoint`)).rows[0]
  }
  const published = (size: number) =>
    until(async () => Number((await stored()).published_size) >= size, `${size} published leaves`)
  /** Leaves that the witness has cosigned. */
  const known = async () => (await witness.logs())[0]?.size ?? -1
  const inTheDatabase = (change: (table: string) => string) =>
    sql.query(
      TABLES.map(
        (table) => `alter table ${table} disable trigger all; ${change(table)};
          alter table ${table} enable trigger all;`,
      ).join('\n'),
    )

  it('publish what both have signed, also of the time when the witness was away', async () => {
    await start()
    await log.create(2)
    await published(2)
    const keys = [LOG, parseVerifierKey(key)].filter((one) => one !== null)
    expect(verifiedBy((await stored()).published_note, keys)).to.have.length(2)
    expect(await known()).to.equal(Number((await stored()).published_size))

    witness.child.kill('SIGKILL')
    await witness.ended
    const before = Number((await stored()).published_size)
    await log.create(2)
    await until(async () => Number((await stored()).size) >= before + 2, 'what is written alone')
    expect(Number((await stored()).published_size)).to.equal(before)
    witness = await witnesses.start({ PORT: new URL(witness.url).port })
    await published(before + 2)
  })

  // docs/runbooks/rotate-secrets.md, in its order.
  it('publish without a gap while the key of each is replaced', async () => {
    const [unknown, logSecret] = [randomUUID(), randomUUID()]
    const [own, nextOwn] = [randomUUID(), randomUUID()]
    const next = secretLogSigner(LOG.name, logSecret).key
    const rollWitness = async (env: Record<string, string>) => {
      witness.child.kill('SIGTERM')
      await witness.ended
      witness = await witnesses.start({ PORT: new URL(witness.url).port, ...env })
    }
    await rollWitness({ WITNESS_KEY: own, WITNESS_KEY_PREVIOUS: unknown })
    const [ownKey] = await witnessKeys()
    key = ownKey
    let worker = await start({ LOG_KEY_PREVIOUS: unknown })
    const rollWorker = async (env: Record<string, string>) => {
      worker.child.kill('SIGTERM')
      await worker.ended
      worker = await start(env)
    }
    /** Which keys have signed what is written now; those of the log as it names them itself. */
    const signers = async () => {
      const before = Number((await stored()).published_size)
      await log.create(1)
      await published(before + 1)
      const { published_note: note, verifier_keys } = await stored()
      const witnessKey = parseVerifierKey(key)
      const signed = verifiedBy(note, [next, LOG, ...(witnessKey ? [witnessKey] : [])]) ?? []
      const texts = signed.map(({ text }) => text)
      expect(verifier_keys).to.equal(texts.slice(0, -1).join('\n').concat('\n'))
      expect(note.match(/^\u2014 /gm)).to.have.length(texts.length)
      return texts
    }
    expect(await signers()).to.deep.equal([LOG.text, ownKey])

    await forgetKey(async (statement, values) => {
      return (await sql.query({ ...statement, values: [...values] })).rows
    }, 'LOG_KEY')
    await rollWorker({ LOG_KEY: logSecret, LOG_KEY_PREVIOUS: WORKER_SECRETS.LOG_KEY })
    expect(await signers()).to.deep.equal([next.text, LOG.text, ownKey])
    const logs = { WITNESS_LOGS: next.text }
    await rollWitness({ ...logs, WITNESS_KEY: own, WITNESS_KEY_PREVIOUS: unknown })
    expect(await signers()).to.deep.equal([next.text, LOG.text, ownKey])
    await rollWorker({ LOG_KEY: logSecret, LOG_KEY_PREVIOUS: unknown })
    expect(await signers()).to.deep.equal([next.text, ownKey])

    await rollWitness({ ...logs, WITNESS_KEY: nextOwn, WITNESS_KEY_PREVIOUS: own })
    expect(await signers()).to.deep.equal([next.text, ownKey])
    const both = await witnessKeys()
    expect(both).to.have.length(2).and.include(ownKey)
    key = both[0]
    await rollWorker({ LOG_KEY: logSecret, LOG_KEY_PREVIOUS: unknown })
    expect(await signers()).to.deep.equal([next.text, key])
    await rollWitness({ ...logs, WITNESS_KEY: nextOwn, WITNESS_KEY_PREVIOUS: unknown })
    expect(await signers()).to.deep.equal([next.text, key])
    expect(await witnessKeys()).to.deep.equal([key])
  }).timeout(60_000)

  it('publish and sign nothing of a database that was put back to an earlier state', async () => {
    const worker = await start()
    await log.create(2)
    await published(2)
    worker.child.kill('SIGTERM')
    await worker.ended
    for (const table of TABLES) await sql.query(`create table earlier_${table} as table ${table}`)
    const later = await start()
    await log.create(3)
    const now = Number((await stored()).published_size) + 3
    await published(now)
    later.child.kill('SIGTERM')
    await later.ended
    const cosigned = await known()

    await inTheDatabase((table) =>
      table === 'events'
        ? 'delete from events where position not in (select position from earlier_events)'
        : `delete from ${table}; insert into ${table} select * from earlier_${table}`,
    )
    const before = await stored()
    const deceived = await start()
    await deceived.line(/"signing has stopped: a witness knows another log"/)
    await log.create(5)
    // It has asked again since.
    await until(
      () => deceived.out.filter((line) => line.includes('signing has stopped')).length > 1,
      'another refusal',
    )
    expect(await stored()).to.deep.equal(before)
    expect(await known()).to.equal(cosigned)
  })
})
