import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import jwt from 'jsonwebtoken'
import pg from 'pg'
import { giveRole } from '../support/roles.ts'
import { type Answer, type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>

const NOON = Date.parse('2026-11-29T12:00:00.000Z')
const MINUTE = 60_000

const sidOf = (token: string): string => (jwt.decode(token) as jwt.JwtPayload).sid
const outcome = ({ status, body }: Answer) => [status, body.code]

describe('The administration of users', () => {
  let now = NOON
  let one: System
  let two: System
  let sql: pg.Client
  let root: User

  before(async () => {
    one = await startSystem({}, () => new Date(now))
    two = await startSystem({}, () => new Date(now), one.database)
    sql = new pg.Client(one.database.url)
    await sql.connect()
    root = await newAdmin()
  })
  afterEach(() => {
    now = NOON
  })
  after(async () => {
    await sql.end()
    await two.stop()
    await one.stop()
  })

  const newAdmin = async (): Promise<User> => {
    const user = await one.newUser()
    await giveRole(sql, user.id, 'admin')
    return user
  }
  const ask = (method: string, path: string, body?: unknown, by = root) =>
    one.call(method, path, { token: by.token, body })
  const login = ({ username, password }: Pick<User, 'username' | 'password'>, system = one) =>
    system.call('POST', '/auth/login', { body: { username, password } })
  const lock = ({ id }: User, by = root) =>
    ask('POST', `/auth/users/${id}/lock`, { reason: 'was hacked' }, by)
  const unlock = ({ id }: User) => ask('POST', `/auth/users/${id}/unlock`, {})
  const recordOf = async (type: string, user: User) => {
    const text = `select details from security_events where type = $1 and user_id = $2 order by id`
    return (await sql.query(text, [type, user.id])).rows.map(({ details }) => details)
  }

  describe('The list', () => {
    const list = async (
      query: string,
    ): Promise<{ users: { id: number }[]; next: string | null }> => {
      const { status, body } = await ask('GET', `/auth/users?${query}`)
      expect(status, JSON.stringify(body)).to.equal(200)
      return { users: body.users, next: body.next_cursor }
    }
    const ids = async (query: string): Promise<number[]> =>
      (await list(query)).users.map(({ id }) => id)
    const register = async (username: string, email: string): Promise<number> => {
      const body = { username, email, password: `pw ${randomUUID()}` }
      return (await one.call('POST', '/auth/register', { body })).body.user.id
    }

    it('shows who there is, with what is known of each, and nothing of their passwords', async () => {
      const ann = await one.newUser()
      const { users } = await list('limit=1')
      expect(users[0]).to.deep.equal({
        id: ann.id,
        username: ann.username,
        email: `${ann.username}@example.com`,
        role: 'user',
        created_at: new Date(NOON).toISOString(),
        locked: false,
        locked_at: null,
        lock_reason: null,
        last_login_at: new Date(NOON).toISOString(),
      })
    })

    it('finds by any part of a username or an email, in whatever letter case', async () => {
      const key = `q${randomUUID().slice(0, 8)}`
      const by = [
        await register(`${key}.Miller`, 'a@example.com'),
        await register('zz_100', `Post.${key}@Somewhere.example`),
      ]
      expect(await ids(`q=${key.toUpperCase()}`)).to.deep.equal(by.toReversed())
      expect(await ids(`q=${key}.MIL`)).to.deep.equal([by[0]])
      expect(await ids(`q=post.${key}%40s`)).to.deep.equal([by[1]])
      expect(await ids(`q=${key}x`)).to.deep.equal([])
      expect(await ids('q=z_')).to.include(by[1] ?? 0)
    })

    it('takes what stands for anything in a pattern as it is', async () => {
      await one.newUser()
      for (const q of ['%25', '%25%25%25', '___', '%5C', "'", 'a%25b', '%22', '{}']) {
        expect(await ids(`q=${q}&limit=1`), q).to.deep.equal([])
      }
    })

    it('filters by role and by lock', async () => {
      const [ann, bob] = [await one.newUser(), await newAdmin()]
      await lock(ann)
      expect(await ids('locked=true'))
        .to.include(ann.id)
        .and.not.include(bob.id)
      expect(await ids('locked=false'))
        .to.include(bob.id)
        .and.not.include(ann.id)
      expect(await ids('role=admin'))
        .to.include(bob.id)
        .and.not.include(ann.id)
      expect(await ids(`role=user&locked=true&q=${ann.username}`)).to.deep.equal([ann.id])
    })

    it('comes in pages that lose nobody, whoever registers meanwhile', async () => {
      const key = `p${randomUUID().slice(0, 8)}`
      const registered: number[] = []
      for (let n = 0; n < 5; n++) registered.push(await register(`${key}${n}`, `${key}${n}@x.io`))
      const seen: number[] = []
      for (let query = `q=${key}&limit=2`; ; ) {
        const { users, next } = await list(query)
        seen.push(...users.map(({ id }) => id))
        if (next === null) break
        if (seen.length === 2) await register(`${key}late`, `${key}late@x.io`)
        query = `q=${key}&limit=2&cursor=${next}`
      }
      expect(seen).to.deep.equal(registered.toReversed())
      const wrong = await ask('GET', '/auth/users?cursor=nonsense')
      expect(wrong.body.code).to.equal('validation_failed')
    })

    it('is on record before it is answered: who looked, and for whom', async () => {
      const admin = await newAdmin()
      const ann = await one.newUser()
      await ask('GET', '/auth/users?q=ann&role=user', undefined, admin)
      await ask('GET', `/auth/users/${ann.id}`, undefined, admin)
      await ask('GET', `/auth/users/${ann.id}/sessions`, undefined, admin)
      expect(await recordOf('users_viewed', admin)).to.deep.equal([
        { q: 'ann', role: 'user', limit: 50 },
        { user_id: ann.id },
        { user_id: ann.id, sessions: true },
      ])
    })

    it('shows nothing if that cannot be recorded', async () => {
      await sql.query(`
        create function refuse_look() returns trigger language plpgsql as
          $$ begin raise exception 'the disk is full'; end $$;
        create trigger refused before insert on security_events for each row
          when (new.type = 'users_viewed') execute function refuse_look()`)
      try {
        for (const path of ['', `/${root.id}`, `/${root.id}/sessions`]) {
          expect((await ask('GET', `/auth/users${path}`)).status, path).to.equal(500)
        }
      } finally {
        await sql.query('drop trigger refused on security_events; drop function refuse_look')
      }
    })
  })

  describe('A locked account', () => {
    /** What each way in says, on both instances of both services. */
    const waysIn = async (token: string): Promise<string[]> => {
      const answers = await Promise.all(
        [one, two].flatMap((system) => [
          system.call('GET', '/auth/me', { token }),
          system.call('GET', '/tasks', { token }),
        ]),
      )
      return [...new Set(answers.map(({ status, body }) => `${status} ${body.code ?? 'in'}`))]
    }

    it('has no session any more, anywhere, from the answer on', async () => {
      const ann = await one.newUser()
      const session = (await login(ann, two)).body
      expect(await waysIn(session.token)).to.deep.equal(['200 in'])
      const { status, body } = await lock(ann)
      expect(status).to.equal(200)
      expect(body.user).to.include({ id: ann.id, locked: true, lock_reason: 'was hacked' })
      expect(await waysIn(session.token)).to.deep.equal(['401 session_ended'])
      expect(await waysIn(ann.token)).to.deep.equal(['401 session_ended'])
      const { refresh_token } = session
      const refreshed = await two.call('POST', '/auth/refresh', { body: { refresh_token } })
      expect(outcome(refreshed)).to.deep.equal([401, 'session_ended'])
    })

    it('says so only to those who know the password, and that is on record', async () => {
      const ann = await one.newUser()
      await lock(ann)
      const wrong = await login({ ...ann, password: 'a wrong password' })
      const unknown = await login({ username: 'nobody-of-that-name', password: 'x' })
      const { request_id: _, ...said } = wrong.body
      const { request_id: __, ...saidOfNobody } = unknown.body
      expect([wrong.status, said]).to.deep.equal([unknown.status, saidOfNobody])
      expect(outcome(await login(ann))).to.deep.equal([403, 'account_locked'])
      expect(await recordOf('login_failed', ann)).to.have.length(2)
    })

    it('lets its user in again when it is unlocked, and the sessions of before stay ended', async () => {
      const ann = await one.newUser()
      await lock(ann)
      const { status, body } = await unlock(ann)
      expect(status).to.equal(200)
      expect(body.user).to.include({ locked: false, locked_at: null, lock_reason: null })
      expect(await waysIn(ann.token)).to.deep.equal(['401 session_ended'])
      expect((await login(ann)).status).to.equal(200)
    })

    it('is on record: by whom, and why', async () => {
      const ann = await one.newUser()
      await lock(ann)
      await ask('POST', `/auth/users/${ann.id}/unlock`, { reason: 'it was a mistake' })
      expect(await recordOf('account_locked', ann)).to.deep.equal([
        { by: root.id, reason: 'was hacked' },
      ])
      expect(await recordOf('account_unlocked', ann)).to.deep.equal([
        { by: root.id, reason: 'it was a mistake' },
      ])
    })

    it('stays as it is when it is locked or unlocked once more, and that is not recorded', async () => {
      const ann = await one.newUser()
      await lock(ann)
      const again = await ask('POST', `/auth/users/${ann.id}/lock`, { reason: 'once more' })
      expect(again.body.user).to.include({ lock_reason: 'was hacked' })
      await unlock(ann)
      expect((await unlock(ann)).status).to.equal(200)
      expect(await recordOf('account_locked', ann)).to.have.length(1)
      expect(await recordOf('account_unlocked', ann)).to.have.length(1)
    })

    it('has no session that was under way when it was locked', async () => {
      const ann = await one.newUser()
      const [locked, ...logins] = await Promise.all([
        lock(ann),
        ...Array.from({ length: 5 }, () => login(ann)),
      ])
      expect(locked.status).to.equal(200)
      for (const { status, body } of logins) {
        if (status !== 200) expect(body.code).to.equal('account_locked')
        else expect(await waysIn(body.token)).to.deep.equal(['401 session_ended'])
      }
    })

    it('is never one’s own', async () => {
      await newAdmin()
      expect(outcome(await lock(root))).to.deep.equal([409, 'own_account'])
      expect((await login(root)).status).to.equal(200)
    })

    it('is never that of the last admin, whoever locks whom at the same moment', async () => {
      for (let round = 0; round < 5; round++) {
        const admins = [await newAdmin(), await newAdmin()]
        const others = `select id from users where role = 'admin' and id <> all ($1)`
        const { rows } = await sql.query(others, [admins.map(({ id }) => id)])
        for (const { id } of rows) await giveRole(sql, Number(id), 'user')
        const [a, b] = admins as [User, User]
        const answers = await Promise.all([lock(a, b), lock(b, a)])
        const codes = answers.map(({ status, body }) => body.code ?? String(status))
        expect(codes.toSorted()[0], codes.join()).to.equal('200')
        expect(codes.toSorted()[1]).to.be.oneOf(['admins_only', 'session_ended'])
        const left = await sql.query(
          `select id from users where role = 'admin' and locked_at is null`,
        )
        expect(left.rows).to.have.length(1)
      }
      await giveRole(sql, root.id, 'admin')
    })

    it('leaves an admin who can log in: the role of the last such one stays', async () => {
      const other = await newAdmin()
      const others = `select id from users where role = 'admin' and id <> all ($1)`
      const { rows } = await sql.query(others, [[root.id, other.id]])
      for (const { id } of rows) await giveRole(sql, Number(id), 'user')
      await lock(other)
      const demoted = await ask('PUT', `/auth/users/${root.id}/role`, { role: 'user' })
      expect(outcome(demoted)).to.deep.equal([409, 'last_admin'])
      await unlock(other)
      expect((await ask('PUT', `/auth/users/${root.id}/role`, { role: 'user' })).status).to.equal(
        200,
      )
      await giveRole(sql, root.id, 'admin')
    })

    it('needs a reason, and a user who is there', async () => {
      const ann = await one.newUser()
      for (const body of [{}, { reason: '' }, { reason: ' ' }, { reason: 'x'.repeat(501) }]) {
        const { status } = await ask('POST', `/auth/users/${ann.id}/lock`, body)
        expect(status, JSON.stringify(body).slice(0, 40)).to.equal(400)
      }
      for (const [method, path, body] of [
        ['GET', '', undefined],
        ['GET', '/sessions', undefined],
        ['DELETE', '/sessions', undefined],
        ['POST', '/lock', { reason: 'x' }],
        ['POST', '/unlock', {}],
      ] as const) {
        const answer = await ask(method, `/auth/users/999999999${path}`, body)
        expect(outcome(answer), `${method} ${path}`).to.deep.equal([404, 'user_not_found'])
      }
    })
  })

  describe('The sessions of a user', () => {
    it('are shown in words', async () => {
      const ann = await one.newUser()
      const headers = {
        'user-agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0',
        'x-forwarded-for': '141.20.5.1',
      }
      const { username, password } = ann
      await one.call('POST', '/auth/login', { body: { username, password }, headers })
      now += MINUTE
      const { body } = await ask('GET', `/auth/users/${ann.id}/sessions`)
      expect(body.sessions).to.have.length(2)
      const found = body.sessions.find(({ place }: { place: string }) => place === 'Germany')
      expect(found).to.include({ device: 'Firefox on Linux', ip: '141.20.5.1' })
    })

    it('end one by one, and all together; each is on record, and of nobody else', async () => {
      const [ann, bob] = [await one.newUser(), await one.newUser()]
      const more = [(await login(ann)).body.token, (await login(ann, two)).body.token]
      const sessions = `/auth/users/${ann.id}/sessions`
      const lives = async (token: string) =>
        (await two.call('GET', '/auth/me', { token })).status === 200

      const foreign = await ask('DELETE', `${sessions}/${sidOf(bob.token)}`)
      expect(outcome(foreign)).to.deep.equal([404, 'session_not_found'])
      expect((await ask('DELETE', `${sessions}/${sidOf(ann.token)}`)).status).to.equal(204)
      expect(await lives(ann.token)).to.equal(false)
      expect(await lives(more[0])).to.equal(true)
      const twice = await ask('DELETE', `${sessions}/${sidOf(ann.token)}`)
      expect(outcome(twice)).to.deep.equal([404, 'session_not_found'])

      expect((await ask('DELETE', sessions)).status).to.equal(204)
      expect(await Promise.all(more.map(lives))).to.deep.equal([false, false])
      expect(await lives(bob.token)).to.equal(true)
      expect((await login(ann)).status).to.equal(200)
      expect(await recordOf('session_ended', ann)).to.deep.equal(
        Array.from({ length: 3 }, () => ({ by: root.id })),
      )
    })
  })

  it('asks for a recent proof before it changes anything', async () => {
    const ann = await one.newUser()
    now += 11 * MINUTE
    for (const [method, path, body] of [
      ['DELETE', '/sessions', undefined],
      ['DELETE', `/sessions/${sidOf(ann.token)}`, undefined],
      ['POST', '/lock', { reason: 'x' }],
      ['POST', '/unlock', {}],
    ] as const) {
      const answer = await ask(method, `/auth/users/${ann.id}${path}`, body)
      expect(outcome(answer), `${method} ${path}`).to.deep.equal([403, 'step_up_required'])
    }
    expect((await ask('GET', `/auth/users/${ann.id}`)).body.user.locked).to.equal(false)
  })
})
