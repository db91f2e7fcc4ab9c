import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { expect } from 'chai'
import pg from 'pg'
import { freePorts } from '../src/infra/local/free-ports.ts'
import { type TestDatabase, testDatabase } from './support/postgres.ts'
import { isRunning, killAll, type Started, startProcess, until } from './support/processes.ts'
import { type TcpProxy, tcpProxy } from './support/tcp-proxy.ts'

const SERVICES = ['auth-service', 'task-service', 'worker'] as const
type Service = (typeof SERVICES)[number]

const SECRETS = {
  JWT_SECRET: randomUUID() + randomUUID(),
  INTERNAL_API_KEY: randomUUID(),
  PASSWORD_PEPPER: randomUUID(),
  TEXT_KEY: randomUUID(),
  LOG_KEY: randomUUID(),
}
const SETTINGS = {
  ...SECRETS,
  HOST: '127.0.0.1',
  BCRYPT_COST: '10',
  DRAIN_SECONDS: '0',
  AUTH_SERVICE_URL: 'http://127.0.0.1:9',
}
const HEALTH = { 'auth-service': '/auth/health', 'task-service': '/tasks/health' }

describe('A service as a process', () => {
  const started: number[] = []
  const proxies: TcpProxy[] = []
  let database: TestDatabase

  before(async () => {
    database = await testDatabase()
  })
  after(async () => {
    killAll(started)
    for (const proxy of proxies) await proxy.close()
    await database.drop()
  })

  const script = (service: Service) => `src/${service}.ts`
  const start = (service: Service, env: Record<string, string>): Started => {
    const running = startProcess(process.execPath, [script(service)], { env })
    started.push(running.pid)
    return running
  }
  const up = async (service: Service, env: Record<string, string> = {}) => {
    const [port = 0] = await freePorts(1)
    const settings = { ...SETTINGS, DATABASE_URL: database.url, PORT: String(port), ...env }
    const running = start(service, settings)
    await running.line(/"listening"/)
    return { ...running, port, url: `http://127.0.0.1:${port}` }
  }
  const login = (url: string) =>
    fetch(`${url}/auth/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ username: `u${randomUUID().slice(0, 8)}`, password: 'wrong' }),
    })
  const refusesConnections = (port: number) =>
    fetch(`http://127.0.0.1:${port}/`).then(
      async (response) => {
        await response.text()
        return false
      },
      () => true,
    )

  describe('whose environment makes no sense', () => {
    const MISSING = {
      'auth-service': ['JWT_SECRET', 'INTERNAL_API_KEY', 'PASSWORD_PEPPER'],
      'task-service': ['AUTH_SERVICE_URL', 'INTERNAL_API_KEY', 'TEXT_KEY'],
      worker: ['TEXT_KEY', 'LOG_KEY'],
    }
    const MALFORMED = {
      PORT: '80a',
      LOG_LEVEL: 'loud',
      DRAIN_SECONDS: '61',
      DB_PORT: '65536',
      DB_SSLMODE: 'prefer',
      DB_POOL_MAX: '0',
    }
    const HTTP = {
      RATE_LIMIT_PER_SECOND: '-1',
      MAX_EVENT_LOOP_DELAY_MS: '1.5',
      INTERNAL_API_KEY: 'brief-secret',
    }
    const OWN = {
      'auth-service': {
        ...HTTP,
        JWT_SECRET: 'brief-secret',
        JWT_SECRET_PREVIOUS: 'brief-secret',
        JWT_EXPIRATION: '0',
        PASSWORD_PEPPER: 'brief-secret',
        BCRYPT_COST: '9',
        LOGIN_LIMIT_PER_MINUTE: 'many',
      },
      'task-service': { ...HTTP, AUTH_SERVICE_URL: 'auth:3000', TEXT_KEY: 'brief-secret' },
      worker: { TEXT_KEY: 'brief-secret', LOG_KEY: 'brief-secret', LOG_INTERVAL_MS: '0' },
    }

    for (const service of SERVICES) {
      it(`says all that ${service} misses at once, and ends with 1`, async () => {
        const { ended, out, err } = start(service, {})
        expect(await ended).to.equal('code 1')
        expect(out).to.deep.equal([])
        expect(err).to.have.length(1)
        const database = ['DB_HOST', 'DB_NAME', 'DB_USER', 'DB_PASSWORD']
        for (const name of [...MISSING[service], ...database]) {
          expect(err[0]).to.include(`${name} is missing`)
        }
      })

      it(`says all that is malformed for ${service} at once, and no value of it`, async () => {
        const malformed = { ...MALFORMED, ...OWN[service] }
        const { ended, err } = start(service, malformed)
        expect(await ended).to.equal('code 1')
        expect(err).to.have.length(1)
        for (const name of Object.keys(malformed)) expect(err[0]).to.match(RegExp(`${name} must `))
        expect(err[0]).not.to.include('brief-secret')
      })
    }
  })

  for (const service of SERVICES) {
    it(`ends with 1 and a sentence when the port of ${service} is taken`, async () => {
      const squatter = createServer().listen(0, '127.0.0.1')
      await once(squatter, 'listening')
      const { port } = squatter.address() as AddressInfo
      const env = { ...SETTINGS, DATABASE_URL: database.url, PORT: String(port) }
      const { ended, err } = start(service, env)
      expect(await ended).to.equal('code 1')
      expect(err).to.have.length(1)
      expect(err[0]).to.match(RegExp(`^Cannot listen on 127.0.0.1:${port}: .*EADDRINUSE.*\\.$`))
      squatter.close()
    })

    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      it(`ends with 0 when ${service} is told to by ${signal}, also twice`, async () => {
        const { child, ended, line } = await up(service)
        child.kill(signal)
        await line(/"stopping"/)
        child.kill(signal)
        expect(await ended).to.equal('code 0')
      })
    }

    it(`ends when the channel to the parent of ${service} closes, without a drain`, async () => {
      const [port = 0] = await freePorts(1)
      const env = {
        ...SETTINGS,
        DATABASE_URL: database.url,
        PORT: String(port),
        DRAIN_SECONDS: '60',
      }
      const child: ChildProcess = spawn(process.execPath, [script(service)], {
        env: { PATH: process.env.PATH, ...env },
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      })
      started.push(child.pid ?? -1)
      await until(async () => !(await refusesConnections(port)), 'the service')
      child.disconnect()
      const [code] = await once(child, 'exit')
      expect(code).to.equal(0)
    })
  }

  describe('that drains', () => {
    it('keeps answering, and tells each client to open another connection', async () => {
      const { child, ended, line, url } = await up('auth-service', { DRAIN_SECONDS: '3' })
      const health = async () => {
        const response = await fetch(url + HEALTH['auth-service'])
        await response.text()
        return [response.status, response.headers.get('connection')]
      }
      expect(await health()).to.deep.equal([200, 'keep-alive'])
      child.kill('SIGTERM')
      await line(/"stopping"/)
      expect(await health()).to.deep.equal([200, 'close'])
      expect((await fetch(`${url}/auth/me`)).status).to.equal(401)
      expect(await ended).to.equal('code 0')
    })

    it('finishes what has begun, though it takes no new connection any more', async () => {
      const { child, ended, line, port } = await up('auth-service')
      const username = `u${randomUUID().slice(0, 8)}`
      const account = { username, email: `${username}@x.io`, password: 'a good long password' }
      const body = JSON.stringify(account)
      const socket = connect(port, '127.0.0.1')
      let answer = ''
      socket.setEncoding('utf8').on('data', (text) => {
        answer += text
      })
      const head = [
        'POST /auth/register HTTP/1.1',
        'Host: x',
        'Content-Type: application/json',
        `Content-Length: ${body.length}`,
      ]
      socket.write(`${head.join('\r\n')}\r\n\r\n${body.slice(0, 20)}`)
      // What is asked later on another connection is answered after those bytes have arrived.
      await (await fetch(`http://127.0.0.1:${port}/auth/health`)).text()

      child.kill('SIGTERM')
      await line(/"stopping"/)
      await until(() => refusesConnections(port), 'the end of listening')
      socket.write(body.slice(20))
      await once(socket, 'end')
      expect(answer).to.match(/^HTTP\/1.1 201 Created\r\n/)
      expect(answer).to.match(/\r\nConnection: close\r\n/i)
      expect(answer).to.include(username)
      expect(await ended).to.equal('code 0')
    })
  })

  describe('whose database is away', () => {
    const isAway = async (response: Response) => {
      const body = (await response.json()) as { message: string; code: string }
      expect([response.status, body.message]).to.deep.equal([503, 'Database connection failed'])
      expect(Number(response.headers.get('retry-after'))).to.be.at.least(1)
    }

    it('starts and survives, and recovers by itself whenever the database comes back', async () => {
      const { host, port } = database.config.connection as { host: string; port: number }
      const proxy = await tcpProxy({ host, port })
      proxies.push(proxy)
      proxy.cut()
      const url = new URL(database.url)
      url.port = String(proxy.port)
      const service = await up('auth-service', { DATABASE_URL: url.href })
      for (let round = 0; round < 3; round++) {
        await isAway(await login(service.url))
        expect((await fetch(service.url + HEALTH['auth-service'])).status).to.equal(200)
        expect((await fetch(`${service.url}/ready`)).status).to.equal(503)
        proxy.restore()
        const back = async () => (await login(service.url)).status === 401
        await until(back, 'the database to be found again', 10_000)
        expect((await fetch(`${service.url}/ready`)).status).to.equal(200)
        proxy.cut()
      }
      expect(isRunning(service.pid)).to.equal(true)
      service.child.kill('SIGTERM')
      expect(await service.ended).to.equal('code 0')
      expect(service.out.join('\n')).not.to.include(new URL(database.url).password)
    })

    it('starts when nothing listens there at all', async () => {
      const [nobody = 0] = await freePorts(1)
      const url = `postgres://x:y@127.0.0.1:${nobody}/z`
      const service = await up('auth-service', { DATABASE_URL: url })
      await isAway(await login(service.url))
      await service.line(/ECONNREFUSED/)
      service.child.kill('SIGTERM')
      expect(await service.ended).to.equal('code 0')
    })
  })

  it('says in its log which role its login lacks, and works once it is granted', async () => {
    const name = `app_${randomUUID().replaceAll('-', '')}`
    const sql = new pg.Client(database.url)
    await sql.connect()
    await sql.query(`create role ${name} login password 'app'`)
    const url = new URL(database.url)
    url.username = name
    url.password = 'app'
    const service = await up('auth-service', { DATABASE_URL: url.href })
    const refused = await login(service.url)
    expect(refused.status).to.equal(500)
    expect(await refused.text()).to.include('An unexpected error occurred')
    await service.line(/permission denied to set role \\"tasktrail_auth\\"/)
    await sql.query(`grant tasktrail_auth to ${name}`)
    expect((await login(service.url)).status).to.equal(401)
    service.child.kill('SIGTERM')
    expect(await service.ended).to.equal('code 0')
    await sql.query(`drop role ${name}`)
    await sql.end()
  })

  describe('loses no line of its log', () => {
    const begin = `import { logger } from './src/process.ts'; const log = logger('x', 'info'); log.info('one');`
    const logged = async (program: string) => {
      const running = startProcess(process.execPath, ['--input-type=module', '-e', begin + program])
      const ended = await running.ended
      return { ended, lines: running.out.map((line) => JSON.parse(line).msg) }
    }

    for (const [how, program, code] of [
      ['by itself', '', 0],
      ['at once', 'process.exit(3)', 3],
      ['by an error that nobody caught', `throw new Error('broken')`, 1],
      ['after a fatal line', `log.fatal('two'); process.abort()`, 'SIGABRT'],
    ] as const) {
      it(`when it ends ${how}`, async () => {
        const { ended, lines } = await logged(
          `process.once('exit', () => log.info('last')); log.info('and'); ${program}`,
        )
        const isAborted = code === 'SIGABRT'
        expect(ended).to.equal(isAborted ? `signal ${code}` : `code ${code}`)
        expect(lines).to.deep.equal(['one', 'and', ...(isAborted ? ['two'] : ['last'])])
      })
    }

    it('when its end says nothing', async () => {
      expect(await logged('process.exit(0)')).to.deep.equal({ ended: 'code 0', lines: ['one'] })
    })

    it('when there are many in one turn, and keeps their order', async () => {
      const { lines } = await logged(`
        for (let n = 0; n < 20_000; n++) log.info(String(n)); setTimeout(() => log.info('later'), 10)`)
      expect(lines).to.deep.equal([
        'one',
        ...Array.from({ length: 20_000 }, (_, n) => `${n}`),
        'later',
      ])
    })
  })
})
