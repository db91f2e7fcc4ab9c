import { createHash, randomUUID } from 'node:crypto'
import { expect } from 'chai'
import jwt from 'jsonwebtoken'
import pg from 'pg'
import { jwtTokens } from '../../src/infra/credentials/tokens.ts'
import type { Env } from '../../src/settings.ts'
import { until } from '../support/processes.ts'
import { type Answer, type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>

const name = () => `u${randomUUID().slice(0, 18)}`
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
const fieldsOf = ({ body }: Answer): string[] =>
  body.details.map(({ field }: { field: string }) => field).toSorted()

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

describe('Accounts over HTTP', () => {
  let system: System
  let sql: pg.Client
  let ann: User
  const now = new Date()

  before(async () => {
    system = await startSystem({}, () => now)
    sql = new pg.Client(system.database.url)
    await sql.connect()
    ann = await system.newUser()
  })
  after(async () => {
    await sql.end()
    await system.stop()
  })

  const post = (path: string, body: unknown, headers = {}) =>
    system.call('POST', path, { body, headers })
  const register = (facts: object = {}, to = system) => {
    const username = name()
    const password = 'a good long password'
    const body = { username, email: `${username}@x.io`, password, ...facts }
    return to.call('POST', '/auth/register', { body })
  }
  const login = (username: string, password: string, to = system) =>
    to.call('POST', '/auth/login', { body: { username, password } })
  const validate = (token?: string) =>
    system.call('POST', '/auth/validate', {
      token,
      headers: { 'x-internal-api-key': system.env.INTERNAL_API_KEY ?? '' },
    })
  const me = (token: string) => system.call('GET', '/auth/me', { token })
  /** Another instance on the same database, with settings of its own. */
  const beside = async (env: Env, work: (other: System) => Promise<void>) => {
    const other = await startSystem(env, () => now, system.database)
    await work(other).finally(other.stop)
  }
  const hashOf = async (username: string): Promise<string> => {
    const text = 'select password_hash from users where username = $1'
    return (await sql.query(text, [username])).rows[0].password_hash
  }

  describe('Registration', () => {
    it('answers 201 with the user, and never with anything of the password', async () => {
      const username = name()
      const email = `${username}@Example.com`
      const { status, body } = await register({ username, email })
      expect(status).to.equal(201)
      const { id, created_at, ...rest } = body.user
      expect(rest).to.deep.equal({ username, email, role: 'user' })
      expect(id).to.be.a('number')
      expect(created_at).to.equal(now.toISOString())
    })

    it('names every field that breaks a rule at once', async () => {
      const body = { username: 'a b', email: 'nowhere', password: 'short', role: 'admin' }
      const answer = await post('/auth/register', body)
      expect(answer.status).to.equal(400)
      expect(answer.body).to.include({ error: 'Bad Request', message: 'Validation failed' })
      expect(fieldsOf(answer)).to.deep.equal(['email', 'password', 'role', 'username'])
      expect(answer.body.details).to.deep.include({
        field: 'role',
        message: 'Unknown field; allowed: username, email, password',
      })
    })

    for (const body of [{}, undefined, { username: null, email: 7, password: ['password'] }]) {
      it(`requires username, email and password: ${JSON.stringify(body)}`, async () => {
        const answer = await post('/auth/register', body)
        expect(answer.status).to.equal(400)
        expect(fieldsOf(answer)).to.deep.equal(['email', 'password', 'username'])
      })
    }

    for (const [what, facts, field] of [
      ['a username of 2 characters', { username: 'ab' }, 'username'],
      ['a username of 51 characters', { username: 'a'.repeat(51) }, 'username'],
      ['a username with a letter that is not ASCII', { username: 'annä' }, 'username'],
      ['a username with a line feed at its end', { username: 'anna\n' }, 'username'],
      ['an email of 101 characters', { email: `${'a'.repeat(89)}@example.com` }, 'email'],
      ['an email with a line feed', { email: 'ann@example.com\nbcc: bob@example.com' }, 'email'],
      ['a password of 7 characters', { password: 'sev3n_c' }, 'password'],
      ['a password of 7 emoji', { password: '🦜'.repeat(7) }, 'password'],
      ['a password of 257 characters', { password: 'a1'.repeat(128).concat('z') }, 'password'],
      ['a password with a NUL', { password: 'before\0after' }, 'password'],
      ['a password with half a surrogate pair', { password: 'half of it \ud83e' }, 'password'],
      ['a common password', { password: 'password1' }, 'password'],
      ['a common password in capitals', { password: 'PassWord1' }, 'password'],
      ['a common password in full-width letters', { password: 'ｐａｓｓｗｏｒｄ１' }, 'password'],
    ] as const) {
      it(`refuses ${what}`, async () => {
        const answer = await register(facts)
        expect(answer.status).to.equal(400)
        expect(fieldsOf(answer)).to.deep.equal([field])
      })
    }

    for (const [what, facts] of [
      ['a username of 3 characters', { username: 'a.-' }],
      ['a username of 50 characters', { username: 'a'.repeat(50) }],
      ['an email of 100 characters', { email: `${'a'.repeat(88)}@example.com` }],
      ['a password of 8 characters without any composition', { password: 'yhwnqpzd' }],
      ['a password of 8 emoji', { password: '🦜'.repeat(8) }],
      ['a password of 256 emoji', { password: '🦜'.repeat(256) }],
      ['a password of spaces', { password: ' '.repeat(12) }],
      ['a username that names what every object has', { username: '__proto__' }],
      ['another such username', { username: 'constructor' }],
    ] as const) {
      it(`accepts ${what}, which then logs in`, async () => {
        const { body, status } = await register(facts)
        expect(status).to.equal(201)
        const password = 'password' in facts ? facts.password : 'a good long password'
        expect((await login(body.user.username, password)).status).to.equal(200)
      })
    }

    for (const [what, body] of [
      ['__proto__', '{"__proto__":{"role":"admin"},"username":"polly","email":"p@x.io"}'],
      ['constructor', '{"constructor":{"prototype":{"role":"admin"}},"username":"polly"}'],
    ] as const) {
      it(`refuses a body that says ${what}, and is not changed by it`, async () => {
        expect((await post('/auth/register', body)).status).to.equal(400)
        expect(({} as { role?: string }).role).to.equal(undefined)
        const { body: answer } = await register()
        expect(answer.user.role).to.equal('user')
      })
    }

    it('refuses a username that is taken in another letter case', async () => {
      const { status, body } = await register({ username: ann.username.toUpperCase() })
      expect(status).to.equal(409)
      expect(body).to.include({ error: 'Conflict', code: 'username_taken' })
      expect(body.message).to.equal('Username already exists')
    })

    it('says nothing of an email that another account has confirmed', async () => {
      await sql.query('update users set email_confirmed_at = now() where id = $1', [ann.id])
      const shape = ({ status, headers, body }: Answer) => {
        const names = Object.keys(body.user)
        return { status, names, headers: [...headers.keys()] }
      }
      const taken = await register({ email: `${ann.username}@EXAMPLE.com` })
      expect(taken.status).to.equal(201)
      expect(shape(taken)).to.deep.equal(shape(await register()))
      await sql.query('update users set email_confirmed_at = null where id = $1', [ann.id])
    })

    it('gives a name to one of those who want it at the same moment', async () => {
      const username = name()
      const answers = await Promise.all(
        Array.from({ length: 6 }, (_, n) => register({ username, email: `${n}${username}@x.io` })),
      )
      const statuses = answers.map(({ status }) => status).toSorted()
      expect(statuses).to.deep.equal([201, 409, 409, 409, 409, 409])
    })
  })

  describe('A password', () => {
    it('counts to its last byte, though bcrypt itself looks at 72', async () => {
      const password = (end: string) => 'a'.repeat(72) + end
      const { body } = await register({ password: password('x') })
      const { username } = body.user
      expect((await login(username, password('y'))).status).to.equal(401)
      expect((await login(username, password(''))).status).to.equal(401)
      expect((await login(username, password('x'))).status).to.equal(200)
    })

    it('is the same however its characters are composed', async () => {
      const { body } = await register({ password: '\u00c5ngstr\u00f6m and \ufb01sh' })
      const { username } = body.user
      expect((await login(username, 'A\u030angstro\u0308m and fish')).status).to.equal(200)
      expect((await login(username, 'Angstrom and fish')).status).to.equal(401)
    })

    it('is rehashed at login when the cost has changed, and only then', async () => {
      const { body } = await register()
      const { username } = body.user
      const before = await hashOf(username)
      await login(username, 'a good long password')
      expect(await hashOf(username)).to.equal(before)

      await beside({ BCRYPT_COST: '11' }, async (costlier) => {
        const attempt = (password: string) =>
          costlier.call('POST', '/auth/login', { body: { username, password } })
        expect((await attempt('a wrong long password')).status).to.equal(401)
        expect(await hashOf(username)).to.equal(before)
        const { token } = (await attempt('a good long password')).body
        expect(await hashOf(username)).to.match(/^\$2b\$11\$/)
        expect((await me(token)).status).to.equal(200)
        expect((await attempt('a good long password')).status).to.equal(200)
      })
    })

    it('that is right lets in, even if it cannot be rehashed', async () => {
      const { body } = await register()
      const { username } = body.user
      const before = await hashOf(username)
      await sql.query(`
        create function refuse_all() returns trigger language plpgsql as
          $$ begin raise exception 'the disk is full'; end $$;
        create trigger refused before update on users for each row execute function refuse_all()`)
      await beside({ BCRYPT_COST: '11' }, async (costlier) => {
        const answer = await costlier.call('POST', '/auth/login', {
          body: { username, password: 'a good long password' },
        })
        expect(answer.status).to.equal(200)
        expect(await hashOf(username)).to.equal(before)
        expect(costlier.logged()).to.include('a password keeps its outdated hash')
        expect(costlier.logged()).not.to.include(before)
      }).finally(() => sql.query('drop trigger refused on users; drop function refuse_all'))
    })
  })

  describe('Login', () => {
    it('answers 200 with a token, its lifetime and the user', async () => {
      const { status, body, headers } = await login(ann.username, ann.password)
      expect(status).to.equal(200)
      const { token, refresh_token, ...rest } = body
      expect(refresh_token).to.match(/^[\w-]{43}$/)
      const { id, username } = ann
      const user = { id, username, email: `${username}@example.com`, role: 'user' }
      const refresh_expires_in = 30 * 86_400
      expect(rest).to.deep.equal({ expires_in: 3600, refresh_expires_in, user })
      expect(headers.get('cache-control')).to.equal('no-store')
      const claims = jwt.decode(token) as jwt.JwtPayload
      expect(claims).to.include({ user_id: id, username, email: user.email, role: 'user' })
      expect(claims.iat).to.equal(Math.floor(now.getTime() / 1000))
      expect(claims.exp).to.equal(Number(claims.iat) + 3600)
      expect(claims).to.deep.include({ auth_time: claims.iat, amr: ['pwd'] })
    })

    it('takes the username in any letter case', async () => {
      const { status, body } = await login(ann.username.toUpperCase(), ann.password)
      expect(status).to.equal(200)
      expect(body.user.username).to.equal(ann.username)
    })

    it('begins a session of its own each time', async () => {
      const [one, two] = [
        await login(ann.username, ann.password),
        await login(ann.username, ann.password),
      ]
      const sid = ({ body }: Answer) => (jwt.decode(body.token) as jwt.JwtPayload).sid
      expect(sid(one)).not.to.equal(sid(two))
    })

    it('does not take the id of a session from the client', async () => {
      const sid = randomUUID()
      const { username, password } = ann
      const given = await post('/auth/login', { username, password, sid })
      expect(given.status).to.equal(400)
      const cookie = { cookie: `sid=${sid}`, 'x-session-id': sid }
      const { body } = await post('/auth/login', { username, password }, cookie)
      expect((jwt.decode(body.token) as jwt.JwtPayload).sid).not.to.equal(sid)
    })

    it('says the same of an unknown user and of a wrong password', async () => {
      const answers = [
        await login(name(), ann.password),
        await login(ann.username, 'wrong password'),
      ]
      for (const { status, headers, body } of answers) {
        const { request_id, ...rest } = body
        expect(status).to.equal(401)
        expect(headers.get('www-authenticate')).to.equal('Bearer')
        expect(rest).to.deep.equal({
          error: 'Unauthorized',
          message: 'Invalid username or password',
          code: 'invalid_credentials',
        })
      }
      const names = answers.map(({ headers }) => [...headers.keys()])
      expect(names[0]).to.deep.equal(names[1])
    })

    it('takes about the same time for an unknown user and for a wrong password', async () => {
      const times: Record<string, number[]> = { unknown: [], wrong: [] }
      // A hash that takes as long as it should is most of it.
      await beside({ BCRYPT_COST: '10' }, async (slow) => {
        for (let round = 0; round < 7; round++) {
          for (const [which, username] of [
            ['unknown', name()],
            ['wrong', (await register({}, slow)).body.user.username],
          ] as const) {
            const began = performance.now()
            expect((await login(username, 'wrong password', slow)).status).to.equal(401)
            times[which]?.push(performance.now() - began)
          }
        }
      })
      expect(median(times.unknown ?? []) / median(times.wrong ?? [])).to.be.within(0.5, 2)
    })

    it('requires username and password', async () => {
      const answer = await post('/auth/login', {})
      expect(answer.status).to.equal(400)
      expect(fieldsOf(answer)).to.deep.equal(['password', 'username'])
    })

    it('gives tokens the lifetime that JWT_EXPIRATION says', async () => {
      await beside({ JWT_EXPIRATION: '60' }, async (brief) => {
        const { username, password } = ann
        const { body } = await brief.call('POST', '/auth/login', { body: { username, password } })
        const { iat, exp } = jwt.decode(body.token) as jwt.JwtPayload
        expect(body.expires_in).to.equal(60)
        expect(Number(exp) - Number(iat)).to.equal(60)
      })
    })
  })

  describe('Validation', () => {
    it('says who holds the token', async () => {
      const { status, body } = await validate(ann.token)
      const { id: user_id, username } = ann
      const { sid, iat, exp } = jwt.decode(ann.token) as jwt.JwtPayload
      const email = `${username}@example.com`
      const proof = { auth_time: iat, amr: ['pwd'] }
      const user = { user_id, username, email, role: 'user', session_id: sid, iat, exp, ...proof }
      expect(status).to.equal(200)
      expect(body).to.deep.equal({ valid: true, user })
    })

    it('is for those who have the internal key', async () => {
      const key = system.env.INTERNAL_API_KEY ?? ''
      for (const given of [
        undefined,
        '',
        `${key}x`,
        key.slice(1),
        key.toUpperCase(),
        sha256(key),
      ]) {
        const headers = given === undefined ? {} : { 'x-internal-api-key': given }
        for (const token of [ann.token, undefined, 'x']) {
          const { status, body } = await system.call('POST', '/auth/validate', { token, headers })
          expect(status).to.equal(403)
          expect(body.code).to.equal('internal_key_required')
        }
      }
    })

    const refusal = ({ status, headers, body }: Answer) => {
      expect(status).to.equal(401)
      expect(headers.get('www-authenticate')).to.equal('Bearer')
      return [body.code, body.message]
    }

    it('refuses a request without a token', async () => {
      const missing = ['token_missing', 'No authentication token provided']
      expect(refusal(await validate())).to.deep.equal(missing)
      const key = { 'x-internal-api-key': system.env.INTERNAL_API_KEY ?? '' }
      for (const authorization of ['', 'Bearer', 'Bearer ', `Basic ${ann.token}`, ann.token]) {
        const headers = { ...key, authorization }
        const answer = await system.call('POST', '/auth/validate', { headers })
        expect(refusal(answer), authorization).to.deep.equal(missing)
      }
    })

    it('refuses a token that has expired', async () => {
      const { sid } = jwt.decode(ann.token) as jwt.JwtPayload
      const claims = {
        user_id: ann.id,
        username: 'ann',
        email: 'a@x.io',
        role: 'user',
        sid,
        auth_time: 0,
        amr: ['pwd'],
      } as const
      const exp = Math.floor(now.getTime() / 1000) - 60
      const expired = jwtTokens(system.env.JWT_SECRET ?? '', undefined).sign({
        ...claims,
        iat: 0,
        exp,
      })
      expect(refusal(await validate(expired))).to.deep.equal(['token_expired', 'Token has expired'])
    })

    it('refuses whatever is not one of our tokens', async () => {
      const { sid, ...claims } = jwt.decode(ann.token) as jwt.JwtPayload
      const foreign = jwt.sign({ ...claims, sid }, 'another secret of 32 characters!')
      for (const token of ['x', 'a.b.c', `${ann.token}x`, `${ann.token} ${ann.token}`, foreign]) {
        expect(refusal(await validate(token))).to.deep.equal(['token_invalid', 'Invalid token'])
      }
    })

    it('refuses the token of a session that has ended, or never was', async () => {
      const { token } = (await login(ann.username, ann.password)).body
      await system.call('POST', '/auth/logout', { token })
      const ended = ['session_ended', 'Session has ended']
      expect(refusal(await validate(token))).to.deep.equal(ended)
      const { sid, iss, aud, ...claims } = jwt.decode(ann.token) as jwt.JwtPayload
      const never = jwtTokens(system.env.JWT_SECRET ?? '', undefined).sign({
        ...(claims as Parameters<ReturnType<typeof jwtTokens>['sign']>[0]),
        sid: randomUUID(),
      })
      expect(refusal(await validate(never))).to.deep.equal(ended)
    })

    it('goes by the session, whatever user and role a token of it may claim', async () => {
      const { sid, iat, exp } = jwt.decode(ann.token) as jwt.JwtPayload
      const user = { user_id: 1e6, username: 'root', email: 'r@x.io', role: 'admin' } as const
      const claims = { ...user, auth_time: 0, amr: ['pwd'] } as const
      const sign = jwtTokens(system.env.JWT_SECRET ?? '', undefined).sign
      const token = sign({ ...claims, sid, iat: Number(iat), exp: Number(exp) })
      const { user: holder } = (await validate(token)).body
      expect(holder).to.include({ user_id: ann.id, username: ann.username, role: 'user' })
    })
  })

  describe('The caller', () => {
    it('is shown as they are now', async () => {
      const { status, body } = await me(ann.token)
      expect(status).to.equal(200)
      const { created_at, ...user } = body.user
      const { id, username } = ann
      const identity = { id, username, email: `${username}@example.com`, role: 'user' }
      expect(user).to.deep.equal({ ...identity, email_confirmed: false, pending_email: null })
    })

    it('is not shown without a token', async () => {
      const { status, body } = await system.call('GET', '/auth/me')
      expect(status).to.equal(401)
      expect(body.code).to.equal('token_missing')
    })

    it('may write the scheme in any letter case', async () => {
      for (const scheme of ['bearer', 'BEARER', 'Bearer  ']) {
        const headers = { authorization: `${scheme} ${ann.token}` }
        expect((await system.call('GET', '/auth/me', { headers })).status).to.equal(200)
      }
    })
  })

  describe('A change of password', () => {
    const NEXT = 'another good password'
    const change = (token: string, current_password: string, new_password = NEXT) =>
      system.call('PUT', '/auth/password', { token, body: { current_password, new_password } })

    it('answers 204 and ends every session of the user, and no other', async () => {
      const user = await system.newUser()
      const { token: other } = (await login(user.username, user.password)).body
      const { status, body } = await change(user.token, user.password)
      expect([status, body]).to.deep.equal([204, ''])
      for (const token of [user.token, other]) {
        const refused = await me(token)
        expect([refused.status, refused.body.code]).to.deep.equal([401, 'session_ended'])
        expect((await system.call('GET', '/tasks', { token })).status).to.equal(401)
      }
      expect((await me(ann.token)).status).to.equal(200)
      expect((await login(user.username, user.password)).status).to.equal(401)
      expect((await login(user.username, NEXT)).status).to.equal(200)
    })

    it('needs the current password, and says so to a caller who stays logged in', async () => {
      const user = await system.newUser()
      const before = await hashOf(user.username)
      const { status, body, headers } = await change(user.token, 'wrong password')
      expect([status, body.code]).to.deep.equal([403, 'wrong_password'])
      expect(body.message).to.equal('The current password is wrong')
      expect(headers.get('www-authenticate')).to.equal(null)
      expect(await hashOf(user.username)).to.equal(before)
      expect((await me(user.token)).status).to.equal(200)
    })

    it('obeys the rules for new passwords', async () => {
      for (const next of ['short', 'password1', 'x'.repeat(257), 'with a \0']) {
        const answer = await change(ann.token, ann.password, next)
        expect(answer.status).to.equal(400)
        expect(fieldsOf(answer)).to.deep.equal(['new_password'])
      }
      const empty = await system.call('PUT', '/auth/password', { token: ann.token, body: {} })
      expect(fieldsOf(empty)).to.deep.equal(['current_password', 'new_password'])
    })

    it('is done by one of two that race', async () => {
      const user = await system.newUser()
      const nexts = ['the first new password', 'the second new password']
      const answers = await Promise.all(
        nexts.map((next) => change(user.token, user.password, next)),
      )
      const statuses = answers.map(({ status }) => status).toSorted()
      // The other's session ended with the change, or the password was no longer the current one.
      expect(statuses[0]).to.equal(204)
      expect(statuses[1]).to.be.oneOf([401, 403])
      const logins = await Promise.all(nexts.map((next) => login(user.username, next)))
      expect(logins.map(({ status }) => status).toSorted()).to.deep.equal([200, 401])
    })

    it('leaves no session to a login that was verified before it and begins after it', async () => {
      const user = await system.newUser()
      const blocker = new pg.Client(system.database.url)
      await blocker.connect()
      await blocker.query('begin; lock table sessions in share row exclusive mode')
      const late = login(user.username, user.password)
      const waiting = `select from pg_stat_activity where wait_event_type = 'Lock'
        and datname = current_database() and query like '%insert into sessions%'`
      await until(async () => (await sql.query(waiting)).rows.length > 0, 'a login that waits')
      const changed = await change(user.token, user.password)
      await blocker.end()
      expect(changed.status).to.equal(204)
      const { status, body } = await late
      expect(status).to.equal(200)
      expect((await me(body.token)).body.code).to.equal('session_ended')
    })
  })

  describe('The signing secret', () => {
    it('is rotated without ending sessions, as long as the previous one is known', async () => {
      const [first, second] = [system.env.JWT_SECRET ?? '', randomUUID() + randomUUID()]
      const both = { JWT_SECRET: second, JWT_SECRET_PREVIOUS: first }
      const { username, password, token: old } = await system.newUser()
      const status = async (instance: System, token: string) =>
        (await instance.call('GET', '/tasks', { token })).status
      await beside(both, async (rotated) => {
        const body = { username, password }
        const { token: fresh } = (await rotated.call('POST', '/auth/login', { body })).body
        expect([await status(rotated, old), await status(rotated, fresh)]).to.deep.equal([200, 200])
        expect(await status(system, fresh)).to.equal(401)
        await beside({ JWT_SECRET: second }, async (later) => {
          expect([await status(later, old), await status(later, fresh)]).to.deep.equal([401, 200])
        })
      })
    })
  })

  describe('The internal key', () => {
    it('is rotated without refusing a call, in the order of the runbook', async () => {
      const [first, second] = [system.env.INTERNAL_API_KEY ?? '', randomUUID()]
      const takes = async (instance: System, key: string) => {
        const headers = { 'x-internal-api-key': key }
        const call = instance.call('POST', '/auth/validate', { token: ann.token, headers })
        return (await call).status === 200
      }
      const taken = (instance: System) =>
        Promise.all([first, second, randomUUID()].map((key) => takes(instance, key)))
      expect(await taken(system)).to.deep.equal([true, false, false])
      const known = { INTERNAL_API_KEY: first, INTERNAL_API_KEY_PREVIOUS: second }
      await beside(known, async (instance) => {
        expect(await taken(instance)).to.deep.equal([true, true, false])
      })
      const exchanged = { INTERNAL_API_KEY: second, INTERNAL_API_KEY_PREVIOUS: first }
      await beside(exchanged, async (instance) => {
        expect(await taken(instance)).to.deep.equal([true, true, false])
        // With it task-service of the same environment presents the new one.
        const { token } = ann
        expect((await instance.call('GET', '/tasks', { token })).status).to.equal(200)
      })
      const done = { INTERNAL_API_KEY: second, INTERNAL_API_KEY_PREVIOUS: randomUUID() }
      await beside(done, async (instance) => {
        expect(await taken(instance)).to.deep.equal([false, true, false])
      })
    })

    it('is not accepted as a previous one when there is none', async () => {
      for (const key of ['', 'undefined']) {
        const headers = { 'x-internal-api-key': key }
        const { status } = await system.call('POST', '/auth/validate', {
          token: ann.token,
          headers,
        })
        expect(status).to.equal(403)
      }
    })
  })

  describe('Health', () => {
    it('is told to anyone', async () => {
      const { status, body } = await system.call('GET', '/auth/health')
      expect([status, body]).to.deep.equal([200, { status: 'healthy', service: 'auth' }])
    })
  })

  describe('Security events', () => {
    it('tell what happened to an account, who did it and from where', async () => {
      const username = name()
      const [password, next] = ['the first password', 'the second password']
      const headers = { 'user-agent': 'story/1', 'x-forwarded-for': '198.51.100.9' }
      const call = (method: string, path: string, facts: object = {}) =>
        system.call(method, path, { headers, ...facts })
      const enter = async (password: string) =>
        (await call('POST', '/auth/login', { body: { username, password } })).body.token
      await call('POST', '/auth/register', {
        body: { username, email: `${username}@x.io`, password },
      })
      await enter('wrong password')
      const one = await enter(password)
      const two = await enter(password)
      const { sid } = jwt.decode(two) as jwt.JwtPayload
      await call('DELETE', `/auth/sessions/${sid}`, { token: one })
      const passwords = (current_password: string) => ({ current_password, new_password: next })
      await call('PUT', '/auth/password', { token: one, body: passwords('wrong password') })
      await call('PUT', '/auth/password', { token: one, body: passwords(password) })
      await call('POST', '/auth/logout', { token: await enter(next) })

      const { rows } = await sql.query(
        'select * from security_events where username = $1 order by id',
        [username],
      )
      expect(rows.map(({ type }) => type)).to.deep.equal([
        'registered',
        'login_failed',
        'login_succeeded',
        'login_succeeded',
        'session_ended',
        'password_change_failed',
        'password_changed',
        'login_succeeded',
        'logged_out',
      ])
      const { user_id } = rows[0]
      for (const row of rows) {
        expect(row).to.include({ user_id, ip: '198.51.100.9', user_agent: 'story/1' })
        expect(row.request_id).to.match(/^[0-9a-f-]{36}$/)
        expect(row.occurred_at.getTime()).to.equal(now.getTime())
        const begins = row.type === 'login_succeeded'
        expect(row.details).to.deep.equal(begins ? { amr: ['pwd'] } : {})
      }
      expect(rows[4].session_id).to.equal(sid)
      expect(rows[7].session_id).to.equal(rows[8].session_id)
    })

    it('record a failed login of a user that does not exist', async () => {
      const username = name()
      await login(username, 'wrong password')
      const text = 'select type, user_id from security_events where username = $1'
      const { rows } = await sql.query(text, [username])
      expect(rows).to.deep.equal([{ type: 'login_failed', user_id: null }])
    })
  })

  describe('An address', () => {
    it('is kept up to the length of any address, whatever zone a client makes up for it', async () => {
      const username = name()
      const address = `fe80::1%${'f'.repeat(9_000)}`
      const headers = { 'x-forwarded-for': address }
      const body = { username, password: 'wrong password' }
      expect((await system.call('POST', '/auth/login', { body, headers })).status).to.equal(401)
      const text = 'select ip from security_events where username = $1'
      expect((await sql.query(text, [username])).rows).to.deep.equal([{ ip: address.slice(0, 45) }])
    })
  })

  describe('What is logged', () => {
    it('holds no password, no token, no hash and no key', async () => {
      const user = await system.newUser()
      const secret = `p\\"${randomUUID()}`
      await login(user.username, secret)
      await post('/auth/login', `{"username":"ann","password":"${secret.slice(3)}`)
      const body = { current_password: user.password, new_password: secret }
      await system.call('PUT', '/auth/password', { token: user.token, body })
      await me(`${user.token}x`)
      await register({ password: secret, role: secret.slice(3) })
      const logged = system.logged()
      expect(logged.split('\n').length).to.be.greaterThan(6)
      for (const hidden of [
        secret.slice(3),
        user.password,
        user.token,
        user.token.split('.')[2] ?? '',
        await hashOf(user.username),
        'Bearer',
        system.env.INTERNAL_API_KEY ?? '',
        system.env.JWT_SECRET ?? '',
        system.env.PASSWORD_PEPPER ?? '',
      ]) {
        expect(logged).not.to.include(hidden)
      }
    })
  })
})
