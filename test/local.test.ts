import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { expect } from 'chai'
import pg from 'pg'
import { keepSecrets } from '../src/infra/local/data-dir.ts'
import { freePorts } from '../src/infra/local/free-ports.ts'
import { testDatabase } from './support/postgres.ts'
import {
  allGone,
  isRunning,
  killAll,
  removePlace,
  type Started,
  startProcess,
  until,
} from './support/processes.ts'

const KILLS = Number(process.env.POSTGRES_KILLS ?? 3)
const APART_MS = 1_200
const execute = promisify(execFile)
// Six processes on a machine that may be busy with other tests.
const READY_MS = 100_000

const NAMES = ['postgres', 'auth-service', 'task-service', 'worker', 'witness', 'gateway'] as const

type Process = { readonly pid: number; readonly address: string }

describe('npm start', function () {
  this.timeout(240_000)
  let place: string
  let port: number
  let pids: number[]
  /** What a first start leaves: the data of a new machine take longer to make than all the rest. */
  let made: string

  before(async () => {
    made = await mkdtemp(join(tmpdir(), 'tasktrail local-'))
    ;[place, [port = 0], pids] = [made, await freePorts(1), []]
    await stop(await start())
  })
  after(async () => {
    killAll(pids)
    await allGone(pids)
    await removePlace(made)
  })
  beforeEach(async () => {
    place = await mkdtemp(join(tmpdir(), 'tasktrail local-'))
    ;[port = 0] = await freePorts(1)
    pids = []
  })
  afterEach(async () => {
    killAll(pids)
    await allGone(pids)
    await removePlace(place)
  })

  const env = (more: Record<string, string> = {}) => ({
    DATA_DIR: join(place, 'data'),
    PORT: String(port),
    BCRYPT_COST: '10',
    ...more,
  })
  const run = (more?: Record<string, string>, command = [process.execPath, 'src/local.ts']) => {
    const [name = '', ...args] = command
    const runner = startProcess(name, args, { env: env(more) })
    pids.push(runner.pid)
    return runner
  }
  const ready = async (runner: Started) => {
    try {
      await runner.line(/^Tasktrail is ready/, READY_MS)
    } finally {
      pids.push(...processes(runner).map(({ pid }) => pid))
    }
    return runner
  }
  const start = (more?: Record<string, string>, command?: string[]) => ready(run(more, command))
  /** Not on a new machine. */
  const startAgain = async (...how: Parameters<typeof start>) => {
    // Through links, as the data may lie elsewhere, and with their owner.
    await execute('cp', ['-pRL', join(made, 'data'), place])
    return start(...how)
  }
  /** The lines that introduce a process. */
  const processes = ({ out }: Started): (Process & { name: string })[] =>
    out.flatMap((line) => {
      const [, name = '', pid, address = ''] = line.match(/^([a-z-]+) +pid (\d+) +(\S+)$/) ?? []
      return pid === undefined ? [] : [{ name, pid: Number(pid), address }]
    })
  const processOf = (runner: Started, name: (typeof NAMES)[number]): Process => {
    const found = processes(runner).find((process) => process.name === name)
    if (found === undefined) throw new Error(`no ${name} in ${runner.out.join('\n')}`)
    return found
  }
  const stop = async (runner: Started, signal: NodeJS.Signals = 'SIGTERM') => {
    process.kill(runner.pid, signal)
    expect(await runner.ended).to.equal('code 0')
    await allGone(processes(runner).map(({ pid }) => pid))
  }
  /** How a start fails: its sentence on stderr, alone. */
  const failure = async (more?: Record<string, string>) => {
    const runner = run(more)
    expect(await runner.ended).to.equal('code 1')
    expect(runner.out.filter((line) => /ready/.test(line))).to.deep.equal([])
    expect(runner.err).to.have.lengthOf(1)
    return runner.err[0]
  }

  const call = async (
    path: string,
    { token = '', ...init }: RequestInit & { token?: string } = {},
  ) => {
    const headers = {
      ...(init.body !== undefined && { 'Content-Type': 'application/json' }),
      ...(token && { Authorization: `Bearer ${token}` }),
      ...init.headers,
    }
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, { ...init, headers })
    return { status: answer.status, body: JSON.parse((await answer.text()) || '{}') }
  }
  const post = (path: string, body: object, token?: string) =>
    call(path, { method: 'POST', body: JSON.stringify(body), ...(token && { token }) })
  const login = async () => {
    const [username, password] = ['ada', 'engines-of-analysis']
    await post('/auth/register', { username, email: 'ada@example.com', password })
    return (await post('/auth/login', { username, password })).body.token as string
  }

  describe('on a new machine', () => {
    it('says which processes run and what to try', async () => {
      const runner = await start()
      expect(processes(runner).map(({ name }) => name)).to.have.members(NAMES)
      for (const { pid } of processes(runner)) expect(isRunning(pid)).to.equal(true)
      expect(processOf(runner, 'gateway')).to.deep.include({
        pid: runner.pid,
        address: `http://127.0.0.1:${port}`,
      })
      const url = `http://127.0.0.1:${port}`
      expect(runner.out).to.include(`Tasktrail is ready: ${url}`)
      expect(runner.out).to.include(`Documents: ${url}/tasks/docs, ${url}/auth/docs`)
      await stop(runner)
    })

    it('keeps its secrets to its user, and out of all it writes', async () => {
      const runner = await start()
      await login()
      const file = join(place, 'data', 'secrets.json')
      expect(statSync(file).mode & 0o777).to.equal(0o600)
      const secrets = Object.values(JSON.parse(readFileSync(file, 'utf8'))) as string[]
      expect(secrets).to.have.lengthOf(7)
      await stop(runner)
      const logs = join(place, 'data', 'logs')
      const files = readdirSync(logs).map((name) => readFileSync(join(logs, name), 'utf8'))
      const written = [...runner.out, ...runner.err, ...files].join('\n')
      for (const secret of secrets) expect(written).not.to.include(secret)
    })
  })

  it('gives each process its own secrets, and none of the others', async () => {
    const shells = { AWS_SECRET_ACCESS_KEY: 'of who started it' }
    const runner = await startAgain(shells)
    const secrets: Record<string, string> = JSON.parse(
      readFileSync(join(place, 'data', 'secrets.json'), 'utf8'),
    )
    const held = (name: (typeof NAMES)[number]) => {
      const environment = readFileSync(`/proc/${processOf(runner, name).pid}/environ`, 'utf8')
      return Object.entries({ ...secrets, ...shells }).flatMap(([secret, value]) =>
        environment.includes(value) ? [secret] : [],
      )
    }
    expect(held('auth-service')).to.have.members([
      'JWT_SECRET',
      'INTERNAL_API_KEY',
      'PASSWORD_PEPPER',
    ])
    expect(held('task-service')).to.have.members(['INTERNAL_API_KEY', 'TEXT_KEY'])
    expect(held('worker')).to.have.members(['TEXT_KEY', 'LOG_KEY'])
    expect(held('witness')).to.have.members(['WITNESS_KEY'])
    expect(held('postgres')).to.deep.equal([])
    await stop(runner)
  })

  it('introduces the log and its witness to each other', async () => {
    const runner = await startAgain()
    const { pid } = processOf(runner, 'worker')
    const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
    const policy = environment.find((setting) => setting.startsWith('WITNESSES='))
    const { address } = processOf(runner, 'witness')
    const { keys, logs } = JSON.parse(await (await fetch(`${address}/witness/health`)).text())
    expect(policy).to.equal(`WITNESSES=witness local ${keys[0]} ${address}; quorum local`)
    expect(logs.map(({ origin }: { origin: string }) => origin)).to.deep.equal([
      'tasktrail.local/log',
    ])
    await stop(runner)
  })

  it('prints examples that work as they stand', async () => {
    const runner = await startAgain()
    await runner.line(/^Ctrl-C/)
    const begin = runner.out.indexOf('Try it:') + 1
    const script = runner.out.slice(begin, runner.out.indexOf('Ctrl-C stops it.')).join('\n')
    const { stdout } = await execute('bash', ['-ec', script])
    const list = stdout.match(/\{"tasks":.*/)?.[0] ?? '{}'
    expect(JSON.parse(list).tasks[0]).to.include({ title: 'Write the first program', version: 1 })
    await stop(runner)
  })

  it('shows what a person needs, and keeps all the rest in files', async () => {
    const runner = await startAgain()
    const token = await login()
    expect((await post('/tasks', { title: 'Logged' }, token)).status).to.equal(201)
    expect((await call('/tasks/9', { token })).status).to.equal(404)
    await runner.line(/^GET \/tasks\/9 404 \d+ ms task_not_found$/)
    await stop(runner)
    const begin = runner.out.indexOf('Ctrl-C stops it.') + 1
    const shown = runner.out.slice(begin, -1).map((line) => line.replace(/\d+ ms/, 'x ms'))
    expect(shown).to.have.members([
      'POST /auth/register 201 x ms',
      'POST /auth/login 200 x ms',
      'POST /tasks 201 x ms',
      'GET /tasks/9 404 x ms task_not_found',
    ])
    expect(runner.err).to.deep.equal([])
    const lines = (name: string) =>
      readFileSync(join(place, 'data', 'logs', `${name}.log`), 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line))
    const validations = lines('auth-service').filter(({ path }) => path === '/auth/validate')
    expect(validations.length).to.be.greaterThan(1)
    expect(lines('worker').map(({ msg }) => msg)).to.include('leads')
  })

  it('keeps data and sessions over a restart', async () => {
    const first = await startAgain()
    const token = await login()
    const { body } = await post('/tasks', { title: 'Stays' }, token)
    await stop(first)
    const second = await start()
    expect((await call(`/tasks/${body.task.id}`, { token })).body.task).to.deep.equal(body.task)
    await stop(second)
  })

  it('keeps no text of a person in the clear: in no file, log or dump, whatever PostgreSQL logs', async () => {
    const runner = await startAgain()
    const data = join(place, 'data')
    const { DB_PASSWORD } = JSON.parse(readFileSync(join(data, 'secrets.json'), 'utf8'))
    const pid = readFileSync(join(data, 'postgres', 'postmaster.pid'), 'utf8').split('\n')
    const url = `postgres://tasktrail:${DB_PASSWORD}@127.0.0.1:${pid[3]}/tasktrail`
    const sql = new pg.Client(url)
    sql.on('error', () => {})
    await sql.connect()
    // Each statement, and what is wrong with those that fail.
    await sql.query('alter system set log_min_duration_statement = 0')
    await sql.query('select pg_reload_conf()')
    const token = await login()
    const canary = () => `canary ${randomUUID()}`
    const [title, description, renamed, searched] = [canary(), canary(), canary(), canary()]
    const headers = { 'Idempotency-Key': 'once' }
    const create = { method: 'POST', token, body: JSON.stringify({ title, description }), headers }
    const { id } = (await call('/tasks', create)).body.task
    expect((await call('/tasks', create)).body.task).to.include({ id, title })
    const put = { method: 'PUT', token, body: JSON.stringify({ title: renamed }) }
    expect((await call(`/tasks/${id}`, put)).body.task).to.include({ title: renamed })
    await post(`/tasks/${id}/undo`, {}, token)
    for (const text of [title, searched])
      await call(`/tasks?q=${encodeURIComponent(text)}`, { token })
    const double = `insert into users (username, email, password_hash, created_at, updated_at)
      select username, email, password_hash, now(), now() from users`
    await sql.query(double).catch(() => {})
    // The server from npm has no pg_dump: what it would hold stands in the files too.
    const dump = () =>
      execute('pg_dump', ['--dbname', url], { encoding: 'buffer' }).then(
        ({ stdout }) => stdout,
        (error: NodeJS.ErrnoException) => {
          if (error.code !== 'ENOENT') throw error
          return Buffer.alloc(0)
        },
      )
    const found = async () => {
      await sql.query('checkpoint')
      const names = readdirSync(data, { recursive: true, encoding: 'utf8' })
      const files = names.map((name) => join(data, name)).filter((name) => statSync(name).isFile())
      const texts = [title, description, renamed, searched, 'ada@example.com']
      const holders = [...files.map((name) => readFileSync(name)), await dump()]
      return texts.filter((text) =>
        [text, encodeURIComponent(text), Buffer.from(text).toString('hex')].some((spelling) =>
          holders.some((bytes) => bytes.includes(spelling)),
        ),
      )
    }
    const logged = () => readFileSync(join(data, 'logs', 'postgres.log'), 'utf8')
    await until(
      () => /duration: .*append_events/s.test(logged()) && logged().includes('duplicate key'),
      () => `statements in the log: ${logged()}`,
    )
    expect(logged()).not.to.include('ada@example.com')
    // What is not encrypted is found.
    expect(await found()).to.deep.equal(['ada@example.com'])
    const erasure = JSON.stringify({ password: 'engines-of-analysis' })
    await call('/auth/me', { method: 'DELETE', token, body: erasure })
    const [{ rows: keys }, { rows: tasks }] = await Promise.all([
      sql.query('select from user_keys where wrapped_key is not null'),
      sql.query('select from tasks'),
    ])
    expect([keys, tasks]).to.deep.equal([[], []])
    expect(await found()).to.deep.equal(['ada@example.com'])
    await sql.end()
    await stop(runner)
  })

  it('applies the path rules', async () => {
    const runner = await startAgain()
    const token = await login()
    expect((await call('/health')).body).to.deep.equal({
      status: 'healthy',
      services: ['auth', 'task'],
    })
    for (const path of ['/worker', '/worker/health', '/worker/metrics', '/worker/']) {
      expect((await call(path)).status).to.equal(404)
    }
    expect((await call('/auth/me', { token })).status).to.equal(200)
    expect((await call('/auth/validate', { method: 'POST', token })).status).to.equal(403)
    for (const trick of [
      '/auth//validate',
      '/auth/%76alidate',
      '/auth/Validate',
      '/AUTH/validate',
    ]) {
      expect((await call(trick, { method: 'POST', token })).status).to.equal(404)
    }
    await stop(runner)
  })

  describe('watches its processes', () => {
    it('and starts again what dies, at the same address', async () => {
      const runner = await startAgain()
      const token = await login()
      const mortals = ['auth-service', 'task-service', 'worker', 'witness', 'postgres'] as const
      for (const name of mortals) {
        const { pid, address } = processOf(runner, name)
        process.kill(pid, 'SIGKILL')
        const line = await runner.line(new RegExp(`^${name} died`))
        const again = Number(line.match(/pid (\d+)/)?.[1])
        pids.push(again)
        expect(line).to.equal(
          `${name} died (signal SIGKILL), started again: pid ${again}, ${address}`,
        )
        expect(isRunning(again)).to.equal(true)
        // The services find their database again by themselves.
        await until(
          async () => (await post('/tasks', { title: name }, token)).status === 201,
          `a task after the death of ${name}`,
        )
      }
      expect((await call('/tasks', { token })).body.tasks).to.have.lengthOf(mortals.length)
      await stop(runner)
    })

    it(`and writes go on after each of ${KILLS} kills of PostgreSQL, 1.2 s apart`, async function () {
      this.timeout(60_000 + KILLS * 30_000)
      const runner = await startAgain({ RATE_LIMIT_PER_SECOND: '0' })
      const token = await login()
      let { pid } = processOf(runner, 'postgres')
      const seconds: number[] = []
      for (let kill = 1; kill <= KILLS; kill++) {
        await sleep(APART_MS)
        const began = performance.now()
        process.kill(pid, 'SIGKILL')
        await until(async () => {
          const died = runner.out.filter((line) => line.startsWith('postgres died')).at(kill - 1)
          pid = Number(died?.match(/pid (\d+)/)?.[1])
          return died !== undefined
        }, 'another PostgreSQL')
        pids.push(pid)
        await until(
          async () => (await post('/tasks', { title: `${kill}` }, token)).status === 201,
          `a task after kill ${kill}`,
        )
        seconds.push((performance.now() - began) / 1_000)
      }
      // Only where nothing else keeps the machine busy.
      if (process.env.POSTGRES_KILLS !== undefined) {
        console.log(seconds.map((s) => s.toFixed(2)).join(' '))
        expect(Math.max(...seconds)).to.be.lessThan(2)
      }
      await stop(runner)
    })

    it('and stops what it has started again', async () => {
      const runner = await startAgain()
      process.kill(processOf(runner, 'task-service').pid, 'SIGKILL')
      const line = await runner.line(/^task-service died/)
      const again = Number(line.match(/pid (\d+)/)?.[1])
      pids.push(again)
      await stop(runner)
      expect(isRunning(again)).to.equal(false)
    })
  })

  describe('stops everything', () => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      it(`on ${signal}, with exit code 0`, async () => {
        const runner = await startAgain()
        await stop(runner, signal)
        expect(readdirSync(join(place, 'data', 'postgres'))).not.to.include('postmaster.pid')
        expect(runner.out.at(-1)).to.equal('Tasktrail is stopping.')
      })
    }

    it('on the first of many signals', async () => {
      const runner = await startAgain()
      const impatient = setInterval(() => runner.child.kill('SIGINT'), 5)
      expect(await runner.ended).to.equal('code 0')
      clearInterval(impatient)
      await allGone(processes(runner).map(({ pid }) => pid))
      expect(runner.out.filter((line) => /stopping/.test(line))).to.have.lengthOf(1)
    })

    it('on a signal while it starts', async () => {
      for (const moment of [/^(postgres|witness)/, /^((auth|task)-service|worker) /]) {
        const runner = run()
        await runner.line(moment)
        await stop(runner, 'SIGINT')
        expect(runner.out.filter((line) => /ready/.test(line))).to.deep.equal([])
      }
    })

    it('when it is killed, and starts again at once', async () => {
      const first = await startAgain()
      const token = await login()
      process.kill(first.pid, 'SIGKILL')
      const second = await start()
      await allGone(processes(first).map(({ pid }) => pid))
      expect((await call('/tasks', { token })).status).to.equal(200)
      await stop(second)
    })

    it('when its launcher is killed', async () => {
      const launcher = await startAgain({}, [process.execPath, 'bin/node.cjs', 'src/local.ts'])
      expect(processOf(launcher, 'gateway').pid).not.to.equal(launcher.pid)
      process.kill(launcher.pid, 'SIGKILL')
      await allGone(processes(launcher).map(({ pid }) => pid))
    })

    it('when npm is killed', async () => {
      const npm = await startAgain({ HOME: place }, ['npm', 'start'])
      process.kill(npm.pid, 'SIGKILL')
      await allGone(processes(npm).map(({ pid }) => pid))
    })

    it('when npm is told to stop', async () => {
      await stop(await startAgain({ HOME: place }, ['npm', 'start']), 'SIGTERM')
    })
  })

  describe('with a database of its own', () => {
    it('uses that one, and starts none', async () => {
      const database = await testDatabase()
      const { host, port: dbPort, user, password, database: name } = database.config.connection
      const parts = {
        DB_HOST: host,
        DB_PORT: dbPort,
        DB_USER: user,
        DB_PASSWORD: password,
        DB_NAME: name,
      }
      const strings = Object.entries(parts).map(([key, value]) => [key, String(value)])
      for (const variables of [{ DATABASE_URL: database.url }, Object.fromEntries(strings)]) {
        const runner = await start(variables)
        expect(processes(runner).map(({ name }) => name)).not.to.include('postgres')
        expect(existsSync(join(place, 'data', 'postgres'))).to.equal(false)
        const token = await login()
        expect((await post('/tasks', { title: 'Elsewhere' }, token)).status).to.equal(201)
        await stop(runner)
      }
      const client = new pg.Client(database.url)
      await client.connect()
      expect((await client.query('select from tasks')).rowCount).to.equal(2)
      await client.end()
      await database.drop()
    })

    it('that cannot be reached says where and why, without the password', async () => {
      const [nowhere] = await freePorts(1)
      expect(
        await failure({ DATABASE_URL: `postgres://me:hidden@127.0.0.1:${nowhere}/tasktrail` }),
      ).to.equal(`Cannot reach the database at 127.0.0.1:${nowhere}: nothing listens there.`)
      const { host, port } = JSON.parse(process.env.TEST_POSTGRES ?? '{}')
      expect(
        await failure({ DATABASE_URL: `postgres://tasktrail:hidden@${host}:${port}/x` }),
      ).to.equal(
        `Cannot reach the database at ${host}:${port}: ` +
          'password authentication failed for user "tasktrail".',
      )
    })
  })

  describe('does not start, and says so in one sentence,', () => {
    it('when its port is taken', async () => {
      const server = createServer().listen(port, '127.0.0.1')
      await once(server, 'listening')
      expect(await failure()).to.equal(
        `Port ${port} is in use: stop what listens there, or set PORT.`,
      )
      server.close()
      expect(existsSync(join(place, 'data'))).to.equal(false)
    })

    it('when its port is invalid', async () => {
      for (const PORT of ['http', '0', '65536', '-1', '80 80']) {
        expect(await failure({ PORT })).to.equal(
          `PORT must be a whole number from 1 to 65535, not "${PORT}".`,
        )
      }
    })

    it('when a setting makes no sense', async () => {
      expect(await failure({ JWT_SECRET: 'short' })).to.match(/^The environment .* JWT_SECRET /)
      expect(existsSync(join(place, 'data', 'postgres'))).to.equal(false)
    })

    it('when the data is of another PostgreSQL', async () => {
      const dataDir = join(place, 'data', 'postgres')
      await keepSecrets({ DATA_DIR: join(place, 'data') })
      await mkdir(dataDir, { recursive: true })
      await writeFile(join(dataDir, 'PG_VERSION'), '17\n')
      expect(await failure()).to.equal(
        `${dataDir} was created by PostgreSQL 17, but this is PostgreSQL 15: ` +
          'move it away, or set DATA_DIR to another directory.',
      )
    })

    it('when its secrets are damaged', async () => {
      const file = join(place, 'data', 'secrets.json')
      await mkdir(join(place, 'data'))
      await writeFile(file, '{')
      expect(await failure()).to.equal(`${file} is damaged: it does not hold a JSON object.`)
    })

    it('when a key is not the one that the data need, and says where it goes', async () => {
      const file = join(place, 'data', 'secrets.json')
      const first = await startAgain()
      const token = await login()
      await post('/tasks', { title: 'Sealed' }, token)
      await stop(first)
      const kept = JSON.parse(readFileSync(file, 'utf8'))
      const other = 'of another machine, and long enough'
      for (const name of ['PASSWORD_PEPPER', 'TEXT_KEY', 'LOG_KEY']) {
        expect(await failure({ [name]: other })).to.match(
          new RegExp(`^${name} is not the key that .* in the environment variable ${name}\\.$`),
        )
      }
      await writeFile(file, JSON.stringify({ ...kept, TEXT_KEY: other }))
      expect(await failure()).to.match(
        new RegExp(`^TEXT_KEY is not the key that .* in ${file}\\.$`),
      )
      await rm(file)
      expect(await failure()).to.equal(
        `${file} is missing, and the data beside it needs it: restore it from your backup.`,
      )
      await writeFile(file, JSON.stringify({ ...kept, JWT_SECRET: 'x'.repeat(40) }))
      const last = await start()
      expect((await call('/tasks', { token: await login() })).body.tasks).to.have.lengthOf(1)
      await stop(last)
    })

    it('when another runs on the same data', async () => {
      const first = await startAgain()
      const [elsewhere] = await freePorts(1)
      const { pid } = processOf(first, 'postgres')
      expect(await failure({ PORT: String(elsewhere) })).to.equal(
        `Another Tasktrail already runs on ${join(place, 'data', 'postgres')} ` +
          `(PostgreSQL, pid ${pid}): stop it, or set DATA_DIR to another directory.`,
      )
      expect((await call('/auth/health')).status).to.equal(200)
      await stop(first)
    })
  })
})
