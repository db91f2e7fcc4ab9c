import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import fc from 'fast-check'
import {
  authServiceConfig,
  databaseConfig,
  environmentOf,
  namesDatabase,
  taskServiceConfig,
  witnessConfig,
  workerConfig,
} from '../src/config.ts'
import { secretLogSigner, secretWitnessSigner } from '../src/infra/credentials/note-signers.ts'
import { redisConfig } from '../src/redis-config.ts'
import { ConfigError, type Env } from '../src/settings.ts'

const DATABASE = {
  DB_HOST: 'db.internal',
  DB_NAME: 'tasks',
  DB_USER: 'app',
  DB_PASSWORD: 'p@ss word',
}
const SHARED = { ...DATABASE, INTERNAL_API_KEY: 'k'.repeat(16) }
const AUTH = { ...SHARED, JWT_SECRET: 'j'.repeat(32), PASSWORD_PEPPER: 'p'.repeat(16) }
const TEXT_KEY = 't'.repeat(32)
const TASK = { ...SHARED, TEXT_KEY, AUTH_SERVICE_URL: 'http://auth.tasktrail.local:3000' }
const WORKER = { ...DATABASE, TEXT_KEY, LOG_KEY: 's'.repeat(32) }
const WITNESS = { WITNESS_KEY: 'w'.repeat(32), WITNESS_DIR: '/var/witness' }
const LOG = secretLogSigner('log.test', 'l'.repeat(32)).key.text
const WITNESS_OF_LOG = secretWitnessSigner('witness.test', 'w'.repeat(32), Date.now).key.text

/** What the refusal says; '' when there is none. */
function refusal(parse: (env: Env) => unknown, env: Env): string {
  try {
    parse(env)
    return ''
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
}

describe('The configuration', () => {
  it('of auth-service has a default for all but secrets and database', () => {
    expect(authServiceConfig(AUTH)).to.deep.include({
      PORT: 3000,
      HOST: '0.0.0.0',
      LOG_LEVEL: 'info',
      JWT_EXPIRATION: 3600,
      BCRYPT_COST: 12,
      RATE_LIMIT_PER_SECOND: 100,
      LOGIN_LIMIT_PER_MINUTE: 30,
      MAIL_LIMIT_PER_HOUR: 5,
      PASSWORD_MIN_LENGTH: 8,
      PASSWORD_HISTORY: 0,
      PASSWORD_HISTORY_ROLES: new Set(['auditor', 'admin']),
      DRAIN_SECONDS: 5,
      database: {
        connection: {
          host: 'db.internal',
          port: 5432,
          database: 'tasks',
          user: 'app',
          password: 'p@ss word',
        },
        poolMax: 10,
      },
    })
    expect(authServiceConfig(AUTH).JWT_SECRET_PREVIOUS).to.equal(undefined)
    expect(authServiceConfig(AUTH).INTERNAL_API_KEY_PREVIOUS).to.equal(undefined)
  })

  it('of task-service needs no secret of auth-service', () => {
    const config = taskServiceConfig(TASK)
    expect(config.AUTH_SERVICE_URL).to.equal('http://auth.tasktrail.local:3000')
    expect(config).not.to.have.any.keys('JWT_SECRET', 'PASSWORD_PEPPER')
    const all = { ...TASK, INTERNAL_API_KEY_PREVIOUS: 'k'.repeat(16) }
    expect(taskServiceConfig(all)).not.to.have.any.keys('INTERNAL_API_KEY_PREVIOUS')
  })

  it('of the worker has a default for all but secrets and database', () => {
    const config = workerConfig(WORKER)
    expect(config).to.deep.include({
      PORT: 3000,
      HOST: '0.0.0.0',
      LOG_LEVEL: 'info',
      DRAIN_SECONDS: 5,
      LOG_ORIGIN: 'tasktrail.local/log',
      LOG_INTERVAL_MS: 250,
      ACCESS_RETENTION_DAYS: 365,
      SECURITY_EVENT_RETENTION_DAYS: 365,
      database: authServiceConfig(AUTH).database,
    })
    expect(config.TEXT_KEY_PREVIOUS).to.equal(undefined)
    expect(config.LOG_KEY_PREVIOUS).to.equal(undefined)
    expect(config.WITNESSES).to.equal(undefined)
  })

  it('of the witness has a default for all but its key and its store, and needs no database', () => {
    expect(witnessConfig(WITNESS)).to.deep.equal({
      ...WITNESS,
      PORT: 3000,
      HOST: '0.0.0.0',
      LOG_LEVEL: 'info',
      DRAIN_SECONDS: 5,
      WITNESS_NAME: 'tasktrail.local/witness',
      WITNESS_LOGS: [],
    })
    expect(refusal(witnessConfig, {})).to.equal(
      'The environment is not complete: WITNESS_KEY is missing; WITNESS_DIR is missing.',
    )
  })

  it('names no Redis, or one, and waits for its three answers at most 20 ms', () => {
    expect(redisConfig(authServiceConfig(AUTH))).to.equal(null)
    expect(redisConfig(authServiceConfig({ ...AUTH, REDIS_URL: '' }))).to.equal(null)
    const REDIS_URL = 'rediss://user@redis.internal:6380/2'
    const config = redisConfig(taskServiceConfig({ ...TASK, REDIS_URL, REDIS_PASSWORD: 'p' }))
    expect(config).to.deep.equal({ url: REDIS_URL, password: 'p', mode: 'single', timeoutMs: 6 })
    expect(3 * (config?.timeoutMs ?? Number.NaN)).to.be.below(20)
    const said = (env: Env) => refusal(authServiceConfig, { ...AUTH, ...env })
    const encoded = ['redis://u:50%@r', 'redis://u:%ff@r', 'redis://%:p@r']
    for (const url of [
      'redis.internal:6379',
      'http://redis.internal',
      'redis://r/tasks',
      ...encoded,
    ]) {
      expect(said({ REDIS_URL: url })).to.contain('REDIS_URL must ')
    }
    expect(said({ REDIS_MODE: 'sentinel' })).to.contain('REDIS_MODE must be single or cluster')
  })

  it('takes origins as browsers write them, and no origin unless it is named', () => {
    const origins = (CORS_ORIGINS: string) =>
      authServiceConfig({ ...AUTH, CORS_ORIGINS }).CORS_ORIGINS
    expect(authServiceConfig(AUTH).CORS_ORIGINS).to.deep.equal([])
    expect(origins('https://app.example.com')).to.deep.equal(['https://app.example.com'])
    expect(
      taskServiceConfig({ ...TASK, CORS_ORIGINS: 'http://localhost:5173, https://[::1]:8443' }),
    )
      .to.have.property('CORS_ORIGINS')
      .that.deep.equals(['http://localhost:5173', 'https://[::1]:8443'])
    for (const wrong of [
      ...['*', 'null', 'app.example.com', 'https://app.example.com/', 'https://*.example.com'],
      ...['HTTPS://app.example.com', 'https://app.example.com:443', 'ftp://app.example.com'],
      ...['https://a.example https://', 'https://user@app.example.com', 'https://a.example/v1'],
    ]) {
      expect(() => origins(wrong), wrong).to.throw(
        ConfigError,
        'CORS_ORIGINS must be origins such as',
      )
    }
  })

  it('takes the roles that have a history of passwords by their names', () => {
    const said = (PASSWORD_HISTORY_ROLES: string) =>
      refusal(authServiceConfig, { ...AUTH, PASSWORD_HISTORY_ROLES })
    const { PASSWORD_HISTORY_ROLES } = authServiceConfig({
      ...AUTH,
      PASSWORD_HISTORY_ROLES: 'admin, user',
    })
    expect([...PASSWORD_HISTORY_ROLES]).to.have.members(['admin', 'user'])
    for (const wrong of ['root', 'admin,Auditor', 'admin;user']) {
      expect(said(wrong), wrong).to.include('PASSWORD_HISTORY_ROLES must be roles, separated by')
    }
  })

  it('takes as a list of breached passwords a directory that has range files', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'tasktrail-ranges-'))
    const said = (BREACHED_PASSWORDS: string) =>
      refusal(authServiceConfig, { ...AUTH, BREACHED_PASSWORDS })
    const rule = 'BREACHED_PASSWORDS must be a directory with range files such as 0A1B2.txt'
    expect(said(directory)).to.include(rule)
    expect(said(join(directory, 'nowhere'))).to.include(rule)
    await writeFile(join(directory, '0A1B2'), '')
    expect(said(directory)).to.equal('')
    expect(said(join(directory, '0A1B2'))).to.include(rule)
    await rm(directory, { recursive: true })
  })

  it('of task-service takes what it does not say of a replica from the database', () => {
    const own = { READ_DB_HOST: 'replica.internal', READ_DB_POOL_MAX: '3' }
    const { database, replica } = taskServiceConfig({ ...TASK, DB_PORT: '6000', ...own })
    expect(replica).to.deep.equal({
      connection: { ...database.connection, host: 'replica.internal' },
      poolMax: 3,
    })
    expect(taskServiceConfig(TASK).replica).to.equal(null)
    expect(taskServiceConfig({ ...TASK, READ_DB_HOST: '' }).replica).to.equal(null)
    expect(refusal(taskServiceConfig, { ...TASK, ...own, READ_DB_SSLMODE: 'x' })).to.contain(
      'READ_DB_SSLMODE must be disable, require or verify-full',
    )
  })

  it('of task-service takes a replica by its URL, beside a database by its URL', () => {
    const { DB_HOST, DB_NAME, DB_USER, DB_PASSWORD, ...rest } = TASK
    const url = { ...rest, DATABASE_URL: 'postgres://a:b@c/d' }
    const READ_DATABASE_URL = 'postgres://a:b@replica/d'
    expect(taskServiceConfig({ ...url, READ_DATABASE_URL }).replica).to.deep.equal({
      connection: { connectionString: READ_DATABASE_URL },
      poolMax: 10,
    })
    expect(refusal(taskServiceConfig, { ...url, READ_DATABASE_URL: 'http://x' })).to.contain(
      'READ_DATABASE_URL must be a postgres:// URL',
    )
    expect(refusal(taskServiceConfig, { ...url, READ_DB_HOST: 'replica' })).to.contain(
      'READ_DB_NAME is missing; READ_DB_USER is missing; READ_DB_PASSWORD is missing',
    )
  })

  it('keeps no secret that nobody asked for', () => {
    const all = { ...AUTH, ...TASK, ...WORKER }
    expect(taskServiceConfig(all)).not.to.have.any.keys('JWT_SECRET', 'LOG_KEY')
    expect(workerConfig(all)).not.to.have.any.keys('JWT_SECRET', 'INTERNAL_API_KEY')
  })

  it('counts an empty variable as one that is not set', () => {
    const empty = { PORT: '', JWT_SECRET_PREVIOUS: '', DATABASE_URL: '', DB_PORT: '' }
    expect(authServiceConfig({ ...AUTH, ...empty })).to.deep.equal(authServiceConfig(AUTH))
    expect(refusal(authServiceConfig, { ...AUTH, JWT_SECRET: '' })).to.equal(
      'The environment is not complete: JWT_SECRET is missing.',
    )
  })

  it('is a function of what it is given, and changes nothing of it', () => {
    const env = Object.freeze({ ...AUTH })
    expect(authServiceConfig(env)).to.deep.equal(authServiceConfig({ ...AUTH }))
    expect(env).to.deep.equal(AUTH)
  })

  it('names all that is missing and all that is malformed, each under its own heading', () => {
    const env = { PORT: 'x', BCRYPT_COST: '9', JWT_SECRET: 'brief', DB_HOST: 'h', DB_NAME: 'n' }
    expect(refusal(authServiceConfig, env)).to.equal(
      'The environment is not complete: INTERNAL_API_KEY is missing; PASSWORD_PEPPER is missing; ' +
        'DB_USER is missing; DB_PASSWORD is missing. ' +
        'The environment is malformed: PORT must be a whole number from 1 to 65535; ' +
        'JWT_SECRET must be at least 32 characters long; ' +
        'BCRYPT_COST must be a whole number from 10 to 20.',
    )
  })

  it('shows no value, whatever is wrong with it', () => {
    const names = [
      'JWT_SECRET',
      'JWT_SECRET_PREVIOUS',
      'PASSWORD_PEPPER',
      'INTERNAL_API_KEY',
      'PORT',
    ]
    const value = fc.string({ minLength: 4, maxLength: 15, unit: fc.constantFrom(...'#$%&~^') })
    fc.assert(
      fc.property(fc.constantFrom(...names), value, (name, wrong) => {
        const message = refusal(authServiceConfig, { ...AUTH, [name]: wrong })
        expect(message).to.include(name)
        expect(message).not.to.include(wrong)
      }),
    )
  })

  const RANGES: readonly [name: string, min: number, max: number][] = [
    ['PORT', 1, 65_535],
    ['DB_PORT', 1, 65_535],
    ['DB_POOL_MAX', 1, 100],
    ['RATE_LIMIT_PER_SECOND', 0, 1_000_000],
    ['LOGIN_LIMIT_PER_MINUTE', 0, 1_000_000],
    ['REDIS_TIMEOUT_MS', 1, 1_000],
    ['MAX_EVENT_LOOP_DELAY_MS', 0, 60_000],
    ['DRAIN_SECONDS', 0, 60],
    ['JWT_EXPIRATION', 1, 86_400],
    ['BCRYPT_COST', 10, 20],
    ['PASSWORD_MIN_LENGTH', 8, 64],
    ['PASSWORD_HISTORY', 0, 24],
  ]
  for (const [name, min, max] of RANGES) {
    it(`takes ${name} from ${min} to ${max}, as a whole number in digits`, () => {
      const rule = `${name} must be a whole number from ${min} to ${max}`
      const said = (value: unknown) =>
        refusal(authServiceConfig, { ...AUTH, [name]: String(value) })
      for (const value of [min, max, `0${min}`]) expect(said(value)).to.equal('')
      const wrong = [min - 1, max + 1, `${min}.0`, ` ${min}`, `${min} `, `+${min}`, '1e1', '0x10']
      for (const value of [...wrong, 'NaN', 'Infinity', '٣', '99999999999', 'true']) {
        expect(said(value), String(value)).to.equal(`The environment is malformed: ${rule}.`)
      }
    })
  }

  for (const [name, length] of [
    ['JWT_SECRET', 32],
    ['JWT_SECRET_PREVIOUS', 32],
    ['PASSWORD_PEPPER', 16],
    ['INTERNAL_API_KEY', 16],
    ['INTERNAL_API_KEY_PREVIOUS', 16],
  ] as const) {
    it(`takes ${name} of ${length} characters and more`, () => {
      const said = (value: string) => refusal(authServiceConfig, { ...AUTH, [name]: value })
      expect(said('s'.repeat(length))).to.equal('')
      expect(said('s'.repeat(500))).to.equal('')
      expect(said('s'.repeat(length - 1))).to.include(
        `${name} must be at least ${length} characters long`,
      )
    })
  }

  for (const name of ['TEXT_KEY', 'TEXT_KEY_PREVIOUS', 'LOG_KEY', 'LOG_KEY_PREVIOUS'] as const) {
    it(`takes ${name} of 32 characters and more`, () => {
      const said = (value: string) => refusal(workerConfig, { ...WORKER, [name]: value })
      expect(said('s'.repeat(32))).to.equal('')
      expect(said('s'.repeat(31))).to.include(`${name} must be at least 32 characters long`)
    })
  }

  for (const name of ['WITNESS_KEY', 'WITNESS_KEY_PREVIOUS'] as const) {
    it(`takes ${name} of 32 characters and more`, () => {
      const said = (value: string) => refusal(witnessConfig, { ...WITNESS, [name]: value })
      expect(said('s'.repeat(32))).to.equal('')
      expect(said('s'.repeat(31))).to.include(`${name} must be at least 32 characters long`)
    })
  }

  it('takes LOG_INTERVAL_MS from 50 to 60000', () => {
    const said = (LOG_INTERVAL_MS: string) => refusal(workerConfig, { ...WORKER, LOG_INTERVAL_MS })
    for (const value of ['50', '60000']) expect(said(value)).to.equal('')
    for (const value of ['49', '60001', '1.5', '-1']) {
      expect(said(value)).to.include('LOG_INTERVAL_MS must be a whole number from 50 to 60000')
    }
  })

  it('takes as the name of a log or a witness what a key can be called', () => {
    for (const [parse, env, name] of [
      [workerConfig, WORKER, 'LOG_ORIGIN'],
      [witnessConfig, WITNESS, 'WITNESS_NAME'],
    ] as const) {
      expect(refusal(parse, { ...env, [name]: 'tasktrail.example/log-1' })).to.equal('')
      for (const wrong of ['a b', 'a+b', 'a\nb', ' a', 'a\u00a0b']) {
        expect(refusal(parse, { ...env, [name]: wrong }), wrong).to.include(
          `${name} must be a name without spaces and +`,
        )
      }
    }
  })

  it('takes for WITNESS_LOGS the keys of logs', () => {
    const said = (WITNESS_LOGS: string) => refusal(witnessConfig, { ...WITNESS, WITNESS_LOGS })
    const keys = (WITNESS_LOGS: string) =>
      witnessConfig({ ...WITNESS, WITNESS_LOGS }).WITNESS_LOGS.map(({ text }) => text)
    const other = secretLogSigner('other.test', 'o'.repeat(32)).key.text
    expect(keys(LOG)).to.deep.equal([LOG])
    for (const both of [`${LOG},${other}`, `${LOG}, ${other},`, ` ${LOG}\n${other}\n`]) {
      expect(keys(both)).to.deep.equal([LOG, other])
    }
    for (const wrong of ['log.test', WITNESS_OF_LOG, `${LOG};${other}`, LOG.slice(0, -1)]) {
      expect(said(wrong), wrong).to.include('WITNESS_LOGS must be verifier keys of logs')
    }
  })

  it('takes for WITNESSES a policy whose witnesses have a URL', () => {
    const said = (WITNESSES: string) => refusal(workerConfig, { ...WORKER, WITNESSES })
    const line = `witness w ${WITNESS_OF_LOG}`
    const right = `${line} http://witness:3000; quorum w`
    expect(workerConfig({ ...WORKER, WITNESSES: right }).WITNESSES).to.deep.include({ quorum: 'w' })
    expect(said(right.replace(';', '\n'))).to.equal('')
    for (const url of ['', 'witness:3000', 'ftp://witness']) {
      expect(said(`${line} ${url}; quorum w`)).to.include(
        'WITNESSES must have an http(s) URL for the witness w.',
      )
    }
    for (const wrong of [`${line} http://witness`, 'quorum w', `${right}; quorum w`, 'x']) {
      expect(said(wrong), wrong).to.match(/ WITNESSES must be a policy of witnesses .* Policy/)
    }
  })

  it('takes LOG_INTERVAL_MS from 50 to 60000', () => {
    const said = (LOG_INTERVAL_MS: string) => refusal(workerConfig, { ...WORKER, LOG_INTERVAL_MS })
    for (const value of ['50', '60000']) expect(said(value)).to.equal('')
    for (const value of ['49', '60001', '1.5', '-1']) {
      expect(said(value)).to.include('LOG_INTERVAL_MS must be a whole number from 50 to 60000')
    }
  })

  it('takes no internal key that a header cannot carry', () => {
    for (const character of [' ', '\n', '\r', '\t', '\0', 'é', '🔑', '\x7f']) {
      for (const INTERNAL_API_KEY of [
        `${'k'.repeat(20)}${character}`,
        `kkkkkkkk${character}kkkkkkkk`,
      ]) {
        for (const [parse, env] of [
          [authServiceConfig, AUTH],
          [taskServiceConfig, TASK],
        ] as const) {
          expect(refusal(parse, { ...env, INTERNAL_API_KEY })).to.include(
            'INTERNAL_API_KEY must be printable ASCII without spaces',
          )
        }
      }
    }
    const generated = { ...AUTH, INTERNAL_API_KEY: 'aB3-_~!"#$%&()*+,./:;<=>?@[]^`{|}' }
    expect(refusal(authServiceConfig, generated)).to.equal('')
  })

  it('takes an http or https URL for auth-service', () => {
    const said = (AUTH_SERVICE_URL: string) =>
      refusal(taskServiceConfig, { ...TASK, AUTH_SERVICE_URL })
    for (const url of ['http://auth:3000', 'https://auth.example/base/'])
      expect(said(url)).to.equal('')
    for (const url of ['auth:3000', '//auth', 'ftp://auth', 'http://', 'file:///etc/passwd', 'x']) {
      expect(said(url), url).to.include('AUTH_SERVICE_URL must be an http(s) URL')
    }
  })

  it('takes the levels that pino knows, and lists them when it is given another', () => {
    for (const LOG_LEVEL of ['fatal', 'error', 'warn', 'info', 'debug', 'silent']) {
      expect(authServiceConfig({ ...AUTH, LOG_LEVEL }).LOG_LEVEL).to.equal(LOG_LEVEL)
    }
    const loud = refusal(authServiceConfig, { ...AUTH, LOG_LEVEL: 'INFO' })
    expect(loud).to.equal(
      'The environment is malformed: LOG_LEVEL must be one of: fatal, error, warn, info, debug, silent.',
    )
  })
})

describe("The database's place", () => {
  const url = 'postgres://app:secret@db.internal:5433/tasks'

  it('is the URL when there is one, whatever the parts say', () => {
    const place = { connection: { connectionString: url }, poolMax: 7 }
    const env = { DATABASE_URL: url, DB_HOST: 'elsewhere', DB_POOL_MAX: '7' }
    expect(databaseConfig(env)).to.deep.equal(place)
    expect(authServiceConfig({ ...AUTH, ...env }).database).to.deep.equal(place)
    expect(taskServiceConfig({ ...TASK, ...env }).database).to.deep.equal(place)
    expect(workerConfig({ ...WORKER, ...env }).database).to.deep.equal(place)
  })

  it('is a postgres URL or none', () => {
    for (const DATABASE_URL of ['mysql://db', 'db.internal', 'postgres', 'http://db']) {
      const said = refusal(databaseConfig, { DATABASE_URL })
      expect(said).to.equal('The environment is malformed: DATABASE_URL must be a postgres:// URL.')
    }
    expect(
      refusal(databaseConfig, { DATABASE_URL: url.replace('postgres', 'postgresql') }),
    ).to.equal('')
  })

  it('is named by no URL whose options would undo the role that a service takes', () => {
    const DATABASE_URL = `${url}?sslmode=disable&options=-c%20statement_timeout%3D0`
    const said = refusal(databaseConfig, { DATABASE_URL })
    expect(said).to.equal('The environment is malformed: DATABASE_URL must not carry options.')
    expect(refusal(databaseConfig, { DATABASE_URL: `${url}?sslmode=disable` })).to.equal('')
  })

  it('is reached in the clear, encrypted, or encrypted and verified', () => {
    const ssl = (DB_SSLMODE: string) => databaseConfig({ ...DATABASE, DB_SSLMODE }).connection.ssl
    expect(ssl('disable')).to.equal(undefined)
    expect(ssl('require')).to.deep.equal({ rejectUnauthorized: false })
    expect(ssl('verify-full')).to.deep.equal({ rejectUnauthorized: true })
    const said = refusal(databaseConfig, { ...DATABASE, DB_SSLMODE: 'prefer' })
    expect(said).to.include('DB_SSLMODE must be disable, require or verify-full')
  })

  it('is named by any of its variables, and by none that is empty', () => {
    expect(namesDatabase({})).to.equal(false)
    expect(namesDatabase({ DATABASE_URL: '', DB_HOST: '', DB_POOL_MAX: '5' })).to.equal(false)
    for (const name of ['DATABASE_URL', 'DB_HOST', 'DB_NAME', 'DB_USER', 'DB_PASSWORD']) {
      expect(namesDatabase({ [name]: 'x' }), name).to.equal(true)
    }
  })
})

describe('The place of photos', () => {
  const BUCKET = { PHOTOS_BUCKET: 'tasktrail-photos', AWS_REGION: 'eu-central-1' }
  const DIRECTORY = {
    PHOTOS_DIR: '/var/photos',
    PHOTOS_URL: 'http://127.0.0.1:8080/objects',
    PHOTOS_KEY: 'p'.repeat(32),
  }
  const both = [
    [taskServiceConfig, TASK],
    [workerConfig, WORKER],
  ] as const

  it('is nowhere unless it is named', () => {
    for (const [config, env] of both) expect(config(env).photos).to.equal(null)
    expect(taskServiceConfig({ ...TASK, READ_DB_HOST: 'replica' }).photos).to.equal(null)
  })

  it('is a bucket, at AWS or wherever S3 is spoken', () => {
    const s3 = { bucket: 'tasktrail-photos', region: 'eu-central-1' }
    const aws = { s3: { ...s3, endpoint: undefined, forcePathStyle: false } }
    for (const [config, env] of both) {
      expect(config({ ...env, ...BUCKET }).photos).to.deep.equal(aws)
    }
    const elsewhere = { AWS_ENDPOINT_URL_S3: 'http://ceph:7480', S3_FORCE_PATH_STYLE: 'true' }
    expect(taskServiceConfig({ ...TASK, ...BUCKET, ...elsewhere }).photos).to.deep.equal({
      s3: { ...s3, endpoint: 'http://ceph:7480', forcePathStyle: true },
    })
    const { photos, replica } = taskServiceConfig({ ...TASK, ...BUCKET, READ_DB_HOST: 'replica' })
    expect(photos).to.deep.equal(aws)
    expect(replica?.connection).to.include({ host: 'replica' })
  })

  it('is a directory, with the key and the URL that it needs', () => {
    const directory = {
      directory: '/var/photos',
      url: 'http://127.0.0.1:8080/objects',
      secret: 'p'.repeat(32),
    }
    for (const [config, env] of both) {
      expect(config({ ...env, ...DIRECTORY }).photos).to.deep.equal({ directory })
    }
    expect(taskServiceConfig({ ...TASK, ...DIRECTORY, ...BUCKET }).photos).to.have.property('s3')
  })

  it('is refused together with all else that is wrong', () => {
    const { AUTH_SERVICE_URL: _, ...incomplete } = TASK
    const said = refusal(taskServiceConfig, { ...incomplete, PHOTOS_BUCKET: 'Not a bucket' })
    expect(said).to.include('AUTH_SERVICE_URL is missing').and.include('AWS_REGION is missing')
    expect(said).to.include('PHOTOS_BUCKET must be the name of a bucket')
    const bare = refusal(workerConfig, { ...WORKER, PHOTOS_DIR: '/var/photos' })
    expect(bare).to.include('PHOTOS_URL is missing; PHOTOS_KEY is missing')
    const odd = { AWS_ENDPOINT_URL_S3: 'ceph:7480', S3_FORCE_PATH_STYLE: 'yes' }
    const malformed = refusal(workerConfig, { ...WORKER, ...BUCKET, ...odd })
    expect(malformed).to.include('AWS_ENDPOINT_URL_S3 must be an http(s) URL')
    expect(malformed).to.include('S3_FORCE_PATH_STYLE must be true or false')
  })

  it("gives AWS's credentials to those who store photos, and only if they do so there", () => {
    const env = { ...BUCKET, ...DIRECTORY, AWS_SECRET_ACCESS_KEY: 's', AWS_PROFILE: 'p' }
    const aws = { AWS_SECRET_ACCESS_KEY: 's', AWS_PROFILE: 'p' }
    for (const service of ['task-service', 'worker'] as const) {
      expect(environmentOf(service, env)).to.deep.include({ ...BUCKET, ...DIRECTORY, ...aws })
      const without = environmentOf(service, { ...aws, ...DIRECTORY })
      expect(without).to.deep.equal(DIRECTORY)
    }
    for (const service of ['auth-service', 'witness'] as const) {
      expect(environmentOf(service, env)).to.deep.equal({})
    }
  })
})

describe('The place of mails', () => {
  const SMTP = {
    SMTP_URL: 'smtp://user:p%40ss@mail.example.com:587',
    MAIL_FROM: 'Tasktrail <no-reply@example.com>',
    PUBLIC_URL: 'https://api.example.com/',
  }
  const mailOf = (env: Env) => workerConfig({ ...WORKER, ...env }).mail

  it('is nowhere unless it is named', () => {
    expect(mailOf({})).to.equal(null)
  })

  it('is a server that speaks SMTP', () => {
    const { SMTP_URL: url, MAIL_FROM: from } = SMTP
    expect(mailOf(SMTP)).to.deep.equal({
      publicUrl: 'https://api.example.com',
      smtp: { url, from },
    })
    for (const SMTP_URL of ['smtps://mail.example.com', 'smtp://127.0.0.1:25?tls=none']) {
      expect(mailOf({ ...SMTP, SMTP_URL })).to.have.property('smtp')
    }
  })

  it('is SES, which gets the credentials of AWS', () => {
    const { SMTP_URL: _, ...others } = SMTP
    const env = { ...others, SES_REGION: 'eu-central-1' }
    expect(mailOf(env)).to.deep.equal({
      publicUrl: 'https://api.example.com',
      ses: { region: 'eu-central-1', from: SMTP.MAIL_FROM },
    })
    const aws = { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: '/v2' }
    expect(environmentOf('worker', { ...env, ...aws })).to.include(aws)
    expect(environmentOf('worker', { ...SMTP, ...aws })).to.not.have.keys(Object.keys(aws))
  })

  it('is a directory, for one machine', () => {
    const { PUBLIC_URL } = SMTP
    const from = 'Tasktrail <tasktrail@localhost>'
    expect(mailOf({ MAIL_DIR: '/var/mail', PUBLIC_URL })).to.deep.equal({
      publicUrl: 'https://api.example.com',
      directory: { directory: '/var/mail', from },
    })
    expect(mailOf({ MAIL_DIR: '/var/mail', ...SMTP })).to.have.property('smtp')
  })

  it('needs to know who sends, and where links lead', () => {
    const { SMTP_URL } = SMTP
    const bare = refusal(workerConfig, { ...WORKER, SMTP_URL })
    expect(bare).to.include('MAIL_FROM is missing; PUBLIC_URL is missing')
  })

  for (const [name, value] of [
    ['SMTP_URL', 'mail.example.com:587'],
    ['SMTP_URL', 'http://mail.example.com'],
    ['SMTP_URL', 'smtps://mail.example.com?tls=none'],
    ['SMTP_URL', 'smtp://mail.example.com?tls.rejectUnauthorized=false'],
    ['SES_REGION', 'Frankfurt'],
    ['MAIL_FROM', 'Tasktrail'],
    ['MAIL_FROM', 'a@example.com, b@example.com'],
    ['MAIL_FROM', 'Tasktrail <a@example.com>\r\nBcc: b@example.com'],
    ['PUBLIC_URL', 'api.example.com'],
  ] as const) {
    it(`is refused with ${name} ${JSON.stringify(value)}`, () => {
      const { SMTP_URL: _, ...others } = SMTP
      const place = name === 'SES_REGION' ? others : SMTP
      expect(refusal(workerConfig, { ...WORKER, ...place, [name]: value })).to.match(
        new RegExp(`^The environment is malformed: ${name} must be`),
      )
    })
  }

  it('is known to the worker alone', () => {
    expect(environmentOf('worker', SMTP)).to.deep.equal(SMTP)
    const { PUBLIC_URL } = SMTP
    expect(environmentOf('auth-service', SMTP)).to.deep.equal({ PUBLIC_URL })
    for (const service of ['task-service', 'witness'] as const) {
      expect(environmentOf(service, SMTP)).to.deep.equal({})
    }
  })
})
