import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import jwt from 'jsonwebtoken'
import pg from 'pg'
import { type Answer, type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>
type Tokens = { readonly token: string; readonly refresh_token: string }

/** `REFRESH_ROUNDS=100` for the long form. */
const ROUNDS = Number(process.env.REFRESH_ROUNDS ?? 1)

const NOON = Date.parse('2026-11-29T12:00:00.000Z')
const SECOND = 1_000
const DAY = 86_400 * SECOND

const sidOf = (token: string): string => (jwt.decode(token) as jwt.JwtPayload).sid

describe('A session', () => {
  let now = NOON
  let one: System
  let two: System
  let ann: User
  let sql: pg.Client

  before(async () => {
    one = await startSystem({}, () => new Date(now))
    two = await startSystem({}, () => new Date(now), one.database)
    ann = await one.newUser()
    sql = new pg.Client(one.database.url)
    await sql.connect()
  })
  afterEach(() => {
    now = NOON
  })
  after(async () => {
    await sql.end()
    await two.stop()
    await one.stop()
  })

  const login = async ({ username, password }: User = ann): Promise<Tokens> => {
    const { status, body } = await one.call('POST', '/auth/login', { body: { username, password } })
    expect(status).to.equal(200)
    return body
  }
  const refresh = (refresh_token: string, system = one): Promise<Answer> =>
    system.call('POST', '/auth/refresh', { body: { refresh_token } })
  const refreshed = async (refresh_token: string, system = one): Promise<Tokens> => {
    const { status, body } = await refresh(refresh_token, system)
    expect(status, JSON.stringify(body)).to.equal(200)
    return body
  }
  const isIn = async (token: string): Promise<boolean> =>
    (await two.call('GET', '/tasks', { token })).status === 200
  const ends = async (sid: string): Promise<Date> =>
    (await sql.query('select expires_at from sessions where id = $1', [sid])).rows[0].expires_at
  const events = async (sid: string): Promise<string[]> =>
    (
      await sql.query('select type from security_events where session_id = $1 order by id', [sid])
    ).rows.map(({ type }) => type)

  it('lasts on with each refresh, on every instance, with a new token each time', async () => {
    let held = await login()
    const sid = sidOf(held.token)
    const seen = new Set([held.refresh_token])
    for (const system of [two, one, two]) {
      now += 3_599 * SECOND
      held = await refreshed(held.refresh_token, system)
      seen.add(held.refresh_token)
      expect(sidOf(held.token)).to.equal(sid)
      now += SECOND + 1
      expect(await isIn(held.token)).to.equal(true)
    }
    expect(seen.size).to.equal(4)
    for (const token of seen) expect(Buffer.from(token, 'base64url')).to.have.length(32)
  })

  it('ends 30 days after its last refresh, and 90 days after it began', async () => {
    let held = await login()
    const sid = sidOf(held.token)
    expect(await ends(sid)).to.deep.equal(new Date(NOON + 30 * DAY))
    const idle = await login()
    now = NOON + 30 * DAY
    expect((await refresh(idle.refresh_token)).body.code).to.equal('session_ended')
    for (const day of [29, 58, 87]) {
      now = NOON + day * DAY
      held = await refreshed(held.refresh_token)
      expect(await ends(sid)).to.deep.equal(new Date(NOON + Math.min(day + 30, 90) * DAY))
    }
    now = NOON + 90 * DAY - 1
    held = await refreshed(held.refresh_token)
    now += 1
    expect((await refresh(held.refresh_token)).body.code).to.equal('session_ended')
    expect(await isIn(held.token)).to.equal(false)
  })

  it('gives two tabs the same successor, and each later one that they have missed', async () => {
    const { token, refresh_token } = await login()
    const first = await refreshed(refresh_token)
    now += 9 * SECOND
    const second = await refreshed(first.refresh_token, two)
    const late = await refreshed(refresh_token, two)
    expect(late.refresh_token).to.equal(second.refresh_token)
    now += 3_600 * SECOND
    expect(sidOf((await refreshed(late.refresh_token)).token)).to.equal(sidOf(token))
  })

  it('ends, with all its tokens, when a used one comes again after the grace', async () => {
    const { token, refresh_token } = await login()
    const next = await refreshed(refresh_token)
    const last = await refreshed(next.refresh_token)
    now += 10 * SECOND
    expect((await refresh(refresh_token, two)).body.code).to.equal('session_ended')
    for (const given of [refresh_token, next.refresh_token, last.refresh_token]) {
      expect((await refresh(given)).body.code).to.equal('session_ended')
    }
    for (const each of [token, next.token, last.token]) expect(await isIn(each)).to.equal(false)
    expect(await events(sidOf(token))).to.deep.equal(['login_succeeded', 'refresh_token_reused'])
  })

  const endings: Readonly<Record<string, (user: User, held: Tokens) => Promise<Answer>>> = {
    'a logout': (_, { token }) => one.call('POST', '/auth/logout', { token }),
    'the end of the session from another one': async (user, { token }) =>
      one.call('DELETE', `/auth/sessions/${sidOf(token)}`, { token: (await login(user)).token }),
    'a change of password': ({ password }, { token }) => {
      const body = { current_password: password, new_password: `new-${password}` }
      return one.call('PUT', '/auth/password', { token, body })
    },
    'the erasure of the account': ({ password }, { token }) =>
      one.call('DELETE', '/auth/me', { token, body: { password } }),
  }
  for (const [what, end] of Object.entries(endings)) {
    it(`is over at once after ${what}: its refresh token too`, async () => {
      const user = await one.newUser()
      const held = await login(user)
      expect((await end(user, held)).status).to.equal(204)
      const { status, body } = await refresh(held.refresh_token, two)
      expect([status, body.code]).to.deep.equal([401, 'session_ended'])
    })
  }

  it('is not for whoever sends what is no token, and that ends nothing', async () => {
    const held = await login()
    const changed = held.refresh_token.replace(/^./, (c) => (c === 'A' ? 'B' : 'A'))
    for (const given of [changed, randomBytes(32).toString('base64url'), held.token.slice(0, 90)]) {
      expect((await refresh(given)).body.code).to.equal('session_ended')
    }
    for (const given of ['', 'x'.repeat(101)]) expect((await refresh(given)).status).to.equal(400)
    const { status, body } = await one.call('POST', '/auth/refresh', {
      body: {},
      headers: { 'sec-fetch-site': 'same-origin' },
    })
    expect([status, body.code]).to.deep.equal([401, 'token_missing'])
    expect(await isIn((await refreshed(held.refresh_token)).token)).to.equal(true)
  })

  it('is not to be had from the database: it has hashes and nonces alone', async () => {
    const held = await login()
    const next = await refreshed(held.refresh_token)
    const { rows } = await sql.query('select t::text as row from refresh_tokens t')
    const stored = rows.map(({ row }) => row).join('\n')
    for (const token of [held.refresh_token, next.refresh_token]) {
      expect(stored).to.not.include(token)
      expect(stored).to.not.include(Buffer.from(token, 'base64url').toString('hex'))
      expect(stored).to.not.include(Buffer.from(token).toString('hex'))
      expect(one.logged()).to.not.include(token)
    }
  })

  it('takes a new role and name with its next token', async () => {
    const user = await one.newUser()
    const held = await login(user)
    await sql.query(`update users set email = 'moved-' || email where id = $1`, [user.id])
    const { token } = await refreshed(held.refresh_token)
    expect((jwt.decode(token) as jwt.JwtPayload).email).to.match(/^moved-/)
  })

  const refreshAllAtOnce = async () => {
    now = NOON
    const sessions: Tokens[] = []
    while (sessions.length < 50) sessions.push(await login())
    const replayed = new Set([0, 1, 2].map((n) => n * 16 + Math.floor(Math.random() * 16)))
    for (const index of replayed) {
      const { refresh_token } = sessions[index] as Tokens
      await refreshed(refresh_token)
    }
    now += 60 * SECOND
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, n) => {
        const { refresh_token } = sessions[n % 50] as Tokens
        return refresh(refresh_token, n % 2 === 0 ? one : two)
      }),
    )
    for (const [index, session] of sessions.entries()) {
      const own = answers.filter((_, n) => n % 50 === index)
      const sid = sidOf(session.token)
      const { rows } = await sql.query(
        `select count(*) filter (where t.used_at is null) as valid, s.ended_at
         from sessions s join refresh_tokens t on t.session_id = s.id where s.id = $1 group by s.id`,
        [sid],
      )
      if (replayed.has(index)) {
        expect(own.map(({ status }) => status)).to.deep.equal([401, 401, 401, 401])
        expect(rows[0].ended_at).to.not.equal(null)
        continue
      }
      expect(own.map(({ status }) => status)).to.deep.equal([200, 200, 200, 200])
      expect(new Set(own.map(({ body }) => body.refresh_token)).size).to.equal(1)
      expect(rows[0]).to.deep.include({ valid: '1', ended_at: null })
      await refreshed(own[0]?.body.refresh_token, two)
    }
  }

  it('keeps one valid token when 200 refreshes of 50 sessions come at once, and ends only those replayed', async function () {
    this.timeout(60_000 * ROUNDS)
    for (let round = 0; round < ROUNDS; round++) await refreshAllAtOnce()
  })
})

describe('A step-up', () => {
  let now = NOON
  let system: System

  before(async () => {
    system = await startSystem({}, () => new Date(now))
  })
  afterEach(() => {
    now = NOON
  })
  after(() => system.stop())

  it('gives a token that says when the caller proved who they are, and so does each refresh', async () => {
    const { username, password } = await system.newUser()
    const body = { username, password }
    const session = (await system.call('POST', '/auth/login', { body })).body
    now += 20 * 60 * SECOND
    const stepped = await system.call('POST', '/auth/step-up', {
      token: session.token,
      body: { password },
    })
    expect(stepped.status).to.equal(200)
    const proof = { auth_time: now / 1000, amr: ['pwd'] }
    expect(jwt.decode(stepped.body.token)).to.deep.include({ ...proof, sid: sidOf(session.token) })
    now += 60 * SECOND
    const { refresh_token } = session
    const later = await system.call('POST', '/auth/refresh', { body: { refresh_token } })
    expect(jwt.decode(later.body.token)).to.deep.include(proof)
  })

  it('refuses a wrong password, on record, and leaves the session as it was', async () => {
    const { username, token } = await system.newUser()
    const { status, body } = await system.call('POST', '/auth/step-up', {
      token,
      body: { password: 'not the password' },
    })
    expect([status, body.code]).to.deep.equal([403, 'wrong_password'])
    const sql = new pg.Client(system.database.url)
    await sql.connect()
    const { rows } = await sql
      .query('select type from security_events where username = $1 order by id', [username])
      .finally(() => sql.end())
    expect(rows.at(-1)).to.deep.equal({ type: 'step_up_failed' })
    expect((await system.call('GET', '/auth/me', { token })).status).to.equal(200)
  })
})
