import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'chai'
import pg from 'pg'
import { objectKey } from '../src/app/object-keys.ts'
import { keepSecrets } from '../src/infra/local/data-dir.ts'
import { freePorts } from '../src/infra/local/free-ports.ts'
import { localStorage } from '../src/infra/local/objects/local-storage.ts'
import { NAMES, npmStart } from './support/npm-start.ts'
import { photo, post } from './support/object-storage-contract.ts'
import { testDatabase } from './support/postgres.ts'
import { isRunning, type Started, until } from './support/processes.ts'

const execute = promisify(execFile)

/** None of a directory, nor of a draft that has been given its name since it was listed. */
function contents(path: string): Buffer[] {
  try {
    return [readFileSync(path)]
  } catch (error) {
    if (['EISDIR', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '')) return []
    throw error
  }
}

describe('npm start on a new machine', function () {
  this.timeout(240_000)
  const { begin, end, place, port, ...local } = npmStart()
  const { start, stop, processes, processOf, call, login } = local
  const shells = { AWS_SECRET_ACCESS_KEY: 'of who started it' }
  let runner: Started

  before(async () => {
    await begin()
    runner = await start(shells)
  })
  after(end)

  it('says which processes run and what to try', async () => {
    expect(processes(runner).map(({ name }) => name)).to.have.members(NAMES)
    for (const { pid } of processes(runner)) expect(isRunning(pid)).to.equal(true)
    expect(processOf(runner, 'gateway')).to.deep.include({
      pid: runner.pid,
      address: `http://127.0.0.1:${port()}`,
    })
    const url = `http://127.0.0.1:${port()}`
    expect(runner.out).to.include(`Tasktrail is ready: ${url}`)
    expect(runner.out).to.include('No REDIS_URL: each process counts its requests in memory.')
    expect(runner.out).to.include(`Documents: ${url}/v1/tasks/docs, ${url}/v1/auth/docs`)
  })

  it('gives each process its own secrets, and none of the others', async () => {
    const secrets: Record<string, string> = JSON.parse(
      readFileSync(place('data', 'secrets.json'), 'utf8'),
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
    expect(held('task-service')).to.have.members(['INTERNAL_API_KEY', 'TEXT_KEY', 'PHOTOS_KEY'])
    expect(held('worker')).to.have.members(['TEXT_KEY', 'LOG_KEY', 'PHOTOS_KEY'])
    expect(held('witness')).to.have.members(['WITNESS_KEY'])
    expect(held('postgres')).to.deep.equal([])
  })

  it('takes an upload, and gives it back, without another installation', async () => {
    const { PHOTOS_KEY: secret } = await keepSecrets({ DATA_DIR: place('data') })
    const directory = place('data', 'photos')
    const environment = readFileSync(`/proc/${processOf(runner, 'task-service').pid}/environ`)
    const [, url = ''] = /PHOTOS_URL=([^\0]*)/.exec(environment.toString()) ?? []
    expect(url).to.equal(`http://127.0.0.1:${port()}/objects`)
    const storage = localStorage({ directory, url, secret })
    const { facts, bytes } = photo(objectKey('photos', 'a'))
    expect(await post(await storage.offerUpload(facts, 60), bytes)).to.equal(204)
    const { version = '' } = (await storage.head(facts.key)) ?? {}
    const what = { key: facts.key, version, contentType: 'image/jpeg', fileName: 'a.jpg' } as const
    const offer = await storage.offerDownload({ ...what, disposition: 'inline' }, 60)
    const response = await fetch(offer)
    expect(Buffer.from(await response.arrayBuffer()).equals(bytes)).to.equal(true)
  })

  it('introduces the log and its witness to each other', async () => {
    const { pid } = processOf(runner, 'worker')
    const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
    const policy = environment.find((setting) => setting.startsWith('WITNESSES='))
    const { address } = processOf(runner, 'witness')
    const { keys, logs } = JSON.parse(await (await fetch(`${address}/witness/health`)).text())
    expect(policy).to.equal(`WITNESSES=witness local ${keys[0]} ${address}; quorum local`)
    expect(logs.map(({ origin }: { origin: string }) => origin)).to.deep.equal([
      'tasktrail.local/log',
    ])
  })

  it('prints examples that work as they stand', async () => {
    await runner.line(/^Ctrl-C/)
    const begin = runner.out.indexOf('Try it:') + 1
    const script = runner.out.slice(begin, runner.out.indexOf('Ctrl-C stops it.')).join('\n')
    const { stdout } = await execute('bash', ['-ec', script])
    const list = stdout.match(/\{"tasks":.*/)?.[0] ?? '{}'
    expect(JSON.parse(list).tasks[0]).to.include({ title: 'Write the first program', version: 1 })
  })

  it('keeps mails as files, and prints their links, which no log has', async () => {
    const body = { username: 'grace', email: 'grace@example.com', password: 'a good long password' }
    await call('/v1/auth/register', { method: 'POST', body: JSON.stringify(body) })
    const line = await runner.line(/ {2}http\S+\/v1\/auth\/link#verify\.\S{43}$/)
    const said = runner.out[runner.out.indexOf(line) - 1] ?? ''
    const [, file = ''] = /^mail: Confirm your address: (.*\.eml)$/.exec(said) ?? []
    expect(file.startsWith(place('data', 'mail'))).to.equal(true)
    expect(statSync(file).mode & 0o777).to.equal(0o600)
    const [, token = ''] = line.split('#verify.')
    const answer = await call('/v1/auth/email/verify', {
      method: 'POST',
      body: JSON.stringify({ token }),
    })
    expect(answer.body).to.deep.equal({ status: 'confirmed' })
    const logs = readdirSync(place('data', 'logs')).map((name) => place('data', 'logs', name))
    for (const log of logs) expect(readFileSync(log, 'utf8'), log).to.not.include(token)
  })

  it('applies the path rules', async () => {
    const token = await login()
    expect((await call('/health')).body).to.deep.equal({
      status: 'healthy',
      services: ['auth', 'task'],
    })
    expect((await call('/v1/health')).body).to.deep.equal((await call('/health')).body)
    for (const path of ['/worker', '/worker/health', '/worker/metrics', '/worker/']) {
      expect((await call(path)).status).to.equal(404)
    }
    expect((await call('/auth/me', { token })).status).to.equal(200)
    expect((await call('/v1/auth/me', { token })).status).to.equal(200)
    expect((await call('/v1/auth/validate', { method: 'POST', token })).status).to.equal(403)
    expect((await call('/auth/validate', { method: 'POST', token })).status).to.equal(403)
    for (const trick of [
      '/auth//validate',
      '/auth/%76alidate',
      '/auth/Validate',
      '/AUTH/validate',
    ]) {
      expect((await call(trick, { method: 'POST', token })).status).to.equal(404)
    }
  })

  it('refuses bad tokens at the gateway, with the answer of the services, and writes that down', async () => {
    const token = await login()
    const gateway = `http://127.0.0.1:${port()}`
    const { address } = processOf(runner, 'task-service')
    const forged = `${token.slice(0, -4)}AAAA`
    for (const authorization of [undefined, 'Basic x', `Bearer ${forged}`, 'Bearer x.y.z']) {
      const headers = { 'X-Request-Id': 'edge-1', ...(authorization && { authorization }) }
      const [own, service] = await Promise.all(
        [gateway, address].map((url) => fetch(`${url}/v1/tasks?q=private`, { headers })),
      )
      expect(own?.status).to.equal(401)
      expect(await own?.text()).to.equal(await service?.text())
      expect(own?.headers.get('www-authenticate')).to.equal('Bearer')
      expect(own?.headers.get('www-authenticate')).to.equal(
        service?.headers.get('www-authenticate'),
      )
    }
    expect((await call('/v1/tasks?q=private', { token })).status).to.equal(200)
    // A token that the edge takes for good, of a session that has ended.
    await call('/v1/auth/logout', { method: 'POST', token })
    expect((await call('/v1/tasks', { token })).body.code).to.equal('session_ended')
    const log = readFileSync(place('data', 'logs', 'gateway.log'), 'utf8')
    const lines = log
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    const refused = lines.filter(({ request_id, error }) => request_id === 'edge-1' && error !== '')
    expect(refused.map(({ status, path }) => [status, path])).to.deep.equal(
      Array(4).fill([401, '/v1/tasks']),
    )
    expect(refused.map(({ error }) => error)).to.have.members([
      ...['token_missing', 'token_missing', 'token_invalid', 'token_invalid'],
    ])
    for (const secret of [token, forged, 'private']) expect(log).not.to.include(secret)
  })

  it('keeps its secrets to its user, and out of all it writes', async () => {
    await login()
    const file = place('data', 'secrets.json')
    expect(statSync(file).mode & 0o777).to.equal(0o600)
    const secrets = Object.values(JSON.parse(readFileSync(file, 'utf8'))) as string[]
    expect(secrets).to.have.lengthOf(8)
    await stop(runner)
    const logs = place('data', 'logs')
    const files = readdirSync(logs).map((name) => readFileSync(join(logs, name), 'utf8'))
    const written = [...runner.out, ...runner.err, ...files].join('\n')
    for (const secret of secrets) expect(written).not.to.include(secret)
  })
})

describe('npm start', function () {
  this.timeout(240_000)
  const { begin, end, makeData, removeData, place, port, ...local } = npmStart()
  const { run, start, startAgain, stop, processes, processOf, call, post, login } = local
  /** How a start fails: its sentence on stderr, alone. */
  const failure = async (more?: Record<string, string>) => {
    const runner = run(more)
    expect(await runner.ended).to.equal('code 1')
    expect(runner.out.filter((line) => /ready/.test(line))).to.deep.equal([])
    expect(runner.err).to.have.lengthOf(1)
    return runner.err[0]
  }

  before(makeData)
  after(removeData)
  beforeEach(begin)
  afterEach(end)

  it('shows what a person needs, and keeps all the rest in files', async () => {
    const runner = await startAgain()
    const token = await login()
    expect((await post('/tasks', { title: 'Logged' }, token)).status).to.equal(201)
    expect((await call('/tasks/9', { token })).status).to.equal(404)
    await runner.line(/^GET \/tasks\/9 404 \d+ ms task_not_found$/)
    await runner.line(/^ {2}http.*#verify/)
    await stop(runner)
    const begin = runner.out.indexOf('Ctrl-C stops it.') + 1
    const shown = runner.out
      .slice(begin, -1)
      .map((line) => line.replace(/\d+ ms/, 'x ms').replace(/: \/.*|#verify.*/, ''))
    expect(shown).to.have.members([
      'mail: Confirm your address',
      `  http://127.0.0.1:${port()}/v1/auth/link`,
      'POST /auth/register 201 x ms',
      'POST /auth/login 200 x ms',
      'POST /tasks 201 x ms',
      'GET /tasks/9 404 x ms task_not_found',
    ])
    expect(runner.err).to.deep.equal([])
    const lines = (name: string) =>
      readFileSync(place('data', 'logs', `${name}.log`), 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line))
    const validations = lines('auth-service').filter(({ path }) => path === '/auth/validate')
    expect(validations.length).to.be.greaterThan(1)
    expect(lines('worker').map(({ msg }) => msg)).to.include('leads')
  })

  it('lets pages of the origins that it is given call it, services and objects', async () => {
    const origin = 'https://app.example.com'
    const runner = await startAgain({ CORS_ORIGINS: origin })
    for (const path of ['/v1/tasks', '/v1/health', '/v1/auth/me', '/nothing', '/objects/a']) {
      const answer = await fetch(`http://127.0.0.1:${port()}${path}`, { headers: { origin } })
      expect(answer.headers.get('access-control-allow-origin'), path).to.equal(origin)
    }
    const { address } = processOf(runner, 'task-service')
    const direct = await fetch(`${address}/v1/tasks`, { headers: { origin } })
    expect(direct.headers.get('access-control-allow-origin')).to.equal(origin)
    await stop(runner)
    expect(await failure({ CORS_ORIGINS: 'app.example.com' })).to.include(
      'CORS_ORIGINS must be origins such as https://app.example.com',
    )
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
    const data = place('data')
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
      const texts = [title, description, renamed, searched, 'ada@example.com']
      const holders = [...names.flatMap((name) => contents(join(data, name))), await dump()]
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
        expect(existsSync(place('data', 'postgres'))).to.equal(false)
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
      const server = createServer().listen(port(), '127.0.0.1')
      await once(server, 'listening')
      expect(await failure()).to.equal(
        `Port ${port()} is in use: stop what listens there, or set PORT.`,
      )
      server.close()
      expect(existsSync(place('data'))).to.equal(false)
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
      expect(existsSync(place('data', 'postgres'))).to.equal(false)
    })

    it('when the data is of another PostgreSQL', async () => {
      const dataDir = place('data', 'postgres')
      await keepSecrets({ DATA_DIR: place('data') })
      await mkdir(dataDir, { recursive: true })
      await writeFile(join(dataDir, 'PG_VERSION'), '17\n')
      expect(await failure()).to.equal(
        `${dataDir} was created by PostgreSQL 17, but this is PostgreSQL 15: ` +
          'move it away, or set DATA_DIR to another directory.',
      )
    })

    it('when its secrets are damaged', async () => {
      const file = place('data', 'secrets.json')
      await mkdir(place('data'))
      await writeFile(file, '{')
      expect(await failure()).to.equal(`${file} is damaged: it does not hold a JSON object.`)
    })

    it('when a key is not the one that the data need, and says where it goes', async () => {
      const file = place('data', 'secrets.json')
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
        `Another Tasktrail already runs on ${place('data', 'postgres')} ` +
          `(PostgreSQL, pid ${pid}): stop it, or set DATA_DIR to another directory.`,
      )
      expect((await call('/auth/health')).status).to.equal(200)
      await stop(first)
    })
  })
})
