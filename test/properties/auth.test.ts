import { randomBytes, randomUUID } from 'node:crypto'
import { expect } from 'chai'
import fc from 'fast-check'
import jwt from 'jsonwebtoken'
import pg from 'pg'
import type { Credentials } from '../../src/app/ports/accounts.ts'
import type { Caller } from '../../src/app/ports/authorization.ts'
import { AUDIT_ENDPOINTS } from '../../src/http/audit.ts'
import { AUTH_ENDPOINTS } from '../../src/http/auth.ts'
import type { Endpoint } from '../../src/http/endpoint.ts'
import { RECOVERY_ENDPOINTS } from '../../src/http/recovery.ts'
import { TASK_HISTORY_ENDPOINTS } from '../../src/http/task-history.ts'
import { TASK_ENDPOINTS } from '../../src/http/tasks.ts'
import { bcryptPasswordHasher } from '../../src/infra/credentials/password-hasher.ts'
import { jwtTokens } from '../../src/infra/credentials/tokens.ts'
import { postgresSessions } from '../../src/infra/postgres/accounts/sessions.ts'
import { postgresUsers } from '../../src/infra/postgres/accounts/users.ts'
import { type Database, openDatabase } from '../../src/infra/postgres/connection/database.ts'
import type { Env } from '../../src/settings.ts'
import { silent } from '../support/log.ts'
import { until } from '../support/processes.ts'
import { type Answer, type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>

const title = (number: number, text: string) =>
  `Feature: ecs-task-management-api, Property ${number}: ${text}`

const characters = (alphabet: string, minLength: number, maxLength: number) =>
  fc.string({ unit: fc.constantFrom(...alphabet), minLength, maxLength })
const LETTERS = 'abcdefghijklmnopqrstuvwxyz'
const DIGITS = '0123456789'

/** Any that the contract allows; those of different runs differ. */
const usernames = characters(`${LETTERS}${LETTERS.toUpperCase()}${DIGITS}_.-`, 0, 37).map(
  (name) => name + randomUUID().slice(-13),
)
const emails = fc
  .tuple(characters(LETTERS + DIGITS, 1, 20), characters(LETTERS, 1, 20))
  .map(([local, host]) => `${local}+${randomUUID()}@${host}.example`)
/** Each ends in a way of its own: `structor` alone may well stand somewhere in a table or a log. */
const passwords = fc
  .string({ unit: 'grapheme', maxLength: 80 })
  .filter(
    (text) =>
      text.isWellFormed() && !/\p{Cc}|[\u2028\u2029]/u.test(text) && [...text].length <= 240,
  )
  .map((text) => text + randomUUID().slice(-13))

describe('The auth service', function () {
  // Hashes are slow by intent.
  this.timeout(180_000)

  let system: System
  let sql: pg.Client
  let db: Database

  const begin = async (overrides: Env = {}) => {
    system = await startSystem(overrides)
    sql = new pg.Client(system.database.url)
    await sql.connect()
    db = openDatabase({ ...system.database.config, role: 'tasktrail_auth', log: silent })
  }
  const end = async () => {
    await db.close()
    await sql.end()
    await system.stop()
  }
  before(() => begin())
  after(end)

  const call = async (status: number, ...request: Parameters<System['call']>): Promise<Answer> => {
    const answer = await system.call(...request)
    expect(answer.status, JSON.stringify(answer.body)).to.equal(status)
    return answer
  }
  const register = async (body: { username: string; email: string; password: string }) =>
    (await call(201, 'POST', '/auth/register', { body })).body.user
  const login = async (username: string, password: string) =>
    (await call(200, 'POST', '/auth/login', { body: { username, password } })).body

  const credentialsOf = async (id: number) => (await postgresUsers(db).find(id)) as Credentials
  const secret = () => system.env.JWT_SECRET ?? ''
  const sign = ({ user }: Credentials, key: string, facts: Partial<Caller> = {}): string => {
    const iat = Math.floor(Date.now() / 1000)
    const { id: user_id, username, email, role } = user
    const { session_id: sid = randomUUID(), exp = iat + 3600 } = facts
    const proof = { auth_time: iat, amr: ['pwd'] } as const
    const claims = { user_id, username, email, role, sid, iat, exp, ...proof }
    return jwtTokens(key, undefined).sign(claims)
  }
  const requestContext = { request_id: 'property', ip: null, user_agent: null, now: new Date() }
  /** A session that costs no hash. */
  const session = async (credentials: Credentials) => {
    const session_id = randomUUID()
    const expires_at = new Date(Date.now() + 3_600_000)
    await postgresSessions(db, silent).begin(
      { id: session_id, expires_at, amr: ['pwd'], refresh_hash: randomBytes(32) },
      credentials,
      requestContext,
    )
    return { session_id, token: sign(credentials, secret(), { session_id }) }
  }

  it(title(1, 'JWT Token Generation Completeness'), async () => {
    const account = fc.record({ username: usernames, email: emails, password: passwords })
    await fc.assert(
      fc.asyncProperty(account, async ({ username, email, password }) => {
        const user = await register({ username, email, password })
        const before = Math.floor(Date.now() / 1000)
        const { token, expires_in, user: identity } = await login(username, password)
        const claims = jwt.verify(token, system.env.JWT_SECRET ?? '') as jwt.JwtPayload
        expect(identity).to.deep.equal({ id: user.id, username, email, role: 'user' })
        expect(claims).to.include({ user_id: user.id, username, email, role: 'user' })
        expect(claims).to.include({ iss: 'tasktrail-auth', aud: 'tasktrail' })
        expect(claims.sid).to.match(/^[0-9a-f-]{36}$/)
        expect(claims.iat).to.be.within(before, before + 5)
        expect(Number(claims.exp) - Number(claims.iat)).to.equal(3600)
        expect(expires_in).to.equal(3600)
      }),
      { numRuns: 100 },
    )
  })

  describe('and the task service', () => {
    let ann: User
    let credentials: Credentials
    let task: number

    before(async () => {
      ann = await system.newUser()
      credentials = await credentialsOf(ann.id)
    })
    beforeEach(async () => {
      const { token } = await session(credentials)
      const body = { title: 'To be left alone' }
      task = (await call(201, 'POST', '/tasks', { token, body })).body.task.id
    })

    const endpoints = [
      ...AUTH_ENDPOINTS,
      ...RECOVERY_ENDPOINTS,
      ...TASK_ENDPOINTS,
      ...TASK_HISTORY_ENDPOINTS,
      ...AUDIT_ENDPOINTS,
    ].filter(({ access }) => access === 'token')
    const NEXT_PASSWORD = 'a good long password'
    const body = (path: string, method: string) => {
      if (method === 'patch' && path === '/auth/me') {
        return { email: 'ann@example.com', password: ann.password }
      }
      if (path === '/auth/password') {
        return { current_password: ann.password, new_password: NEXT_PASSWORD }
      }
      if (path === '/auth/me') return { password: NEXT_PASSWORD }
      if (path === '/auth/step-up') return { password: ann.password }
      return /^\/tasks(\/:id)?$/.test(path) ? { title: 'Changed by nobody' } : {}
    }
    /** A stream goes on for as long as its client wants. */
    const goesOn = ({ answers }: Endpoint) => answers[200]?.type === 'text/event-stream'

    type Damage = { kind: string; at: number }
    const kinds = [
      'none',
      'empty',
      'scheme',
      'changed',
      'cut',
      'unsigned',
      'expired',
      'foreign',
      'ended',
      'unknown',
    ]
    const damages: fc.Arbitrary<Damage> = fc.record({
      kind: fc.constantFrom(...kinds),
      at: fc.nat(),
    })

    /** The Authorization header of one who may not come in, and why. */
    async function damaged(good: string, session_id: string, { kind, at }: Damage) {
      const place = at % good.length
      const exp = Math.floor(Date.now() / 1000) - 30 - (at % 100_000)
      switch (kind) {
        case 'none':
          return { header: undefined, code: 'token_missing' }
        case 'empty':
          return { header: 'Bearer ', code: 'token_missing' }
        case 'scheme':
          return { header: `Basic ${good}`, code: 'token_missing' }
        case 'changed': {
          const other = good[place] === 'x' ? 'y' : 'x'
          const changed = good.slice(0, place) + other + good.slice(place + 1)
          return { header: `Bearer ${changed}`, code: 'token_invalid' }
        }
        case 'cut':
          return { header: `Bearer ${good.slice(0, Math.max(1, place))}`, code: 'token_invalid' }
        case 'unsigned':
          return { header: `Bearer ${good.replace(/[^.]*$/, '')}`, code: 'token_invalid' }
        case 'expired':
          return {
            header: `Bearer ${sign(credentials, secret(), { session_id, exp })}`,
            code: 'token_expired',
          }
        case 'foreign':
          return {
            header: `Bearer ${sign(credentials, randomUUID(), { session_id })}`,
            code: 'token_invalid',
          }
        case 'ended': {
          const other = await session(credentials)
          await postgresSessions(db, silent).end(
            ann.id,
            other.session_id,
            'logged_out',
            requestContext,
          )
          return { header: `Bearer ${other.token}`, code: 'session_ended' }
        }
        default:
          return { header: `Bearer ${sign(credentials, secret())}`, code: 'session_ended' }
      }
    }

    /** All that a request could change. */
    const state = async (): Promise<unknown> => {
      const tables = [
        'users',
        'sessions',
        'security_events',
        'tasks',
        'events',
        'streams',
        'commands',
      ]
      const digests = tables.map((table) => {
        return `(select md5(string_agg(t::text, '|' order by t::text)) from ${table} t) as ${table}`
      })
      return (await sql.query(`select ${digests.join(', ')}`)).rows[0]
    }

    /** Whether auth-service was asked about the token of this request; lines come after answers. */
    const asked = (request_id: string) =>
      system
        .logged()
        .split('\n')
        .some((line) => line.includes(request_id) && line.includes('"path":"/auth/validate"'))

    it(title(2, 'Authentication Required for Protected Endpoints'), async () => {
      expect(endpoints).to.have.length.at.least(10)
      await fc.assert(
        fc.asyncProperty(fc.constantFrom(...endpoints), damages, async (endpoint, damage) => {
          const { token, session_id } = await session(credentials)
          const { header, code } = await damaged(token, session_id, damage)
          const path = endpoint.path.replace(
            ':id',
            String(endpoint.path.startsWith('/auth') ? session_id : task),
          )
          const request = (authorization: string | undefined, request_id: string) =>
            system.call(endpoint.method.toUpperCase(), path, {
              headers: {
                'x-request-id': request_id,
                ...(authorization !== undefined && { authorization }),
              },
              ...(endpoint.body !== undefined && { body: body(endpoint.path, endpoint.method) }),
            })

          const [before, [bad, good]] = [await state(), [randomUUID(), randomUUID()]]
          const refused = await request(header, bad)
          expect([refused.status, refused.body.code]).to.deep.equal([401, code])
          expect(refused.headers.get('www-authenticate')).to.equal('Bearer')
          expect(await state()).to.deep.equal(before)

          // The same request of the same session, but for its token, is not refused for that.
          if (!goesOn(endpoint) && (endpoint.method === 'get' || endpoint.method === 'post')) {
            const welcome = await request(`Bearer ${token}`, good)
            expect(welcome.status).not.to.be.oneOf([401, 403])
            if (!endpoint.path.startsWith('/auth')) {
              await until(() => asked(good), 'auth-service to be asked')
              const askable = code !== 'token_missing'
              if (askable) await until(() => asked(bad), 'auth-service to be asked')
              else expect(asked(bad)).to.equal(false)
            }
          }
        }),
        { numRuns: 200 },
      )
    })

    it('let the same requests in with a token', async () => {
      const erasure = endpoints.filter(
        ({ method, path }) => `${method} ${path}` === 'delete /auth/me',
      )
      const others = endpoints.filter((endpoint) => !erasure.includes(endpoint))
      for (const endpoint of [...others.filter((one) => !goesOn(one)), ...erasure]) {
        const { token, session_id } = await session(credentials)
        const id = endpoint.path.startsWith('/auth') ? session_id : task
        const facts = {
          token,
          ...(endpoint.body !== undefined && { body: body(endpoint.path, endpoint.method) }),
        }
        const path = endpoint.path.replace(':id', String(id))
        const { status } = await system.call(endpoint.method.toUpperCase(), path, facts)
        expect(status, `${endpoint.method} ${path}`).to.be.within(200, 204)
        credentials = await credentialsOf(ann.id)
      }
    })
  })

  describe('and what it keeps', () => {
    // What a hash costs is part of this property, and of no other.
    before(async () => {
      await end()
      await begin({ BCRYPT_COST: '10' })
    })

    const hashOf = async (id: number): Promise<string> =>
      (await sql.query('select password_hash from users where id = $1', [id])).rows[0].password_hash

    /** Every table, whatever it may be called. */
    const tables = async (): Promise<string[]> => {
      const text = `select quote_ident(relname) as name from pg_class
        where relnamespace = 'public'::regnamespace and relkind = 'r'`
      return (await sql.query(text)).rows.map(({ name }) => name)
    }
    const isKept = async (text: string): Promise<boolean> => {
      const places = (await tables()).map(
        (table) => `exists (select from ${table} t where position($1 in t::text) > 0
          or position($2 in t::text) > 0)`,
      )
      const values = [text, JSON.stringify(text).slice(1, -1)]
      const { rows } = await sql.query(`select ${places.join(' or ')} as found`, values)
      return rows[0].found
    }
    const isLogged = (text: string): boolean => {
      const logged = system.logged()
      const escaped = JSON.stringify(text).slice(1, -1)
      return [text, escaped, JSON.stringify(escaped).slice(1, -1)].some((each) =>
        logged.includes(each),
      )
    }

    it(title(3, 'Password Security'), async () => {
      const shared = await system.newUser()
      let { password: current } = shared
      const cheap = bcryptPasswordHasher(system.env.PASSWORD_PEPPER ?? '', 4)

      const registered = async (password: string) => {
        const username = `u${randomUUID().slice(0, 18)}`
        return (await register({ username, email: `${username}@x.io`, password })).id
      }
      const changed = async (next: string) => {
        // What is left behind costs little to compare with: the property is about the next one.
        const text = 'update users set password_hash = $1 where id = $2'
        await sql.query(text, [await cheap.hash(current), shared.id])
        const { token } = await session(await credentialsOf(shared.id))
        const body = { current_password: current, new_password: next }
        await call(204, 'PUT', '/auth/password', { token, body })
        current = next
        return shared.id
      }

      expect(await isKept(shared.username), 'what is kept is found').to.equal(true)
      await fc.assert(
        fc.asyncProperty(passwords, async (password) => {
          const ids = await Promise.all([registered(password), changed(password)])
          for (const id of ids) {
            const hash = await hashOf(id)
            expect(hash).to.match(/^\$2b\$10\$[./A-Za-z0-9]{53}$/)
            expect(hash).not.to.include(password)
          }
          expect(await isKept(password)).to.equal(false)
          expect(isLogged(password)).to.equal(false)
        }),
        { numRuns: 100 },
      )
    })
  })
})
