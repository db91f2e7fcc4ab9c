import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, open, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import pg from 'pg'
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../../src/infra/local/embedded-postgres.ts'
import { predecessorIsGone } from '../../../src/infra/local/postgres-data.ts'
import {
  allGone,
  isRunning,
  killAll,
  removePlace,
  startProcess,
  until,
} from '../../support/processes.ts'

const PASSWORD = 'a password'

describe('The embedded PostgreSQL', () => {
  let place: string
  let dataDir: string
  let pids: number[]

  beforeEach(async () => {
    place = await mkdtemp(join(tmpdir(), 'tasktrail embedded-'))
    dataDir = join(place, 'postgres')
    pids = []
  })
  afterEach(async () => {
    killAll(pids)
    await allGone(pids)
    await removePlace(place)
  })

  const start = async (more: { port?: number; password?: string } = {}) => {
    const options = { dataDir, password: PASSWORD, database: 'things', settings: { fsync: 'off' } }
    const server = await startEmbeddedPostgres({ ...options, ...more })
    pids.push(server.pid)
    return server
  }
  const serve = async () => {
    const args = ['test/support/serve-postgres.ts', dataDir]
    const parent = startProcess(process.execPath, args)
    pids.push(parent.pid)
    const [, pid, port] = (await parent.line(/^ready/)).match(/pid (\d+) port (\d+)/) ?? []
    pids.push(Number(pid))
    return { parent, pid: Number(pid), port: Number(port) }
  }
  const query = async ({ port }: { port: number }, sql: string) => {
    const database = 'things'
    const client = new pg.Client({
      host: '127.0.0.1',
      port,
      user: 'tasktrail',
      password: PASSWORD,
      database,
    })
    client.on('error', () => {}) // Killed with its server.
    await client.connect()
    return client.query(sql).finally(() => client.end())
  }
  const message = (promise: Promise<unknown>) =>
    promise.then(
      () => 'no error',
      (error: Error) => error.message,
    )

  describe('that starts', () => {
    it('is PostgreSQL 15 in UTF-8 and UTC, with a superuser and a database of its own', async () => {
      const server = await start()
      const { rows } = await query(
        server,
        `select current_setting('server_version_num')::int / 10000 as major, current_user,
           current_setting('TimeZone') as zone, current_setting('server_encoding') as encoding,
           current_setting('max_connections') as connections, current_setting('fsync') as fsync,
           'ÄRGER' ilike 'ärger' as folds,
           (select rolsuper from pg_roles where rolname = current_user) as super`,
      )
      expect(rows).to.deep.equal([
        {
          major: 15,
          current_user: 'tasktrail',
          zone: 'UTC',
          encoding: 'UTF8',
          connections: '100',
          fsync: 'off',
          folds: true,
          super: true,
        },
      ])
      await server.stop()
    })

    it('keeps its data when it stops and starts, and takes the port it is given', async () => {
      const first = await start()
      await query(first, 'create table kept (id int)')
      await Promise.all([first.stop(), first.stop()])
      expect(await first.exited).to.equal('code 0')
      expect(isRunning(first.pid)).to.equal(false)
      const second = await start({ port: first.port })
      expect(second.port).to.equal(first.port)
      await query(second, 'select from kept')
      await second.stop()
    })

    it('demands the password', async () => {
      const server = await start()
      const client = { host: '127.0.0.1', port: server.port, user: 'tasktrail', database: 'things' }
      for (const password of ['wrong', '']) {
        const refused = await message(new pg.Client({ ...client, password }).connect())
        expect(refused).to.match(/password/)
      }
      await server.stop()
      expect(await message(start({ password: 'wrong' }))).to.equal(
        `${dataDir} was created with a password other than the one stored beside it.`,
      )
    })

    it('says so when its port is taken', async () => {
      const { port } = JSON.parse(process.env.TEST_POSTGRES ?? '{}')
      expect(await message(start({ port }))).to.match(/^PostgreSQL did not start in .*TCP\/IP/)
    })

    it('leaves no server behind when the start fails', async () => {
      await (await start()).stop()
      await message(start({ password: 'wrong' }))
      expect(existsSync(join(dataDir, 'postmaster.pid'))).to.equal(false)
    })
  })

  describe('that is killed', () => {
    it('starts again at once, on the same port, with what was committed', async () => {
      let server: EmbeddedPostgres = await start()
      await query(server, 'create table kept (id int)')
      // A backend that computes does not notice the death of its parent.
      const end = `clock_timestamp() + interval '2 s'`
      const computing = `do $$ declare until timestamptz := ${end};
        begin while clock_timestamp() < until loop null; end loop; end $$`
      const busy = query(server, computing).catch(() => {})
      const active = `select from pg_stat_activity where state = 'active' and query like 'do $$%'`
      await until(async () => (await query(server, active)).rowCount === 1, 'a busy backend')
      for (let round = 1; round <= 3; round++) {
        process.kill(server.pid, 'SIGKILL')
        expect(await server.exited).to.equal('signal SIGKILL')
        server = await start({ port: server.port })
        await query(server, `insert into kept values (${round})`)
      }
      expect((await query(server, 'select from kept')).rowCount).to.equal(3)
      await busy
      await server.stop()
    })

    it('dies with its parent, even if that is killed, and its successor waits for it', async () => {
      const { parent, pid } = await serve()
      process.kill(parent.pid, 'SIGKILL')
      const successor = await start()
      expect(isRunning(pid)).to.equal(false)
      await successor.stop()
    })

    it('while it makes its data directory leaves nothing that the next start stumbles over', async () => {
      const args = ['test/support/serve-postgres.ts', dataDir]
      const parent = startProcess(process.execPath, args)
      const staging = async () => (await readdir(place)).find((name) => name.includes('.initdb-'))
      await until(async () => {
        const name = await staging()
        return name !== undefined && existsSync(join(place, name, 'data', 'PG_VERSION'))
      }, 'initdb at work')
      process.kill(parent.pid, 'SIGKILL')
      await parent.ended
      expect(existsSync(dataDir)).to.equal(false)
      const server = await start()
      expect(await readdir(place)).to.deep.equal(['postgres'])
      await server.stop()
    })
  })

  describe('whose data directory', () => {
    const make = async () => (await start()).stop()

    it('was left with the process number of somebody else starts all the same', async () => {
      await make()
      const stranger = startProcess('sleep', ['60'])
      pids.push(stranger.pid)
      const lines = [stranger.pid, dataDir, 1_700_000_000, 5432, '', '127.0.0.1', '1 1', 'ready']
      await writeFile(join(dataDir, 'postmaster.pid'), `${lines.join('\n')}\n`, { mode: 0o600 })
      await (await start()).stop()
      expect(isRunning(stranger.pid)).to.equal(true)
    })

    it('was left with the process number of another user starts all the same', async () => {
      await make()
      // As root the first process shows where it is; to anybody else it does not.
      const lines = [1, dataDir, 1_700_000_000, 5432, '', '127.0.0.1', '1 1', 'ready']
      await writeFile(join(dataDir, 'postmaster.pid'), `${lines.join('\n')}\n`, { mode: 0o600 })
      await (await start()).stop()
    })

    it('is taken by another start, while this one finds the number of a dead server, is left to it', async () => {
      await mkdir(dataDir)
      const file = join(dataDir, 'postmaster.pid')
      const contents = (pid: number) => `${pid}\n${dataDir}\n0\n5432\n\n127.0.0.1\n1 1\nready\n`
      const other = startProcess('sleep', ['60'], { cwd: dataDir })
      const dead = startProcess('true', [])
      pids.push(other.pid)
      await dead.ended
      // Whoever reads a FIFO waits for what is written into it.
      execFileSync('mkfifo', [file])
      const waiting = message(predecessorIsGone(dataDir))
      const first = await open(file, 'w')
      await writeFile(`${file}.new`, contents(other.pid))
      await rename(`${file}.new`, file)
      await first.writeFile(contents(dead.pid))
      await first.close()
      expect(await waiting).to.include(`already runs on ${dataDir} (PostgreSQL, pid ${other.pid})`)
      expect(existsSync(file)).to.equal(true)
    })

    it('is in use says by whom', async () => {
      const { pid, port } = await serve()
      expect(await message(start())).to.equal(
        `Another Tasktrail already runs on ${dataDir} (PostgreSQL, pid ${pid}): ` +
          'stop it, or set DATA_DIR to another directory.',
      )
      await query({ port }, 'select')
    })

    it('is made by two at the same time belongs to one of them', async () => {
      const outcomes = await Promise.allSettled([start(), serve().then(({ pid }) => pid)])
      const failures = outcomes.flatMap((outcome) =>
        outcome.status === 'rejected' ? [outcome.reason.message] : [],
      )
      expect(failures).to.have.lengthOf(1)
      expect(failures[0]).to.include(`Another Tasktrail already runs on ${dataDir}`)
    })

    it('is of another major version is left alone', async () => {
      await mkdir(dataDir)
      await writeFile(join(dataDir, 'PG_VERSION'), '14\n')
      expect(await message(start())).to.equal(
        `${dataDir} was created by PostgreSQL 14, but this is PostgreSQL 15: ` +
          'move it away, or set DATA_DIR to another directory.',
      )
      expect(await readFile(join(dataDir, 'PG_VERSION'), 'utf8')).to.equal('14\n')
    })

    it('holds something else is left alone', async () => {
      await mkdir(dataDir)
      await writeFile(join(dataDir, 'thesis.txt'), 'mine')
      expect(await message(start())).to.equal(
        `${dataDir} is not empty and holds no PostgreSQL data.`,
      )
      expect(await readdir(dataDir)).to.deep.equal(['thesis.txt'])
    })
  })
})
