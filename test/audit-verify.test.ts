import { execFileSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import pg from 'pg'
import { secretLogSigner } from '../src/infra/credentials/note-signers.ts'
import { keepSecrets } from '../src/infra/local/data-dir.ts'
import { auditProjection } from '../src/infra/postgres/audit/audit-projection.ts'
import { openDatabase } from '../src/infra/postgres/connection/database.ts'
import { projector } from '../src/infra/postgres/projections/projector.ts'
import { witnessSigner } from '../src/transparency-log/keys.ts'
import { connect } from './support/audit-fold.ts'
import { silent } from './support/log.ts'
import { LOG_KEY, type OpenLog, ORIGIN, openLog, signer } from './support/open-log.ts'
import { testDatabase } from './support/postgres.ts'
import { startProcess, until } from './support/processes.ts'
import { skipped } from './support/skipped.ts'
import { tcpProxy } from './support/tcp-proxy.ts'

const run = async (script: string, args: readonly string[], env: Record<string, string>) => {
  const { ended, out, err } = startProcess(process.execPath, [`src/${script}.ts`, ...args], { env })
  return { code: Number((await ended).replace('code ', '')), out, err }
}

describe('npm run audit:verify', () => {
  let log: OpenLog
  let directory: string
  let keyFile: string
  let runs = 0

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'tasktrail-verify-'))
    keyFile = join(directory, 'log.key')
    await writeFile(keyFile, `${signer.key.text}\n`)
    log = await openLog()
    for (const id of [1, 2, 1]) await log.write(id)
    await log.log()
    await log.write(2)
  })
  after(async () => {
    await log.stop()
    await rm(directory, { recursive: true })
  })

  /** Keeps its checkpoint in a file of its own, unless it is told where. */
  const verify = (args: readonly string[] = [], env: Record<string, string> = { LOG_KEY }) => {
    const kept = args.includes('--kept') ? [] : ['--kept', join(directory, `kept-${runs++}`)]
    const facts = { DATABASE_URL: log.database.url, LOG_ORIGIN: ORIGIN }
    return run('audit-verify', [...kept, ...args], { ...facts, ...env })
  }

  it('reports what is proven, with the key that it has or the one that it is given', async () => {
    for (const result of [await verify(), await verify(['--key', keyFile], {})]) {
      expect(result).to.include({ code: 0 })
      expect(result.out.join('\n'))
        .to.match(/^Nothing is broken: 4 events of 2 streams, up to position 4\.\n/)
        .and.match(/\nThe checkpoint of tasktrail\.test\/log: 3 leaves, root /)
        .and.match(/\nVerified: 3 of 3 leaves.*not in the log yet: 1\./)
    }
  })

  it('reads what is new since the checkpoint that it kept, or all of it', async () => {
    const kept = ['--kept', join(directory, 'kept')]
    expect((await verify(kept)).out.join('\n')).to.match(/Verified: 3 of 3 leaves/)
    const note = await readFile(kept[1] ?? '', 'utf8')
    expect(note).to.match(/^tasktrail\.test\/log\n3\n/)
    expect((await verify(kept)).out.join('\n')).to.match(/Verified: 0 of 3 leaves/)
    expect((await verify([...kept, '--full'])).out.join('\n')).to.match(/Verified: 3 of 3 leaves/)
    expect(await verify(['--extends', kept[1] ?? ''])).to.include({ code: 0 })
    await writeFile(kept[1] ?? '', note.replace('\n3\n', '\n4\n'))
    for (const args of [kept, [...kept, '--full'], ['--extends', kept[1] ?? '']]) {
      const { code, err } = await verify(args)
      expect(err.join()).to.match(/^BROKEN: .*kept.* is not signed by tasktrail\.test\/log/)
      expect(code).to.equal(1)
    }
  })

  it('finds that the log is not the one whose checkpoint was kept', async () => {
    const other = await openLog()
    try {
      for (const id of [1, 2, 3, 4]) await other.write(id)
      await other.log()
      const kept = ['--kept', join(directory, 'of-other')]
      expect(await verify(kept, { LOG_KEY, DATABASE_URL: other.database.url })).to.include({
        code: 0,
      })
      for (const more of [[], ['--full']]) {
        const { code, err } = await verify([...kept, ...more])
        expect(err.join()).to.match(/^BROKEN: The log has 3 leaves, but had 4 before/)
        expect(code).to.equal(1)
      }
    } finally {
      await other.stop()
    }
  })

  it('says which witness has not signed, and ends with 3', async () => {
    const witness = witnessSigner('witness.test', Buffer.alloc(32, 1), Date.now).key
    const { code, err } = await verify(['--witness', witness.text])
    expect(err.join()).to.match(
      /^NOT PROVEN: The checkpoint: the witness witness\.test\+[0-9a-f]{8} has not cosigned it\.$/,
    )
    expect(code).to.equal(3)
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

  it('names a user who has a role that the log does not give', async () => {
    await log.root.query(`
      insert into users (username, email, password_hash, created_at, updated_at)
        values ('eve', 'eve@example.com', '', now(), now());
      alter table users disable trigger all;
      update users set role = 'admin'`)
    for (const more of [[], ['--full']]) {
      const { code, err } = await verify(more)
      expect(err).to.deep.equal(['BROKEN: users 1 has the role admin; the log gives user.'])
      expect(code).to.equal(1)
    }
    await log.root.query(
      `delete from users; alter table users enable always trigger users_role_follows_log`,
    )
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
        create table tasktrail_auditor.log_tiles as select * from log_tiles;
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

  it('names the keys that did not sign', async () => {
    const other = { LOG_KEY: 'another secret, as long as the others' }
    const { code, err } = await verify([], other)
    expect(code).to.equal(1)
    expect(err[0]).to.match(
      /^BROKEN: The checkpoint of tasktrail\.test\/log is not signed by a key/,
    )
    const renamed = await verify([], { LOG_KEY, LOG_ORIGIN: 'another.test' })
    expect(renamed).to.include({ code: 1 })
  })

  it('says in one sentence why it cannot check, and ends with 2', async () => {
    const empty = await testDatabase()
    try {
      await execute(empty.url, 'drop table log_checkpoint')
      for (const [result, expected] of [
        [await verify([], { DATA_DIR: directory }), /^No key/],
        [await verify(['--kept', join(directory, 'none', 'kept')]), /cannot be written \(ENOENT\)/],
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
    await blocker.query('begin; lock table log_checkpoint in access exclusive mode')
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

  it('shows the verifier key of the installation', async () => {
    const { LOG_KEY: made } = await keepSecrets({ DATA_DIR: directory })
    const kept = await run('log-key', [], { DATA_DIR: directory })
    expect(kept.out).to.eql([secretLogSigner('tasktrail.local/log', made).key.text])
    const given = await run('log-key', [], { DATA_DIR: directory, LOG_KEY, LOG_ORIGIN: ORIGIN })
    expect(given.out).to.eql([signer.key.text])
    const none = await run('log-key', [], { DATA_DIR: join(directory, 'none') })
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
async function projected({ database, root }: OpenLog): Promise<readonly number[]> {
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
  it('holds with its chains and its leaves, and goes on', async function () {
    if (!hasDump) skipped(this, 'no pg_dump of PostgreSQL 15 on this machine')
    const directory = await mkdtemp(join(tmpdir(), 'tasktrail-restored-'))
    const log = await openLog()
    const copy = await testDatabase()
    const name = new URL(copy.url).pathname.slice(1)
    const restored = await openLog(copy)
    try {
      for (const id of [1, 2, 1, 3]) await log.write(id)
      await log.log()
      await log.write(2)
      await projected(log)
      const dump = execFileSync('pg_dump', ['--clean', '--dbname', log.database.url])
      expect(name).to.match(/^test_/)
      execFileSync('psql', ['-v', 'ON_ERROR_STOP=1', '--quiet', copy.url], { input: dump })

      const verify = () =>
        run('audit-verify', ['--full', '--kept', join(directory, 'kept')], {
          DATABASE_URL: copy.url,
          LOG_KEY,
          LOG_ORIGIN: ORIGIN,
        })
      expect((await verify()).out[0]).to.match(/5 events of 3 streams, up to position 5/)

      await restored.write(1)
      expect(await restored.log()).to.include({ size: 6, position: 6, events: 2 })
      const { rows } = await restored.root.query('select position from audit_events order by 1')
      expect(rows.map(({ position }) => position)).to.deep.equal([1, 2, 3, 4, 5])
      expect(await projected(restored)).to.deep.equal([1, 2, 3, 4, 5, 6])
      expect((await verify()).out.join())
        .to.match(/6 events of 3 streams/)
        .and.match(/Verified: 6 of 6 leaves/)
    } finally {
      await restored.stop()
      await log.stop()
      await rm(directory, { recursive: true })
    }
  })
})
