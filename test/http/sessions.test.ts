import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import jwt from 'jsonwebtoken'
import pg from 'pg'
import { roles } from '../../src/app/roles.ts'
import type { Role } from '../../src/domain/user.ts'
import { postgresUsers } from '../../src/infra/postgres/accounts/users.ts'
import { type Database, openDatabase } from '../../src/infra/postgres/connection/database.ts'
import { silent } from '../support/log.ts'
import { type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>

const NOON = Date.parse('2026-11-21T12:00:00.000Z')
const SECOND = 1_000
const MINUTE = 60 * SECOND
const DAY = 24 * 60 * MINUTE

const sidOf = (token: string): string => (jwt.decode(token) as jwt.JwtPayload).sid
const expOf = (token: string): number => Number((jwt.decode(token) as jwt.JwtPayload).exp) * SECOND

describe('Sessions', () => {
  let now = NOON
  let one: System
  let two: System
  let ann: User
  let db: Database
  let sql: pg.Client

  before(async () => {
    one = await startSystem({}, () => new Date(now))
    two = await startSystem({}, () => new Date(now), one.database)
    ann = await one.newUser()
    sql = new pg.Client(one.database.url)
    await sql.connect()
    db = openDatabase({ ...one.database.config, role: 'tasktrail_auth', log: silent })
  })
  afterEach(() => {
    now = NOON
  })
  after(async () => {
    await db.close()
    await sql.end()
    await two.stop()
    await one.stop()
  })

  const login = async ({ username, password }: User, headers = {}): Promise<string> => {
    const facts = { body: { username, password }, headers }
    const { status, body } = await one.call('POST', '/auth/login', facts)
    expect(status, JSON.stringify(body)).to.equal(200)
    return body.token
  }
  const validate = (system: System, token: string) => {
    const headers = { 'x-internal-api-key': system.env.INTERNAL_API_KEY ?? '' }
    return system.call('POST', '/auth/validate', { token, headers })
  }
  /** What each way in says, on both instances of both services. */
  const waysIn = async (token: string): Promise<string[]> => {
    const answers = await Promise.all(
      [one, two].flatMap((system) => [
        system.call('GET', '/auth/me', { token }),
        system.call('GET', '/auth/sessions', { token }),
        system.call('GET', '/tasks', { token }),
        system.call('POST', '/tasks', { token, body: { title: 'Still in' } }),
        validate(system, token),
      ]),
    )
    return [...new Set(answers.map(({ status, body }) => `${status} ${body.message ?? 'in'}`))]
  }
  const list = async (token: string) =>
    (await one.call('GET', '/auth/sessions', { token })).body.sessions
  const end = (token: string, id: string) => one.call('DELETE', `/auth/sessions/${id}`, { token })

  describe('Asked about many tokens at once, auth-service', () => {
    const ask = (
      tokens: unknown,
      request_ids: unknown = [],
      key = one.env.INTERNAL_API_KEY ?? '',
    ) =>
      one.call('POST', '/auth/validate/batch', {
        body: { tokens, request_ids },
        headers: { 'x-internal-api-key': key },
      })
    const outcomes = async (tokens: readonly string[]): Promise<string[]> =>
      (await ask(tokens)).body.answers.map(
        ({ user, code }: { user?: { session_id: string }; code?: string }) =>
          user?.session_id ?? code,
      )

    it('gives each its own answer: good, ended, on an earlier password, forged, oversized, empty', async () => {
      const bob = await one.newUser()
      const [live, out, early] = [await login(ann), await login(ann), await login(bob)]
      await one.call('POST', '/auth/logout', { token: out })
      const change = { current_password: bob.password, new_password: `new-${bob.password}` }
      await one.call('PUT', '/auth/password', { token: early, body: change })
      const [header, , signature] = live.split('.')
      const forged = [header, out.split('.')[1], signature].join('.')
      const never = jwt.sign(
        { ...(jwt.decode(live) as object), sid: randomUUID() },
        one.env.JWT_SECRET ?? '',
        { keyid: (jwt.decode(live, { complete: true }) as jwt.Jwt).header.kid ?? '' },
      )
      const odd = ['', 'x', '..', `${live}x`, 'x'.repeat(5_000), `${header}.${'W'.repeat(4_000)}.x`]
      const given = [out, live, ...odd, early, forged, never, ann.token, live]
      expect(await outcomes(given)).to.deep.equal([
        'session_ended',
        sidOf(live),
        ...odd.map(() => 'token_invalid'),
        'session_ended',
        'token_invalid',
        'session_ended',
        sidOf(ann.token),
        sidOf(live),
      ])
      now = expOf(live) + SECOND
      const later = await login(ann)
      expect(await outcomes([live, later, out])).to.deep.equal([
        'token_expired',
        sidOf(later),
        'session_ended',
      ])
    })

    it('says of each the same as when it is asked about that one alone', async () => {
      const token = await login(ann)
      const alone = await validate(one, token)
      const { body } = await ask(['bad', token])
      expect(body.answers[1]).to.deep.equal({ ...alone.body, token_end: token.slice(-16) })
      const bad = await validate(one, 'bad')
      expect(body.answers[0]).to.deep.equal({
        valid: false,
        code: bad.body.code,
        token_end: 'bad',
      })
    })

    it('knows of a logout between two questions', async () => {
      const [token, other] = [await login(ann), await login(ann)]
      expect(await outcomes([token, other])).to.deep.equal([sidOf(token), sidOf(other)])
      await two.call('POST', '/auth/logout', { token })
      expect(await outcomes([token, other])).to.deep.equal(['session_ended', sidOf(other)])
    })

    it('notes that they are in use', async () => {
      const tokens = [await login(ann), await login(ann)]
      now += 2 * MINUTE
      await ask(tokens)
      const { rows } = await sql.query('select last_used_at from sessions where id = any ($1)', [
        tokens.map(sidOf),
      ])
      expect(rows.map(({ last_used_at }) => last_used_at.getTime())).to.deep.equal([now, now])
    })

    it('logs the id of every request, and no token', async () => {
      const token = await login(ann)
      const ids = [randomUUID(), randomUUID(), 'one.of-Bobs']
      await ask([token, 'forged-token'], ids)
      const line = one
        .logged()
        .split('\n')
        .find((each) => each.includes(ids[0] ?? ''))
      expect(JSON.parse(line ?? '{}').facts).to.deep.include({
        path: '/auth/validate/batch',
        status: 200,
        request_ids: ids,
      })
      expect(one.logged()).to.not.include(token).and.not.include('forged-token')
    })

    it('takes a hundred and no more, from task-service alone', async () => {
      const many = (count: number) => Array.from({ length: count }, () => ann.token)
      expect(await outcomes(many(100))).to.deep.equal(many(100).map(sidOf))
      expect((await ask(many(101))).status).to.equal(400)
      expect((await ask([])).status).to.equal(400)
      expect((await ask([1])).status).to.equal(400)
      expect((await ask(many(1), ['a b'])).status).to.equal(400)
      expect((await ask(['x'.repeat(129 * 1024)])).status).to.equal(413)
      expect((await ask(many(1), [], 'another key')).status).to.equal(403)
    })
  })

  describe('Requests that come together', () => {
    it('are let in or refused each by its own token, and all of them are in the log', async () => {
      // One after the other: on a busy machine some of eight at once are told to wait.
      const tokens: string[] = []
      while (tokens.length < 8) tokens.push(await login(ann))
      const out = tokens.filter((_, n) => n % 2 === 0)
      await Promise.all(out.map((token) => two.call('POST', '/auth/logout', { token })))
      const ids = Array.from({ length: 40 }, () => randomUUID())
      const answers = await Promise.all(
        ids.map((id, n) =>
          one.call('GET', '/tasks', {
            token: n % 10 === 9 ? 'forged' : (tokens[n % 8] ?? ''),
            headers: { 'x-request-id': id },
          }),
        ),
      )
      const expected = ids.map((_, n) => {
        if (n % 10 === 9) return 'token_invalid'
        return n % 2 === 0 ? 'session_ended' : undefined
      })
      expect(answers.map(({ body }) => body.code)).to.deep.equal(expected)
      const validations = one
        .logged()
        .split('\n')
        .filter((line) => line.includes('"path":"/auth/validate'))
      for (const id of ids) {
        expect(validations.filter((line) => line.includes(id))).to.have.length(1)
      }
    })
  })

  describe('Logout', () => {
    it('ends the session at once, on every instance of both services', async () => {
      const [token, other] = [await login(ann), await login(ann)]
      expect(await waysIn(token)).to.have.members(['200 in', '201 in'])
      const { status, body } = await two.call('POST', '/auth/logout', { token })
      expect([status, body]).to.deep.equal([204, ''])
      expect(await waysIn(token)).to.deep.equal(['401 Session has ended'])
      expect(await waysIn(other)).to.have.members(['200 in', '201 in'])
    })

    it('of a session that has ended is refused', async () => {
      const token = await login(ann)
      await one.call('POST', '/auth/logout', { token })
      const { status, body } = await two.call('POST', '/auth/logout', { token })
      expect([status, body.code]).to.deep.equal([401, 'session_ended'])
    })

    it('is recorded once, however many come at once', async () => {
      const token = await login(ann)
      const logouts = await Promise.all(
        [one, two, one, two].map((system) => system.call('POST', '/auth/logout', { token })),
      )
      for (const { status } of logouts) expect([204, 401]).to.include(status)
      expect(await waysIn(token)).to.deep.equal(['401 Session has ended'])
      const { rows } = await sql.query(
        `select from security_events where type = 'logged_out' and session_id = $1`,
        [sidOf(token)],
      )
      expect(rows).to.have.length(1)
    })
  })

  describe('A token', () => {
    it('gives access until its very end, and not a moment longer', async () => {
      const token = await login(ann)
      expect(expOf(token)).to.equal(NOON + 3600 * SECOND)
      now = expOf(token) - 1
      expect(await waysIn(token)).to.have.members(['200 in', '201 in'])
      for (const late of [0, 1, 29 * SECOND, 31 * SECOND, 1e9]) {
        now = expOf(token) + late
        expect(await waysIn(token), `${late} ms late`).to.deep.equal(['401 Token has expired'])
      }
    })

    it('gives no access before it was issued, but for the difference of two clocks', async () => {
      const token = await login(ann)
      now = NOON - 30 * SECOND
      expect((await validate(two, token)).status).to.equal(200)
      now = NOON - 31 * SECOND
      expect(await waysIn(token)).to.deep.equal(['401 Invalid token'])
    })
  })

  describe('A change of role', () => {
    it('counts at once for the tokens that are there already', async () => {
      const user = await one.newUser()
      const roleOf = async (system: System): Promise<Role> =>
        (await validate(system, user.token)).body.user.role
      const seen: Role[] = []
      const requestContext = { request_id: 'r', ip: null, user_agent: null, now: new Date(now) }
      const { grant } = roles(postgresUsers(db))
      await grant((await one.newUser()).username, 'admin', requestContext)
      for (const role of ['auditor', 'admin', 'user'] as const) {
        await grant(user.username.toUpperCase(), role, requestContext)
        seen.push(await roleOf(one), await roleOf(two))
      }
      expect(seen).to.deep.equal(['auditor', 'auditor', 'admin', 'admin', 'user', 'user'])
    })
  })

  describe('The list', () => {
    it("shows the caller's own, newest first, with what is known of each", async () => {
      const user = await one.newUser()
      now += SECOND
      const phone = { 'user-agent': 'Phone/1.0', 'x-forwarded-for': '203.0.113.1, 198.51.100.7' }
      const token = await login(user, phone)
      const sessions = await list(token)
      expect(sessions[0]).to.deep.equal({
        last_used_at: new Date(now).toISOString(),
        id: sidOf(token),
        created_at: new Date(now).toISOString(),
        expires_at: new Date(now + 30 * DAY).toISOString(),
        ip: '198.51.100.7',
        user_agent: 'Phone/1.0',
        device: 'Phone',
        place: null,
        current: true,
      })
      expect(sessions[1]).to.include({ id: sidOf(user.token), current: false, ip: '127.0.0.1' })
      expect(sessions[1]).to.include({ device: 'node', place: 'a private network' })
      expect(sessions).to.have.length(2)
      expect((await list(ann.token)).map(({ id }: { id: string }) => id)).not.to.include(
        sidOf(token),
      )
    })

    it('leaves out those that have ended or expired', async () => {
      const user = await one.newUser()
      const ended = await login(user)
      await one.call('POST', '/auth/logout', { token: ended })
      now += 30 * DAY - 1
      const token = await login(user)
      expect(await list(token)).to.have.length(2)
      now += 1
      expect(await list(token)).to.have.length(1)
    })

    it('notes the last use at most once a minute', async () => {
      const user = await one.newUser()
      const lastUse = async (after: number) => {
        now = NOON + after
        await one.call('GET', '/auth/me', { token: user.token })
        return Date.parse((await list(user.token))[0].last_used_at) - NOON
      }
      expect(await lastUse(1)).to.equal(0)
      expect(await lastUse(MINUTE)).to.equal(0)
      expect(await lastUse(MINUTE + 1)).to.equal(MINUTE + 1)
      expect(await lastUse(2 * MINUTE)).to.equal(MINUTE + 1)
      expect(await lastUse(5 * MINUTE)).to.equal(5 * MINUTE)
    })

    it('cuts what a client calls itself', async () => {
      const token = await login(ann, { 'user-agent': `x${'y'.repeat(9_000)}` })
      const session = (await list(token)).find(({ id }: { id: string }) => id === sidOf(token))
      expect(session.user_agent).to.equal(`x${'y'.repeat(499)}`)
    })
  })

  describe('Ending one', () => {
    it('answers 204, and it ends at once on every instance', async () => {
      const [token, other] = [await login(ann), await login(ann)]
      const { status, body } = await end(token, sidOf(other))
      expect([status, body]).to.deep.equal([204, ''])
      expect(await waysIn(other)).to.deep.equal(['401 Session has ended'])
      expect(await waysIn(token)).to.have.members(['200 in', '201 in'])
    })

    it('takes the id in capitals too', async () => {
      const [token, other] = [await login(ann), await login(ann)]
      expect((await end(token, sidOf(other).toUpperCase())).status).to.equal(204)
      expect((await validate(two, other)).status).to.equal(401)
    })

    it('may be ending all the others at once: the current one goes on', async () => {
      const user = await one.newUser()
      const others = [await login(user), await login(user)]
      const { status } = await one.call('DELETE', '/auth/sessions', { token: user.token })
      expect(status).to.equal(204)
      for (const token of others)
        expect(await waysIn(token)).to.deep.equal(['401 Session has ended'])
      expect(await list(user.token)).to.have.length(1)
      const { rows } = await sql.query(
        `select from security_events where type = 'session_ended' and user_id = $1`,
        [user.id],
      )
      expect(rows).to.have.length(2)
    })

    it('may end the current one', async () => {
      const token = await login(ann)
      expect((await end(token, sidOf(token))).status).to.equal(204)
      expect(await waysIn(token)).to.deep.equal(['401 Session has ended'])
    })

    it("finds no other user's, which goes on", async () => {
      const bob = await two.newUser()
      const answers = [await end(ann.token, sidOf(bob.token)), await end(ann.token, randomUUID())]
      for (const { status, body } of answers) {
        expect([status, body.code]).to.deep.equal([404, 'session_not_found'])
      }
      expect((await validate(one, bob.token)).status).to.equal(200)
    })

    it('finds none that has ended already', async () => {
      const other = await login(ann)
      expect((await end(ann.token, sidOf(other))).status).to.equal(204)
      expect((await end(ann.token, sidOf(other))).status).to.equal(404)
    })

    for (const id of ['1', 'x', `${randomUUID()}x`, '%27%20or%201=1', '00000000-0000']) {
      it(`refuses ${id}, which is no UUID`, async () => {
        const { status, body } = await end(ann.token, id)
        expect(status).to.equal(400)
        expect(body.details).to.deep.equal([{ field: 'id', message: 'id must be a UUID' }])
      })
    }
  })
})
