import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import pg from 'pg'
import { keepSecrets } from '../src/infra/local/data-dir.ts'
import { auditProjection } from '../src/infra/postgres/audit/audit-projection.ts'
import { secretSealSigner } from '../src/infra/postgres/audit/seal-signer.ts'
import { openDatabase } from '../src/infra/postgres/connection/database.ts'
import { projector } from '../src/infra/postgres/projections/projector.ts'
import { connect } from './support/audit-fold.ts'
import { silent } from './support/log.ts'
import { testDatabase } from './support/postgres.ts'
import { startProcess, until } from './support/processes.ts'
import { LOG_KEY, openLog, type SealedLog, signer } from './support/sealed-log.ts'
import { skipped } from './support/skipped.ts'
import { tcpProxy } from './support/tcp-proxy.ts'

const run = async (script: string, args: readonly string[], env: Record<string, string>) => {
  const { ended, out, err } = startProcess(process.execPath, [`src/${script}.ts`, ...args], { env })
  return { code: Number((await ended).replace('code ', '')), out, err }
}

describe('npm run audit:verify', () => {
  let log: SealedLog
  let directory: string
  let pem: string

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'tasktrail-verify-'))
    pem = join(directory, 'public.pem')
    await writeFile(pem, signer.publicKey)
    log = await openLog()
    for (const id of [1, 2, 1]) await log.write(id)
    await log.sealer.seal()
    await log.write(2)
  })
  after(async () => {
    await log.stop()
    await rm(directory, { recursive: true })
  })

  const verify = (args: readonly string[] = [], env: Record<string, string> = { LOG_KEY }) =>
    run('audit-verify', args, { DATABASE_URL: log.database.url, ...env })

  it('reports what is proven, with the key that it has or the one that it is given', async () => {
    for (const result of [await verify(), await verify(['--key', pem], {})]) {
      expect(result).to.include({ code: 0 })
      expect(result.out.join('\n'))
        .to.match(/^Nothing is broken: 4 events of 2 streams, up to position 4\.\n1 seal, /)
        .and.match(/Sealed: 3 events\. Not proven by a seal: 1 event\./)
    }
  })

  it('reads as an auditor, and changes nothing', async () => {
    await log.root.query(
      `create role onlooker login password 'x'; grant tasktrail_auditor to onlooker`,
    )
    try {
      const url = new URL(log.database.url)
      Object.assign(url, { username: 'onlooker', password: 'x' })
      expect(await verify([], { LOG_KEY, DATABASE_URL: url.href })).to.include({ code: 0 })
    } finally {
      await log.root.query('drop role onlooker')
    }
  })

  it('names the first broken event, and ends with 1', async () => {
    const change = (by: number) => `
      alter table events disable trigger all;
      update events set actor_id = actor_id + ${by} where position >= 3;
      alter table events enable always trigger events_are_append_only`
    await log.root.query(change(1))
    const { code, out, err } = await verify()
    await log.root.query(change(-1))
    expect({ code, out }).to.deep.equal({ code: 1, out: [] })
    expect(err).to.deep.equal([
      'BROKEN: task-1 version 2 (position 3) is changed: its hash does not match its contents.',
    ])
    expect(await verify()).to.include({ code: 0 })
  })

  it('looks for the seals that were recorded elsewhere', async () => {
    const { rows } = await log.root.query(`select encode(hash, 'hex') as hash from seals`)
    const hash = rows[0].hash as string
    const other = hash.replace(/^./, (digit) => (digit === '0' ? '1' : '0'))
    for (const [seals, code, message] of [
      [[`1:${hash}`], 0, /^$/],
      [[`1:${other}`], 1, /^BROKEN: Seal 1 is not the one/],
      [[`1:${hash}`, `2:${hash}`], 1, /^BROKEN: Seal 2 is missing/],
      [['1'], 2, /^--seal needs/],
    ] as const) {
      const result = await verify(seals.flatMap((seal) => ['--seal', seal]))
      expect(result.err.join()).to.match(message)
      expect(result.code).to.equal(code)
    }
  })

  describe('as an auditor whom somebody tries to deceive', () => {
    let url: URL
    before(async () => {
      await log.root.query(
        `create role deceived login password 'x'; grant tasktrail_auditor to deceived`,
      )
      url = Object.assign(new URL(log.database.url), { username: 'deceived', password: 'x' })
    })
    after(() => log.root.query('drop role deceived'))
    const deceived = () => verify([], { LOG_KEY, DATABASE_URL: url.href })

    it('reads the tables, not earlier copies', async () => {
      await log.root.query(`
        create schema tasktrail_auditor;
        create table tasktrail_auditor.events as select * from events;
        create table tasktrail_auditor.seals as select * from seals;
        create table tasktrail_auditor.streams as select * from streams;
        grant usage on schema tasktrail_auditor to tasktrail_auditor;
        grant select on all tables in schema tasktrail_auditor to tasktrail_auditor;
        alter table streams disable trigger all;
        update streams set version = version + 1 where stream_id = 'task-2'`)
      const { code, err } = await deceived()
      await log.root.query(`
        update streams set version = version - 1 where stream_id = 'task-2';
        alter table streams enable trigger all;
        drop schema tasktrail_auditor cascade`)
      expect(err.join()).to.match(/^BROKEN: task-2 version 3 is missing/)
      expect(code).to.equal(1)
    })

    it('reads all rows, or says that it may not', async () => {
      await log.root.query(`
        alter table events enable row level security;
        create policy visible on events using (position < 4)`)
      const { code, err } = await deceived()
      await log.root.query(`
        drop policy visible on events;
        alter table events disable row level security`)
      expect(err.join()).to.match(/row-level security/)
      expect(code).to.equal(2)
    })
  })

  it('names the key that it does not know', async () => {
    const { code, err } = await verify([], { LOG_KEY: 'another secret, as long as the others' })
    expect(code).to.equal(1)
    expect(err[0]).to.contain(`Seal 1 is signed by the key ${signer.key_id}, which is not among`)
  })

  it('says in one sentence why it cannot check, and ends with 2', async () => {
    const empty = await testDatabase()
    try {
      await execute(empty.url, 'drop table seals')
      for (const [result, expected] of [
        [await verify([], { DATA_DIR: directory }), /^No key/],
        [await verify(['--key', join(directory, 'none')]), /cannot be read/],
        [await verify([], { LOG_KEY, DATABASE_URL: 'postgres://127.0.0.1:1/x' }), /./],
        [await verify([], { LOG_KEY, DATABASE_URL: empty.url }), /npm run migrate/],
      ] as const) {
        expect(result.code, result.err.join()).to.equal(2)
        expect(result.err[0]).to.match(expected)
        expect(result.err).to.have.lengthOf(1)
      }
    } finally {
      await empty.drop()
    }
  })

  it('ends with 2 when its arguments do not match the usage', async () => {
    const { code, out, err } = await verify(['x'])
    expect({ code, out }).to.deep.equal({ code: 2, out: [] })
    expect(err.slice(0, 2)).to.deep.equal(["Unexpected argument 'x'.", ''])
    expect(err[2]).to.match(/^Usage: npm run audit:verify /)
  })

  it('ends with 2 also when the connection is lost meanwhile', async () => {
    const blocker = await connect(log.database.url)
    await blocker.query('begin; lock table seals in access exclusive mode')
    const { host = '', port = 0 } = log.database.config.connection
    const proxy = await tcpProxy({ host, port })
    const url = new URL(log.database.url)
    url.port = String(proxy.port)
    const verifying = verify([], { LOG_KEY, DATABASE_URL: url.href })
    const waiting = `
      select from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`
    await until(async () => (await log.root.query(waiting)).rowCount === 1, 'its session')
    proxy.cut()
    const { code, err } = await verifying
    await Promise.all([blocker.end(), proxy.close()])
    expect(err).to.deep.equal(['Connection terminated unexpectedly'])
    expect(code).to.equal(2)
  })

  it('shows the public key of the installation, by which its seals can be checked', async () => {
    const { LOG_KEY: made } = await keepSecrets({ DATA_DIR: directory })
    const kept = await run('audit-public-key', [], { DATA_DIR: directory })
    expect(`${kept.out.join('\n')}\n`).to.equal(secretSealSigner(made).publicKey)
    const given = await run('audit-public-key', [], { DATA_DIR: directory, LOG_KEY })
    expect(`${given.out.join('\n')}\n`).to.equal(signer.publicKey)
    const none = await run('audit-public-key', [], { DATA_DIR: join(directory, 'none') })
    expect(none.code).to.equal(1)
    expect(none.err).to.have.lengthOf(1)
  })
})

async function execute(url: string, statement: string): Promise<void> {
  const client = new pg.Client(url)
  await client.connect()
  await client.query(statement).finally(() => client.end())
}

/** Debian has them in postgresql-client; the server from npm comes without. */
const hasDump = (() => {
  try {
    return / 15\./.test(execFileSync('pg_dump', ['--version'], { encoding: 'utf8' }))
  } catch {
    return false
  }
})()

/** Lets the audit projection catch up; the positions that it has then. */
async function projected({ database, root }: SealedLog): Promise<readonly number[]> {
  const role = 'tasktrail_worker'
  const db = openDatabase({ ...database.config, role, log: silent })
  const { connection } = database.config
  const wake = { subscribe: () => () => {} }
  const projection = auditProjection()
  const worker = projector({ projection, connection, role, db, wake, log: silent })
  const caughtUp = `
    select position = (select max(position) from events) as done from projections
    where name = 'audit'`
  await until(async () => (await root.query(caughtUp)).rows[0].done, 'the audit projection')
  await worker.close()
  await db.close()
  const { rows } = await root.query('select position from audit_events order by 1')
  return rows.map(({ position }) => position)
}

describe('A log that is dumped and restored', () => {
  it('holds with its chains and its seals, and goes on', async function () {
    if (!hasDump) skipped(this, 'no pg_dump of PostgreSQL 15 on this machine')
    const log = await openLog()
    const copy = await testDatabase()
    const name = new URL(copy.url).pathname.slice(1)
    const restored = await openLog(copy)
    try {
      for (const id of [1, 2, 1, 3]) await log.write(id)
      await log.sealer.seal()
      await log.write(2)
      await projected(log)
      const dump = execFileSync('pg_dump', ['--clean', '--dbname', log.database.url])
      expect(name).to.match(/^test_/)
      execFileSync('psql', ['-v', 'ON_ERROR_STOP=1', '--quiet', copy.url], { input: dump })

      const verify = () => run('audit-verify', [], { DATABASE_URL: copy.url, LOG_KEY })
      expect((await verify()).out[0]).to.match(/5 events of 3 streams, up to position 5/)

      await restored.write(1)
      expect(await restored.sealer.seal()).to.include({ number: 2, position: 6, events: 2 })
      const { rows } = await restored.root.query('select position from audit_events order by 1')
      expect(rows.map(({ position }) => position)).to.deep.equal([1, 2, 3, 4, 5])
      expect(await projected(restored)).to.deep.equal([1, 2, 3, 4, 5, 6])
      expect((await verify()).out.join())
        .to.match(/6 events of 3 streams/)
        .and.match(/Sealed: 6 /)
    } finally {
      await restored.stop()
      await log.stop()
    }
  })
})
