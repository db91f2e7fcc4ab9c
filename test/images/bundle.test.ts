import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import pg from 'pg'
import { dev } from '../../cdk/config/dev.ts'
import { prod } from '../../cdk/config/prod.ts'
import { environmentSchema } from '../../cdk/config/schema.ts'
import { staging } from '../../cdk/config/staging.ts'
import { packagesFor, writeImages } from '../../scripts/bundle.ts'
import { imageNames } from '../../scripts/images.ts'
import { rdsRoots } from '../../scripts/rds-ca.ts'
import { thumbnailsApart } from '../../src/infra/images/thumbnails-apart.ts'
import { freePorts } from '../../src/infra/local/free-ports.ts'
import { setLogins } from '../../src/infra/postgres/connection/logins.ts'
import { plain } from '../support/images.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'
import { killAll, type Started, startProcess } from '../support/processes.ts'

const YEAR_MS = 365 * 24 * 3_600_000
const SETTINGS = {
  INTERNAL_API_KEY: 'an-internal-api-key',
  JWT_SECRET: 'a-secret-of-at-least-32-characters',
  PASSWORD_PEPPER: 'a-pepper-for-passwords',
  TEXT_KEY: 'a-key-of-at-least-32-characters-for-texts',
  LOG_KEY: 'a-key-of-at-least-32-characters-for-the-log',
  BCRYPT_COST: '10',
  HOST: '127.0.0.1',
  DRAIN_SECONDS: '0',
}

// How it all goes as an image: images.campaign.ts.
describe('What goes into the images', function () {
  this.timeout(30_000)
  let dist: string
  let names: readonly string[]
  let database: TestDatabase
  let started: Started[]

  before(async () => {
    dist = await mkdtemp(join(tmpdir(), 'tasktrail-dist-'))
    names = await writeImages(dist, 'amd64', packagesFor(join(dist, 'packages')))
    database = await testDatabase()
  })
  beforeEach(() => {
    started = []
  })
  afterEach(() => killAll(started.map(({ pid }) => pid)))
  after(async () => {
    await database.drop()
    await rm(dist, { recursive: true, force: true })
  })

  const run = (image: string, script: string, env: Record<string, string>, ...args: string[]) => {
    const app = join(dist, image, 'app')
    const child = startProcess(process.execPath, [join(app, script), ...args], {
      env,
      cwd: tmpdir(),
    })
    started.push(child)
    return child
  }
  const serve = async (image: string, env: Record<string, string>) => {
    const [port = 0] = await freePorts(1)
    const settings = { ...SETTINGS, DATABASE_URL: database.url, PORT: String(port), ...env }
    const service = run(image, `${image}.js`, settings)
    await service.line(/"msg":"listening"/)
    return { service, port, url: `http://127.0.0.1:${port}` }
  }

  it('is what the Dockerfile asks for', () => {
    expect(names).to.have.members(imageNames(readFileSync('Dockerfile', 'utf8')))
  })

  it('runs without the repository and its packages', async () => {
    const auth = await serve('auth-service', {})
    const task = await serve('task-service', { AUTH_SERVICE_URL: auth.url })
    const worker = await serve('worker', {})
    const user = { username: 'ada', email: 'ada@example.com', password: 'engines-of-analysis' }
    const registered = await fetch(`${auth.url}/auth/register`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(user),
    })
    expect(registered.status).to.equal(201)
    expect((await fetch(`${task.url}/tasks`)).status).to.equal(401)
    expect((await fetch(`${task.url}/tasks/docs/swagger-ui.css`)).status).to.equal(200)
    expect((await fetch(`${worker.url}/worker/health`)).status).to.equal(200)
    await worker.service.line(/"name":"audit".*"msg":"leads"/)
    for (const { service } of [auth, task, worker]) {
      service.child.kill('SIGTERM')
      expect(await service.ended).to.equal('code 0')
    }
  })

  it("looks after the audit trail with the scripts in the worker, as the worker's login", async () => {
    const login = { user: `worker_${process.pid}`, password: 'of-the-worker' }
    await setLogins(database.config, [{ ...login, role: 'tasktrail_worker' }])
    const url = new URL(database.url)
    url.username = login.user
    url.password = login.password
    const by = async (script: string, ...args: string[]) => {
      const env = { ...SETTINGS, DATABASE_URL: url.href }
      const { ended, out, err } = run('worker', script, env, ...args)
      return { ended: await ended, out, err }
    }
    const status = await by('projections.js', 'status')
    expect(status).to.deep.include({ ended: 'code 0', err: [] })
    expect(status.out.join('\n')).to.match(/^audit +live, at \d+ of \d+/m)
    expect(await by('audit-verify.js')).to.deep.include({ ended: 'code 0', err: [] })
    const { out } = await by('log-key.js')
    expect(out[0]).to.match(/^tasktrail\.local\/log\+[0-9a-f]{8}\+/)
    const client = new pg.Client(database.url)
    await client.connect()
    await client.query(`drop role ${login.user}`).finally(() => client.end())
  })

  // That the owner of the tables suffices: test/infra/postgres/roles.test.ts.
  it('rebuilds a view and grants roles with the scripts in the worker', async () => {
    const env = { ...SETTINGS, DATABASE_URL: database.url }
    const rebuild = run('worker', 'projections.js', env, 'rebuild', 'tasks')
    expect(await rebuild.ended, rebuild.err.join('\n')).to.equal('code 0')
    expect(rebuild.out.join('\n')).to.match(/^The projection tasks is rebuilt/m)
    const grant = run('worker', 'grant-role.js', env, 'nobody', 'auditor')
    expect(await grant.ended).to.equal('code 1')
    expect(grant.err).to.deep.equal(['There is no user "nobody".'])
  })

  it('holds the native code of one processor', async () => {
    const [other, installed] = [join(dist, 'other'), join(dist, 'installed')]
    // As npm installs them there.
    for (const name of ['sharp-linux-arm64', 'sharp-libvips-linux-arm64']) {
      const place = join(installed, 'node_modules/@img', name)
      await mkdir(place, { recursive: true })
      await writeFile(join(place, 'package.json'), '{}')
    }
    await writeImages(other, 'arm64', () => installed)
    const prebuilds = (place: string, arch: string) => [
      existsSync(join(place, `auth-service/app/node_modules/bcrypt/prebuilds/linux-${arch}`)),
      existsSync(join(place, `worker/app/node_modules/@img/sharp-linux-${arch}`)),
      existsSync(join(place, `worker/app/node_modules/@img/sharp-libvips-linux-${arch}`)),
    ]
    const [all, none] = [Array(3).fill(true), Array(3).fill(false)]
    expect([prebuilds(dist, 'x64'), prebuilds(dist, 'arm64')]).to.deep.equal([all, none])
    expect([prebuilds(other, 'x64'), prebuilds(other, 'arm64')]).to.deep.equal([none, all])
  })

  it('is not written for a processor that there is no native code for', async () => {
    const failure = await writeImages(join(dist, 'none'), 'riscv64', () => dist).catch(
      (error) => error,
    )
    expect(failure.message).to.equal('There is no native code for "riscv64".')
  })

  it('decodes photos in the worker, and nowhere else', async () => {
    const holders = names.filter((name) => existsSync(join(dist, name, 'app/node_modules/sharp')))
    expect(holders).to.deep.equal(['worker'])
    const thumbnails = thumbnailsApart({ program: join(dist, 'worker/app/thumbnails.js') })
    for (const format of ['jpeg', 'png', 'webp', 'avif'] as const) {
      const made = await thumbnails(await plain(640, 480).toFormat(format).toBuffer())
      expect(made, format).to.have.nested.include({ 'small.width': 320, 'large.width': 640 })
    }
  })

  describe('the health check', () => {
    /** How it ends against a server that does this. */
    const check = async (listener: RequestListener) => {
      const server = createServer(listener).listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      try {
        const health = run('auth-service', 'health.js', { PORT: String(port) }, '/auth/health')
        return [await health.ended, ...health.err]
      } finally {
        server.closeAllConnections()
        server.close()
      }
    }

    it('succeeds on 200 alone', async () => {
      const asked: (string | undefined)[] = []
      const answer = (status: number) =>
        check((request, response) => {
          asked.push(request.url)
          response.writeHead(status, { Location: '/elsewhere' }).end()
        })
      expect(await answer(200)).to.deep.equal(['code 0'])
      expect(await answer(503)).to.deep.equal(['code 1', '/auth/health answers 503.'])
      expect(await answer(302)).to.deep.equal(['code 1', '/auth/health answers 302.'])
      expect(asked).to.deep.equal(Array(3).fill('/auth/health'))
    })

    it('gives up before ECS does when nothing is answered', async () => {
      expect(await check(() => {})).to.deep.equal(['code 1', 'No answer in 4000 ms.'])
    })

    it('fails when nobody listens', async () => {
      const [port = 0] = await freePorts(1)
      const health = run('auth-service', 'health.js', { PORT: String(port) }, '/auth/health')
      expect(await health.ended).to.equal('code 1')
      expect(health.err).to.deep.equal([`No answer: connect ECONNREFUSED 127.0.0.1:${port}.`])
    })
  })

  describe('the certificates of RDS', () => {
    it('are in every image', () => {
      for (const name of names) {
        const text = readFileSync(join(dist, name, 'app/rds-ca.pem'), 'utf8')
        expect(text.match(/-----BEGIN CERTIFICATE-----/g)).to.have.lengthOf(rdsRoots().length)
      }
    })

    it('are those of every region that an environment is in, three kinds each', () => {
      for (const input of [dev, staging, prod]) {
        const { region } = environmentSchema.parse(input)
        const own = rdsRoots().filter((root) => root.region === region)
        expect(own, region).to.have.lengthOf(3)
      }
    })

    it('do not end soon', () => {
      for (const { region, validTo } of rdsRoots()) {
        expect(validTo.getTime(), region).to.be.greaterThan(Date.now() + YEAR_MS)
      }
    })
  })
})
