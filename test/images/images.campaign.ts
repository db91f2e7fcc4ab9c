// `npm run test:images`: the Dockerfile as it is, built and run. Not a part of `npm test`, for it takes
// root, buildah and minutes, or a Docker engine.
import { readFileSync } from 'node:fs'
import { chown, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { expect } from 'chai'
import { SERVICES, type ServiceName, WITNESS_HEALTH_PATH } from '../../cdk/catalogue.ts'
import { baseOf, imageNames } from '../../scripts/images.ts'
import { secretLogSigner, secretWitnessSigner } from '../../src/infra/credentials/note-signers.ts'
import {
  type EmbeddedPostgres,
  SUPERUSER,
  startEmbeddedPostgres,
} from '../../src/infra/local/embedded-postgres.ts'
import { freePorts } from '../../src/infra/local/free-ports.ts'
import { parseCheckpoint } from '../../src/transparency-log/checkpoint.ts'
import { readNote, verifiedBy } from '../../src/transparency-log/signed-note.ts'
import { makeServerCertificate, type ServerCertificate } from '../support/certificates.ts'
import {
  type Container,
  type Containers,
  openContainers,
  whyNoContainers,
} from '../support/containers.ts'
import { blackPng } from '../support/images.ts'
import { startProcess, until } from '../support/processes.ts'

const VERSION = '0.0.0-test'
const MAX_BYTES_OVER_BASE = 200e6
const HEALTHY_MS = 3_000
const NODE_ID = 1000

const SECRETS = {
  DB_PASSWORD: 'of-the-superuser',
  JWT_SECRET: 'a-secret-of-at-least-32-characters',
  INTERNAL_API_KEY: 'an-internal-api-key',
  PASSWORD_PEPPER: 'a-pepper-for-passwords',
  TEXT_KEY: 'a-key-of-at-least-32-characters-for-texts',
  LOG_KEY: 'a-key-of-at-least-32-characters-for-the-log',
}
const WITNESS_KEY = 'a-key-of-at-least-32-characters-for-the-witness'
const WITNESS_DIR = '/var/lib/witness'
const LOG_VERIFIER = secretLogSigner('tasktrail.local/log', SECRETS.LOG_KEY).key
const WITNESS_VERIFIER = secretWitnessSigner('tasktrail.local/witness', WITNESS_KEY, Date.now).key

const dockerfile = readFileSync('Dockerfile', 'utf8')
const imageOf = (name: string) => `tasktrail/${name}:${VERSION}`

const reason = whyNoContainers()
if (reason === null) describe('the images', campaign)
else describe('the images', () => void it(`are not built here: ${reason}`))

function campaign(this: Mocha.Suite) {
  this.timeout(15 * 60_000)
  let directory: string
  let containers: Containers
  let postgres: EmbeddedPostgres
  let certificate: ServerCertificate
  let printed: readonly string[]
  let database: Record<string, string>

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'tasktrail-images-'))
    containers = await openContainers()
    certificate = await makeServerCertificate(directory)
    postgres = await startEmbeddedPostgres({
      dataDir: join(directory, 'postgres'),
      password: SECRETS.DB_PASSWORD,
      database: 'taskmanagement',
      settings: {
        fsync: 'off',
        ssl: 'on',
        ssl_cert_file: certificate.certificate,
        ssl_key_file: certificate.key,
      },
    })
    database = {
      DB_HOST: 'localhost',
      DB_PORT: String(postgres.port),
      DB_NAME: 'taskmanagement',
      DB_USER: SUPERUSER,
      DB_PASSWORD: SECRETS.DB_PASSWORD,
      // As deployed; the authority of this server takes the place of those of RDS.
      DB_SSLMODE: 'verify-full',
    }
    printed = await build()
  })
  after(async () => {
    await containers?.removeAll()
    await postgres?.stop()
    await rm(directory, { recursive: true, force: true })
  })

  async function build(): Promise<readonly string[]> {
    const began = Date.now()
    await containers.provideBase(baseOf(dockerfile))
    console.log(`      ${containers.engine}, base: ${Date.now() - began} ms`)
    const args = ['scripts/images.ts', '--tag', `v${VERSION}`]
    const builder = startProcess(process.execPath, args, { env: containers.env })
    const how = await builder.ended
    if (how !== 'code 0') throw new Error([how, ...builder.out, ...builder.err].join('\n'))
    console.log(`      built: ${Date.now() - began} ms`)
    return builder.out
  }

  const trusted = () => ({ '/app/rds-ca.pem': certificate.authority })
  const migrate = (env: Record<string, string> = {}, ...command: string[]) =>
    containers.run(imageOf('migration'), {
      env: { ...database, ...env },
      command,
      files: trusted(),
    })

  /** A service that has answered, and how long that took from `run`, its container included. */
  async function serve(name: ServiceName, env: Record<string, string>, files = trusted()) {
    const [port = 0] = await freePorts(1)
    const url = `http://127.0.0.1:${port}`
    const service = name.replace('-service', '')
    const settings = { ...SECRETS, ...database, BCRYPT_COST: '10', DRAIN_SECONDS: '0' }
    const began = Date.now()
    const container = containers.run(imageOf(name), {
      env: { ...settings, PORT: String(port), ...env },
      files,
    })
    const healthy = await answering(url + SERVICES[name].healthPath, container)
    const ms = Date.now() - began
    expect(healthy).to.include({ status: 'healthy', service })
    return { container, url, ms }
  }

  /** A witness with a store of its own, and without the database or a secret of the services. */
  async function serveWitness() {
    const [port = 0] = await freePorts(1)
    const url = `http://127.0.0.1:${port}`
    const store = await mkdtemp(join(directory, 'witness-'))
    await chown(store, NODE_ID, NODE_ID)
    const began = Date.now()
    const container = containers.run(imageOf('witness'), {
      env: {
        ...{ WITNESS_KEY, WITNESS_DIR, WITNESS_LOGS: LOG_VERIFIER.text },
        ...{ PORT: String(port), DRAIN_SECONDS: '0' },
      },
      stores: { [WITNESS_DIR]: store },
    })
    const healthy = await answering(url + WITNESS_HEALTH_PATH, container)
    const ms = Date.now() - began
    expect(healthy).to.include({ status: 'healthy', service: 'witness' })
    return { container, url, ms }
  }

  async function answering(url: string, container: Container): Promise<unknown> {
    let exit: string | undefined
    void container.ended.then((how) => {
      exit = how
    })
    for (;;) {
      const answer = await fetch(url).catch(() => null)
      if (answer?.ok) return answer.json()
      if (exit !== undefined) throw new Error([exit, ...container.out, ...container.err].join('\n'))
      await sleep(10)
    }
  }

  describe('as built', () => {
    it('are those that the Dockerfile names, and add less than 200 MB each to their base', () => {
      const sizes = printed.flatMap((line) => {
        const [, image, megabytes] = /^(\S+): ([\d.]+) MB over /.exec(line) ?? []
        return image === undefined ? [] : [{ image, bytes: Number(megabytes) * 1e6 }]
      })
      expect(sizes.map(({ image }) => image)).to.deep.equal(imageNames(dockerfile).map(imageOf))
      for (const { image, bytes } of sizes) {
        console.log(`      ${image}: ${bytes / 1e6} MB over its base`)
        expect(bytes, image).to.be.within(1, MAX_BYTES_OVER_BASE)
      }
    })

    it('start without a shell, as nobody special, and say what they are', async () => {
      for (const name of imageNames(dockerfile)) {
        const { User, Entrypoint, StopSignal, Labels } = await containers.inspect(imageOf(name))
        expect(User).to.equal(`${NODE_ID}:${NODE_ID}`)
        expect(Entrypoint).to.have.lengthOf(2)
        expect(Entrypoint[0]).to.equal('/usr/local/bin/node')
        expect(StopSignal).to.equal('SIGTERM')
        expect(Labels).to.include({
          'org.opencontainers.image.title': name,
          'org.opencontainers.image.version': VERSION,
          'org.opencontainers.image.base.name': baseOf(dockerfile),
        })
        expect(Labels['org.opencontainers.image.revision']).to.match(
          /^([0-9a-f]{40}(-dirty)?|unknown)$/,
        )
      }
    })

    it('hold no secret, and no settings but these', async () => {
      for (const name of imageNames(dockerfile)) {
        const { Env } = await containers.inspect(imageOf(name))
        const names = Env.map((variable) => variable.replace(/=.*/s, ''))
        expect(names).to.include.members(['NODE_ENV', 'NODE_EXTRA_CA_CERTS'])
        for (const variable of names) expect(variable).to.match(/^(PATH|[A-Z]+_VERSION|NODE_\w+)$/)
      }
    })
  })

  describe('the migration', () => {
    it('fails with one sentence when the database is away', async () => {
      const [port = 0] = await freePorts(1)
      const container = migrate({ DB_PORT: String(port) })
      expect(await container.ended).to.equal('code 1')
      const lines = container.err.filter((line) => line !== '')
      expect(lines).to.deep.equal([
        `Cannot reach the database at localhost:${port}: nothing listens there.`,
      ])
    })

    it('fails when the password is wrong, and does not show it', async () => {
      const container = migrate({ DB_PASSWORD: 'guessed-wrong' })
      expect(await container.ended).to.equal('code 1')
      const said = [...container.out, ...container.err].join('\n')
      expect(said).to.contain('Cannot reach the database').and.not.contain('guessed-wrong')
    })

    it('brings an empty database to the present schema, and a second run finds nothing to do', async () => {
      const first = migrate()
      expect(await first.ended).to.equal('code 0')
      expect(first.out.length).to.be.greaterThan(4)
      for (const line of first.out) expect(line).to.match(/^Migrated \d{14}_\w+\.ts$/)
      const second = migrate()
      expect(await second.ended).to.equal('code 0')
      expect(second.out).to.deep.equal(['Nothing to migrate.'])
    })

    it('tells where the schema is, when asked', async () => {
      const container = migrate({}, 'status')
      expect(await container.ended).to.equal('code 0')
      for (const line of container.out) expect(line).to.match(/^done {5}\d{14}_\w+\.ts$/)
    })
  })

  describe('the services', () => {
    let auth: Awaited<ReturnType<typeof serve>>
    let task: Awaited<ReturnType<typeof serve>>
    let worker: Awaited<ReturnType<typeof serve>>
    let witness: Awaited<ReturnType<typeof serveWitness>>
    /** Of a user who has logged in. */
    let token: string
    const all = () => ({ 'auth-service': auth, 'task-service': task, worker, witness })

    before(async () => {
      auth = await serve('auth-service', {})
      task = await serve('task-service', { AUTH_SERVICE_URL: auth.url })
      witness = await serveWitness()
      worker = await serve('worker', {
        WITNESSES: `witness own ${WITNESS_VERIFIER.text} ${witness.url};quorum own`,
      })
    })

    it('are healthy within 3 s of their start, in the median of three', async () => {
      for (const name of ['auth-service', 'task-service', 'worker', 'witness'] as const) {
        const times: number[] = []
        while (times.length < 3) {
          const { container, ms } =
            name === 'witness'
              ? await serveWitness()
              : await serve(name, { AUTH_SERVICE_URL: auth.url })
          expect(await container.stop()).to.equal('code 0')
          times.push(ms)
        }
        const [, median] = times.toSorted((a, b) => a - b)
        console.log(`      ${name}: healthy after ${median} ms, of ${times.join(', ')}`)
        expect(median).to.be.below(HEALTHY_MS)
      }
    })

    it("pass the image's own health check, which fails on anything else", async () => {
      for (const [name, { container }] of Object.entries(all())) {
        const { Healthcheck } = await containers.inspect(imageOf(name))
        const [kind, ...command] = Healthcheck?.Test ?? []
        expect(kind).to.equal('CMD')
        expect(await container.exec(...command)).to.deep.equal({ code: 0, output: '' })
        const elsewhere = [...command.slice(0, -1), '/nothing']
        const refused = await container.exec(...elsewhere)
        expect(refused).to.deep.equal({ code: 1, output: '/nothing answers 404.' })
      }
    })

    it('run as uid 1000 without a capability, and cannot get one', async () => {
      for (const { container } of Object.values(all())) {
        const status = await readFile(`/proc/${await container.processId()}/status`, 'utf8')
        const value = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1]
        expect(value('Uid')?.split('\t')).to.deep.equal(Array(4).fill(String(NODE_ID)))
        expect(value('Gid')?.split('\t')).to.deep.equal(Array(4).fill(String(NODE_ID)))
        for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) {
          expect(value(set), set).to.equal('0'.repeat(16))
        }
        expect(value('NoNewPrivs')).to.equal('1')
      }
    })

    it('find no place to write to but the store of the witness, and nothing that installs anything', async () => {
      const script = `
        const { writeFileSync, rmSync, existsSync } = require('node:fs')
        for (const place of ['/app', '/tmp', '/home/node', '/', '/var/lib', '${WITNESS_DIR}'])
          try { writeFileSync(place + '/x', ''); rmSync(place + '/x'); console.log('wrote', place) }
          catch (error) { if (!['EROFS', 'ENOENT'].includes(error.code)) throw error }
        for (const name of ['npm', 'npx', 'corepack', 'yarn'])
          if (existsSync('/usr/local/bin/' + name)) console.log('found', name)`
      for (const [name, { container }] of Object.entries(all())) {
        const done = await container.exec('/usr/local/bin/node', '-e', script)
        const output = name === 'witness' ? `wrote ${WITNESS_DIR}` : ''
        expect(done, name).to.deep.equal({ code: 0, output })
      }
    })

    it('make thumbnails in the worker, as it starts them', async () => {
      const script = `
        const { fork } = require('node:child_process')
        const child = fork('/app/thumbnails.js', [], { env: {}, serialization: 'advanced' })
        child.once('message', ({ small, large }) => {
          console.log(small.width, large.width)
          child.kill()
        })
        child.send(Buffer.from('${blackPng(640, 480).toString('base64')}', 'base64'))`
      const done = await worker.container.exec('/usr/local/bin/node', '-e', script)
      expect(done).to.deep.equal({ code: 0, output: '320 640' })
    })

    it('serve a user: register, log in, create a task, read it', async () => {
      const call = async (url: string, init: RequestInit = {}, token = '') => {
        const headers = {
          'Content-Type': 'application/json',
          ...(token && { Authorization: `Bearer ${token}` }),
        }
        const answer = await fetch(url, { ...init, headers })
        // biome-ignore lint/suspicious/noExplicitAny: looked at by the expectations below
        return { status: answer.status, body: (await answer.json()) as any }
      }
      const post = (url: string, body: object, token?: string) =>
        call(url, { method: 'POST', body: JSON.stringify(body) }, token)
      const user = { username: 'ada', password: 'engines-of-analysis' }
      const registered = await post(`${auth.url}/auth/register`, {
        ...user,
        email: 'ada@example.com',
      })
      expect(registered.status).to.equal(201)
      token = (await post(`${auth.url}/auth/login`, user)).body.token
      expect((await post(`${task.url}/tasks`, { title: 'No token' })).status).to.equal(401)
      const created = await post(`${task.url}/tasks`, { title: 'Note G' }, token)
      expect(created.status).to.equal(201)
      const { id } = created.body.task
      const read = await call(`${task.url}/tasks/${id}`, {}, token)
      expect(read.body.task).to.include({ id, title: 'Note G', status: 'pending' })
    })

    it('have the worker behind them, which projects what was recorded and signs it', async () => {
      const figures = async () => {
        // biome-ignore lint/suspicious/noExplicitAny: looked at by the expectation below
        const health = (await (await fetch(`${worker.url}/worker/health`)).json()) as any
        const [{ name, leader, position, lag_positions }] = health.projections
        return { name, leader, lag_positions, any: position > 0 }
      }
      const caughtUp = { name: 'audit', leader: true, lag_positions: 0, any: true }
      await until(async () => isDeepStrictEqual(await figures(), caughtUp), 'the projection')
      const signed = async () => {
        const metrics = await (await fetch(`${worker.url}/worker/metrics`)).text()
        return /^tasktrail_logged_events_total [1-9]/m.test(metrics)
      }
      await until(signed, 'a checkpoint of what was recorded')
    })

    it('have the witness beside them, without whose signature nothing is published', async () => {
      const checkpoint = async () => {
        const headers = { Authorization: `Bearer ${token}` }
        const answer = await fetch(`${task.url}/log/checkpoint`, { headers })
        return answer.status === 200 ? answer.text() : ''
      }
      const sizeOf = (note: string) => parseCheckpoint(readNote(note)?.text ?? '')?.size ?? 0
      await until(async () => sizeOf(await checkpoint()) > 0, 'a checkpoint of what was recorded')
      const note = await checkpoint()
      expect(verifiedBy(note, [LOG_VERIFIER, WITNESS_VERIFIER])).to.have.lengthOf(2)
      // biome-ignore lint/suspicious/noExplicitAny: looked at by the expectation below
      const health = (await (await fetch(`${witness.url}${WITNESS_HEALTH_PATH}`)).json()) as any
      expect(health.logs[0].size).to.be.at.least(sizeOf(note))
    })

    it('hold in the worker what looks after the audit trail', async () => {
      const { exec } = worker.container
      const status = await exec('/usr/local/bin/node', '/app/projections.js', 'status')
      expect(status.code, status.output).to.equal(0)
      expect(status.output).to.match(/^audit +live/m)
      const verified = await exec('/usr/local/bin/node', '/app/audit-verify.js')
      expect(verified.code, verified.output).to.equal(0)
    })

    it('serve their documentation from disk', async () => {
      for (const base of [`${auth.url}/auth`, `${task.url}/tasks`]) {
        for (const file of ['swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png']) {
          const answer = await fetch(`${base}/docs/${file}`)
          expect(answer.status, file).to.equal(200)
          expect((await answer.arrayBuffer()).byteLength, file).to.be.greaterThan(500)
        }
      }
    })

    it('trust the database only with a certificate of an authority in the image', async () => {
      expect((await fetch(`${auth.url}/ready`)).status).to.equal(200)
      const doubting = await serve('auth-service', {}, {} as ReturnType<typeof trusted>)
      expect((await fetch(`${doubting.url}/ready`)).status).to.equal(503)
      expect(await doubting.container.stop()).to.equal('code 0')
    })

    it('end with exit code 0 on SIGTERM, and say so', async () => {
      for (const { container } of Object.values(all())) {
        expect(await container.stop()).to.equal('code 0')
        const messages = container.out.map((line) => JSON.parse(line).msg)
        expect(messages).to.include('listening')
        expect(messages.slice(-2)).to.deep.equal(['stopping', 'stopped'])
      }
    })

    it('end with exit code 1 and one sentence when their settings are not complete', async () => {
      const container = containers.run(imageOf('task-service'), { env: {} })
      expect(await container.ended).to.equal('code 1')
      expect(container.err.filter((line) => line !== '')).to.have.lengthOf(1)
      expect(container.err[0]).to.match(/^The environment is not complete: .*AUTH_SERVICE_URL/)
    })
  })
}
