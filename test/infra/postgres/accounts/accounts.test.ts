import { randomBytes, randomUUID } from 'node:crypto'
import { expect } from 'chai'
import pg from 'pg'
import { AppError } from '../../../../src/app/errors.ts'
import type { Credentials, NewUser, RequestContext } from '../../../../src/app/ports/accounts.ts'
import { roles } from '../../../../src/app/roles.ts'
import { postgresLoginAttempts } from '../../../../src/infra/postgres/accounts/login-attempts.ts'
import { postgresSecurityEvents } from '../../../../src/infra/postgres/accounts/security-events.ts'
import { postgresSessions } from '../../../../src/infra/postgres/accounts/sessions.ts'
import { postgresUsers } from '../../../../src/infra/postgres/accounts/users.ts'
import { type Database, openDatabase } from '../../../../src/infra/postgres/connection/database.ts'
import { silent } from '../../../support/log.ts'
import { type TestDatabase, testDatabase } from '../../../support/postgres.ts'

const NOW = new Date('2026-11-21T12:00:00.000Z')
const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE

const at = (ms: number) => new Date(NOW.getTime() + ms)
const requestContext = (now = NOW): RequestContext => ({
  request_id: 'request-1',
  ip: '192.0.2.7',
  user_agent: 'mocha',
  now,
})

describe('Accounts in PostgreSQL', () => {
  let database: TestDatabase
  let sql: pg.Client
  let db: Database
  let users: ReturnType<typeof postgresUsers>
  let sessions: ReturnType<typeof postgresSessions>
  let attempts: ReturnType<typeof postgresLoginAttempts>

  before(async () => {
    database = await testDatabase()
    sql = new pg.Client(database.url)
    await sql.connect()
    db = openDatabase({ ...database.config, role: 'tasktrail_auth', log: silent })
    users = postgresUsers(db)
    sessions = postgresSessions(db, silent)
    attempts = postgresLoginAttempts(db)
  })
  after(async () => {
    await db.close()
    await sql.end()
    await database.drop()
  })

  const rows = async (text: string, values: unknown[] = []) => (await sql.query(text, values)).rows
  const newUser = (facts: Partial<NewUser> = {}): NewUser => {
    const username = `u${randomUUID().slice(0, 18)}`
    return { username, email: `${username}@example.com`, password_hash: 'hash', ...facts }
  }
  const added = async (): Promise<Credentials> => {
    const { id } = await users.add(newUser(), requestContext())
    return (await users.find(id)) as Credentials
  }
  const begun = async (credentials: Credentials, now = NOW): Promise<string> => {
    const id = randomUUID()
    const expires_at = new Date(now.getTime() + 60 * MINUTE)
    const proof = { amr: ['pwd'], refresh_hash: randomBytes(32) } as const
    await sessions.begin({ id, expires_at, ...proof }, credentials, requestContext(now))
    return id
  }
  const code = (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => 'done',
      (error) => (error instanceof AppError ? error.code : error.message),
    )

  describe('Users', () => {
    it('have one username each, whatever its letter case, however many race for it', async () => {
      const name = `Race-${randomUUID().slice(0, 8)}`
      const racers = Array.from({ length: 10 }, (_, index) => {
        const username = index % 2 ? name.toUpperCase() : name
        return code(users.add(newUser({ username }), requestContext()))
      })
      const outcomes = await Promise.all(racers)
      expect(outcomes.filter((outcome) => outcome === 'done')).to.have.length(1)
      expect(outcomes.filter((outcome) => outcome === 'username_taken')).to.have.length(9)
    })

    it('may give the same email, until it is confirmed', async () => {
      const email = `${randomUUID().slice(0, 8)}@x.example`
      const [one, two] = [
        await users.add(newUser({ email }), requestContext()),
        await users.add(newUser({ email: email.toUpperCase() }), requestContext()),
      ]
      const confirm = 'update users set email_confirmed_at = now() where id = $1'
      await rows(confirm, [one.id])
      const again = await rows(confirm, [two.id]).catch((error) => error.constraint)
      expect(again).to.equal('users_confirmed_email_key')
    })

    it('are found by an email in any letter case once it is confirmed, and not before', async () => {
      const { user } = await added()
      expect(await users.findByLogin(user.email)).to.equal(null)
      await rows('update users set email_confirmed_at = now() where id = $1', [user.id])
      expect((await users.findByLogin(user.email.toUpperCase()))?.user).to.deep.equal(user)
    })

    it('are found by their name in any letter case', async () => {
      const { user } = await added()
      expect((await users.findByUsername(user.username.toUpperCase()))?.user).to.deep.equal(user)
      expect(await users.findByLogin('nobody-at-all')).to.equal(null)
      expect(await users.findByLogin('%')).to.equal(null)
    })

    it('change a password once when two changes race', async () => {
      const credentials = await added()
      const changes = ['one', 'two', 'three'].map((hash) =>
        users.changePassword(credentials, hash, requestContext()),
      )
      expect((await Promise.all(changes)).filter(Boolean)).to.have.length(1)
      const changed = (await users.find(credentials.user.id)) as Credentials
      expect(changed.credentials_version).to.equal(credentials.credentials_version + 1)
    })

    it('keep a password that was changed while the old one was hashed again', async () => {
      const credentials = await added()
      await users.changePassword(credentials, 'new', requestContext())
      await users.rehash(credentials, 'the old one again')
      expect((await users.find(credentials.user.id))?.password_hash).to.equal('new')
    })

    it('have none but the three roles', async () => {
      const { user } = await added()
      const root = roles(users).grant(user.username, 'root' as 'user', requestContext())
      expect(await code(root)).to.match(/users_role_check/)
      expect((await users.find(user.id))?.user.role).to.equal('user')
    })

    it('get no role when there is no such user, and nothing is recorded', async () => {
      const { grant } = roles(users)
      expect(await grant('nobody-at-all', 'admin', requestContext())).to.equal(null)
      const found = await rows(`select from security_events where username = 'nobody-at-all'`)
      expect(found).to.have.length(0)
    })

    it('are not there without their event', async () => {
      await sql.query(`
        create function refuse_all() returns trigger language plpgsql as
          $$ begin raise exception 'no more events'; end $$;
        create trigger refused before insert on security_events execute function refuse_all()`)
      const { username, ...rest } = newUser()
      expect(await code(users.add({ username, ...rest }, requestContext()))).to.equal(
        'no more events',
      )
      await sql.query('drop trigger refused on security_events; drop function refuse_all')
      expect(await users.findByLogin(username)).to.equal(null)
    })
  })

  describe('Sessions', () => {
    const lastUse = async (id: string): Promise<Date> =>
      (await rows('select last_used_at from sessions where id = $1', [id]))[0].last_used_at

    it('are read in one query, each with its own user, and noted in one more', async () => {
      const [ann, bob] = [await added(), await added()]
      const [one, two, gone, old] = [
        await begun(ann),
        await begun(bob),
        await begun(bob),
        await begun(ann, at(-31 * DAY)),
      ]
      await sessions.end(bob.user.id, gone, 'logged_out', requestContext())
      const asked = [two, gone, randomUUID(), one, old, two]
      const used = await sessions.use(asked, at(2 * MINUTE))
      expect([...used.keys()]).to.have.members([one, two, old])
      expect(used.get(one)).to.deep.include({ expired: false })
      expect(used.get(one)?.user.username).to.equal(ann.user.username)
      expect(used.get(two)?.user.username).to.equal(bob.user.username)
      expect(used.get(old)?.expired).to.equal(true)
      expect([await lastUse(one), await lastUse(two)]).to.deep.equal([
        at(2 * MINUTE),
        at(2 * MINUTE),
      ])
      expect(await sessions.use([], NOW)).to.deep.equal(new Map())
    })

    it('do not wait for one whose row somebody is changing, and note the others', async () => {
      const [held, free] = [await begun(await added()), await begun(await added())]
      await sql.query('begin')
      await sql.query('update sessions set ip = ip where id = $1', [held])
      const used = await sessions.use([held, free], at(2 * MINUTE))
      await sql.query('rollback')
      expect([...used.keys()]).to.have.members([held, free])
      expect([await lastUse(held), await lastUse(free)]).to.deep.equal([NOW, at(2 * MINUTE)])
    })

    it('note their use once a minute, however many requests come at once', async () => {
      await sql.query(`
        create table touches (id uuid);
        create function note_touch() returns trigger language plpgsql security definer as
          $$ begin insert into touches values (new.id); return new; end $$;
        create trigger noted after update on sessions for each row execute function note_touch()`)
      const id = await begun(await added())
      const touches = async () => (await rows('select from touches where id = $1', [id])).length
      const use = (ms: number) => sessions.use([id], at(ms))
      await Promise.all(Array.from({ length: 20 }, (_, n) => use(MINUTE - n)))
      expect(await touches()).to.equal(0)
      await Promise.all(Array.from({ length: 20 }, (_, n) => use(MINUTE + 1 + n)))
      expect(await touches()).to.equal(1)
      await use(3 * MINUTE)
      expect(await touches()).to.equal(2)
      expect(await lastUse(id)).to.deep.equal(at(3 * MINUTE))
      await sql.query(
        'drop trigger noted on sessions; drop function note_touch; drop table touches',
      )
    })

    it('are good though their use cannot be noted', async () => {
      const id = await begun(await added())
      await sql.query(`
        create function refuse_all() returns trigger language plpgsql as
          $$ begin raise exception 'the disk is full'; end $$;
        create trigger refused before update on sessions for each row execute function refuse_all()`)
      const used = await code(sessions.use([id], at(2 * MINUTE)))
      await sql.query('drop trigger refused on sessions; drop function refuse_all')
      expect(used).to.equal('done')
      expect(await lastUse(id)).to.deep.equal(NOW)
    })

    it('that begin on a password which has changed meanwhile are over at once', async () => {
      const credentials = await added()
      await users.changePassword(credentials, 'new', requestContext())
      const id = await begun(credentials)
      expect((await sessions.use([id], NOW)).size).to.equal(0)
      expect(await sessions.ofUser(credentials.user.id, NOW)).to.deep.equal([])
      const { id: user_id } = credentials.user
      expect(await sessions.end(user_id, id, 'logged_out', requestContext())).to.equal(false)
    })

    it('end once, and are recorded once, however many requests end them', async () => {
      const { user, ...credentials } = await added()
      const id = await begun({ user, ...credentials })
      const end = () => sessions.end(user.id, id, 'session_ended', requestContext())
      const ends = await Promise.all(Array.from({ length: 8 }, end))
      expect(ends.filter(Boolean)).to.have.length(1)
      const events = await rows(
        `select type from security_events where session_id = $1 and type = 'session_ended'`,
        [id],
      )
      expect(events).to.have.length(1)
    })

    it('of others do not end', async () => {
      const [owner, other] = [await added(), await added()]
      const id = await begun(owner)
      expect(await sessions.end(other.user.id, id, 'session_ended', requestContext())).to.equal(
        false,
      )
      expect((await sessions.use([id], NOW)).has(id)).to.equal(true)
    })
  })

  describe('Login attempts', () => {
    it('are forgotten after a day, a few with every try, so that none takes long', async () => {
      await sql.query('delete from login_attempts')
      await sql.query(
        `insert into login_attempts (account, ip, tries, last_try_at)
         select 'old' || n, '192.0.2.7', 1, $1 from generate_series(1, 25) n`,
        [at(-DAY - 1)],
      )
      const old = async () =>
        Number(
          (await rows(`select count(*) from login_attempts where account like 'old%'`))[0].count,
        )
      await attempts.begin('young', '192.0.2.7', NOW)
      expect(await old()).to.equal(15)
      await attempts.begin('young', '192.0.2.7', NOW)
      await attempts.begin('old1', '192.0.2.7', NOW)
      await attempts.begin('young', '192.0.2.7', NOW)
      const left = await rows('select account, tries from login_attempts order by 1')
      expect(left).to.deep.equal([
        { account: 'old1', tries: 1 },
        { account: 'young', tries: 3 },
      ])
    })

    it('begin anew on an account whose own last one was days ago', async () => {
      await sql.query(
        `insert into login_attempts (account, ip, tries, last_try_at) values ('back', '', 4, $1)`,
        [at(-2 * DAY)],
      )
      await attempts.begin('Back', '', NOW)
      const found = await rows(`select tries from login_attempts where account = 'back'`)
      expect(found).to.deep.equal([{ tries: 1 }])
    })

    it('do not wait for old ones that another try is about to forget', async () => {
      await sql.query(
        `insert into login_attempts (account, ip, tries, last_try_at) values ('held', '', 1, $1)`,
        [at(-2 * DAY)],
      )
      await sql.query('begin')
      await sql.query(`select from login_attempts where account = 'held' for update`)
      await attempts.begin('other', '192.0.2.7', NOW)
      await sql.query('rollback')
    })

    it('count again from where they were when one is taken back', async () => {
      const [account, ip] = [`a${randomUUID()}`, '192.0.2.8']
      for (let n = 0; n < 5; n++) await attempts.begin(account, ip, NOW)
      expect(await code(attempts.begin(account, ip, NOW))).to.equal('too_many_attempts')
      await attempts.withdraw(account, ip)
      await attempts.begin(account, ip, NOW)
      expect(await code(attempts.begin(account, ip, NOW))).to.equal('too_many_attempts')
    })
  })

  describe('Security events', () => {
    before(async () => {
      await postgresSecurityEvents(db).add(
        'login_failed',
        { user_id: 1, username: 'ann' },
        requestContext(),
      )
    })

    const CHANGES = [
      `update security_events set username = 'bob'`,
      'delete from security_events',
      'truncate security_events',
      'update security_events set id = default where false',
    ]
    for (const change of CHANGES) {
      it(`refuse "${change}", even from the superuser`, async () => {
        expect(await code(sql.query(change))).to.match(
          /security_events is append-only: \w+ refused/,
        )
      })

      it(`refuse "${change}" from the superuser as a replica too`, async () => {
        await sql.query('set session_replication_role = replica')
        const outcome = await code(sql.query(change))
        await sql.query('reset session_replication_role')
        expect(outcome).to.match(/append-only/)
      })

      it(`refuse "${change}" from auth-service`, async () => {
        const refused = code(db.query({ name: '', text: change }, []))
        expect(await refused).to.equal('permission denied for table security_events')
      })
    }

    it('cannot be read by auth-service', async () => {
      const read = db.query({ name: '', text: 'select username from security_events' }, [])
      expect(await code(read)).to.equal('permission denied for table security_events')
    })
  })

  describe('A connection', () => {
    it('with a role that does not exist says so', async () => {
      const nobody = openDatabase({ ...database.config, role: 'tasktrail_nobody', log: silent })
      const refused = nobody.query({ name: '', text: 'select 1' }, [])
      expect(await code(refused)).to.equal('role "tasktrail_nobody" does not exist')
      expect(await nobody.ping()).to.equal(false)
      await nobody.close()
    })
  })
})
