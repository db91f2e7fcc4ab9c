import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import pg from 'pg'
import { type Mailbox, openMailbox } from '../support/mailbox.ts'
import { until } from '../support/processes.ts'
import { giveRole } from '../support/roles.ts'
import type { ReceivedMail } from '../support/smtp.ts'
import { type Answer, type System, startSystem } from '../support/system.ts'

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE
const NO_TOKEN = 'x'.repeat(43)

type User = {
  readonly id: number
  readonly username: string
  readonly email: string
  readonly password: string
  readonly token: string
}

const said = ({ status, body }: Answer): string =>
  `${status} ${body.code ?? body.status ?? ''}`.trim()

describe('An address and its mailbox', () => {
  let system: System
  let sql: pg.Client
  let mailbox: Mailbox
  let now = new Date('2026-11-29T12:00:00.000Z')
  const clock = () => now
  const pass = (ms: number) => {
    now = new Date(now.getTime() + ms)
  }

  before(async () => {
    system = await startSystem({ JWT_EXPIRATION: '86400', MAIL_LIMIT_PER_HOUR: '5' }, clock)
    sql = new pg.Client(system.database.url)
    await sql.connect()
    mailbox = await openMailbox(system.database, clock)
  })
  after(async () => {
    await mailbox.close()
    await sql.end()
    await system.stop()
  })

  const post = (path: string, body: unknown, token?: string) =>
    system.call('POST', path, { body, token })
  const login = (username: string, password: string) => post('/auth/login', { username, password })
  const register = (facts: object = {}) => {
    const username = `u${randomUUID().slice(0, 18)}`
    const password = 'a good long password'
    const body = { username, email: `${username}@example.com`, password, ...facts }
    return post('/auth/register', body)
  }
  const newUser = async (facts: object = {}): Promise<User> => {
    const { body } = await register(facts)
    const { id, username, email } = body.user
    const password = 'a good long password'
    const { token } = (await login(username, password)).body
    return { id, username, email, password, token }
  }
  /** One whose address is confirmed. */
  const confirmed = async (facts: object = {}): Promise<User> => {
    const user = await newUser(facts)
    const [mail] = (await mailbox.arrived()).filter(({ to }) => to === user.email)
    expect(said(await verify(mail))).to.equal('200 confirmed')
    return user
  }
  const verify = (mail?: ReceivedMail, kind = 'verify') =>
    post('/auth/email/verify', { token: mail?.links[kind] })
  const me = async ({ token }: User) => (await system.call('GET', '/auth/me', { token })).body.user
  const events = async ({ id }: User): Promise<string[]> => {
    const text = 'select type from security_events where user_id = $1 order by id'
    return (await sql.query(text, [id])).rows.map(({ type }) => type)
  }
  const lastRefusal = async () => {
    const text = `
      select details, user_id from security_events where type = 'link_refused' order by id desc limit 1`
    return (await sql.query(text)).rows[0]
  }

  describe('A new account', () => {
    it('gets a link to its address, which confirms it once', async () => {
      const user = await newUser()
      const [mail, another] = await mailbox.arrived()
      expect(another).to.equal(undefined)
      expect(mail).to.include({ to: user.email, subject: 'Confirm your address' })
      expect(mail?.text).to.include(`Hello ${user.username},`)
      expect(await me(user)).to.include({ email_confirmed: false })
      expect(said(await verify(mail))).to.equal('200 confirmed')
      expect(await me(user)).to.include({ email_confirmed: true })
      expect(await events(user)).to.deep.equal(['registered', 'login_succeeded', 'email_confirmed'])
      expect(said(await verify(mail))).to.equal('410 link_invalid')
      expect((await lastRefusal()).details).to.deep.equal({ link: 'verify', why: 'used' })
    })

    it('is told when and from where it was made', async () => {
      const body = {
        username: `u${randomUUID().slice(0, 8)}`,
        email: 'x@x.io',
        password: 'a good long one',
      }
      const headers = { 'user-agent': 'Some\tBrowser\u00e9 1.0', 'x-forwarded-for': '192.0.2.7' }
      await system.call('POST', '/auth/register', { body, headers })
      const [mail] = await mailbox.arrived()
      expect(mail?.text).to.include(
        ` When: ${now.toUTCString()}\n From: 192.0.2.7\n With: an unknown program\n`,
      )
    })

    it('has a day to confirm', async () => {
      const user = await newUser()
      const [mail] = await mailbox.arrived()
      pass(DAY)
      expect(said(await verify(mail))).to.equal('410 link_invalid')
      expect((await lastRefusal()).details).to.deep.equal({ link: 'verify', why: 'late' })
      expect(await me({ ...user, ...(await again(user)) })).to.include({ email_confirmed: false })
    })

    it('gets another link, which ends the one before', async () => {
      const user = await newUser()
      const [first] = await mailbox.arrived()
      expect((await post('/auth/email/verification', {}, user.token)).status).to.equal(202)
      const [second] = await mailbox.arrived()
      expect(said(await verify(first))).to.equal('410 link_invalid')
      expect(said(await verify(second))).to.equal('200 confirmed')
      await post('/auth/email/verification', {}, user.token)
      expect(await mailbox.arrived()).to.deep.equal([])
    })

    it('may ask for five mails an hour', async () => {
      const user = await newUser()
      const asked: string[] = []
      for (let n = 0; n < 6; n++) {
        asked.push(said(await post('/auth/email/verification', {}, user.token)))
      }
      expect(asked).to.deep.equal([...Array(5).fill('202'), '429 too_many_requests'])
      await mailbox.arrived()
    })

    it('logs in by its address once that is confirmed, in any letter case', async () => {
      const user = await newUser()
      const [mail] = await mailbox.arrived()
      expect(said(await login(user.email, user.password))).to.equal('401 invalid_credentials')
      await verify(mail)
      const { status, body } = await login(user.email.toUpperCase(), user.password)
      expect([status, body.user.username]).to.deep.equal([200, user.username])
    })

    it('leaves no address on record when one is mistyped', async () => {
      const typed = `${randomUUID()}@example.com`
      await login(typed, 'a good long password')
      const { rows } = await sql.query(`
        select username from security_events where type = 'login_failed' order by id desc limit 1`)
      expect(rows).to.deep.equal([{ username: null }])
    })
  })

  describe('An address that an account has confirmed', () => {
    it('gets word of another registration, and no link', async () => {
      const owner = await confirmed()
      const { status, body } = await register({ email: owner.email.toUpperCase() })
      expect(status).to.equal(201)
      const [mail] = await mailbox.arrived()
      expect(mail?.subject).to.equal('You already have an account')
      expect(mail?.to.toLowerCase()).to.equal(owner.email)
      expect(mail?.text).to.include(body.user.username).and.include(owner.username)
      expect(mail?.links).to.deep.equal({})
    })

    it('stays with the one of two who opened the mailbox first', async () => {
      const email = `${randomUUID()}@example.com`
      const [one, two] = [await newUser({ email }), await newUser({ email })]
      const mails = [...(await mailbox.arrived()), ...(await mailbox.arrived())]
      const of = (user: User) => mails.find(({ text }) => text.includes(`"${user.username}"`))
      expect(said(await verify(of(two)))).to.equal('200 confirmed')
      expect(said(await verify(of(one)))).to.equal('409 email_taken')
      expect((await me(two)).email_confirmed).to.equal(true)
      expect((await me(one)).email_confirmed).to.equal(false)
    })

    it('is confirmed by one of two links that are opened at once', async () => {
      const email = `${randomUUID()}@example.com`
      await newUser({ email })
      await newUser({ email })
      const mails = [...(await mailbox.arrived()), ...(await mailbox.arrived())]
      const answers = await Promise.all(mails.map((mail) => verify(mail)))
      expect(answers.map(said).toSorted()).to.deep.equal(['200 confirmed', '409 email_taken'])
    })

    it('gets three such mails an hour at most, whoever registers', async () => {
      const owner = await confirmed()
      const heard: ReceivedMail[] = []
      for (let n = 0; n < 5; n++) {
        await register({ email: owner.email })
        heard.push(...(await mailbox.arrived()))
      }
      // One of the four was its own.
      expect(heard).to.have.length(2)
      pass(61 * MINUTE)
      await register({ email: owner.email })
      expect(await mailbox.arrived()).to.have.length(1)
    })
  })

  const again = async ({ username, password }: User) => {
    const { token } = (await login(username, password)).body
    await mailbox.arrived()
    return { token }
  }

  describe('A forgotten password', () => {
    const ask = (email: string) => post('/auth/password/reset-request', { email })
    const reset = (token: string | undefined, new_password = 'another long password') =>
      post('/auth/password/reset', { token, new_password })
    const linkFor = async (user: User): Promise<string | undefined> => {
      await ask(user.email)
      const mails = await mailbox.arrived()
      return mails.find(({ to }) => to === user.email)?.links.reset
    }

    it('is set anew by a link to a confirmed address, which ends all sessions', async () => {
      const user = await confirmed()
      const link = await linkFor(user)
      expect((await reset(link)).status).to.equal(204)
      expect(said(await system.call('GET', '/auth/me', { token: user.token }))).to.equal(
        '401 session_ended',
      )
      expect(said(await login(user.username, user.password))).to.equal('401 invalid_credentials')
      expect((await login(user.username, 'another long password')).status).to.equal(200)
      const [mail] = await mailbox.arrived()
      expect(mail).to.include({ to: user.email, subject: 'Your password was set anew' })
      expect(await events(user)).to.include('password_reset')
    })

    it('is asked for alike, whoever is known', async () => {
      const user = await confirmed()
      const unconfirmed = await newUser()
      await mailbox.arrived()
      const shape = ({ status, headers, body }: Answer) => {
        return { status, body, headers: [...headers.keys()] }
      }
      const answers = [
        await ask(user.email),
        await ask(unconfirmed.email),
        await ask('nobody@example.com'),
      ].map(shape)
      expect(answers[0]?.status).to.equal(202)
      expect(answers[1]).to.deep.equal(answers[0])
      expect(answers[2]).to.deep.equal(answers[0])
      expect((await mailbox.arrived()).map(({ to }) => to)).to.deep.equal([user.email])
      const { rows } = await sql.query(`select from mails where address = 'nobody@example.com'`)
      expect(rows).to.deep.equal([])
    })

    it('is on record without the address that somebody typed', async () => {
      await ask('nobody@example.com')
      const { rows } = await sql.query(`
        select user_id, username, details from security_events
        where type = 'password_reset_requested' order by id desc limit 1`)
      expect(rows).to.deep.equal([{ user_id: null, username: null, details: {} }])
      await mailbox.arrived()
    })

    for (const [why, spoil] of [
      ['used', async (_: User, link?: string) => void (await reset(link))],
      ['late', async () => pass(30 * MINUTE)],
    ] as const) {
      it(`is not set by a link that is ${why}, and that is on record`, async () => {
        const user = await confirmed()
        const link = await linkFor(user)
        await spoil(user, link)
        expect(said(await reset(link))).to.equal('410 link_invalid')
        expect(await lastRefusal()).to.deep.equal({
          details: { link: 'reset', why },
          user_id: String(user.id),
        })
      })
    }

    it('is not set by a token that is none, nor by a link for something else', async () => {
      expect(said(await reset(NO_TOKEN))).to.equal('410 link_invalid')
      expect(await lastRefusal()).to.deep.equal({
        details: { link: null, why: 'unknown' },
        user_id: null,
      })
      const user = await newUser()
      const [mail] = await mailbox.arrived()
      expect(said(await reset(mail?.links.verify))).to.equal('410 link_invalid')
      expect((await lastRefusal()).details.why).to.equal('for something else')
      expect(said(await verify(mail))).to.equal('200 confirmed')
      expect((await login(user.username, user.password)).status).to.equal(200)
    })

    it('is not set by a link that another link, or another password, has ended', async () => {
      const user = await confirmed()
      const [first, second] = [await linkFor(user), await linkFor(user)]
      expect(said(await reset(first))).to.equal('410 link_invalid')
      const change = { current_password: user.password, new_password: 'changed in between' }
      const { status } = await system.call('PUT', '/auth/password', {
        token: user.token,
        body: change,
      })
      expect(status).to.equal(204)
      expect(said(await reset(second))).to.equal('410 link_invalid')
      expect((await lastRefusal()).details.why).to.equal('the account has changed')
      await mailbox.arrived()
    })

    it('is set by one of two that use the link at the same moment', async () => {
      const user = await confirmed()
      const link = await linkFor(user)
      const answers = await Promise.all(
        ['one', 'two', 'three'].map((n) => reset(link, `password ${n}`)),
      )
      const statuses = answers.map(({ status }) => status).toSorted()
      expect(statuses).to.deep.equal([204, 410, 410])
      await mailbox.arrived()
    })

    it('obeys the rules for new passwords, and keeps the link', async () => {
      const user = await confirmed()
      const link = await linkFor(user)
      const own = await reset(link, `${user.username}!`)
      expect(own.body.details).to.deep.equal([
        {
          field: 'new_password',
          message: 'New password must not be made of your username or email',
        },
      ])
      expect(said(await reset(link, 'password1'))).to.equal('400 validation_failed')
      expect((await reset(link)).status).to.equal(204)
    })

    it('is not set over one that its owner has just changed', async () => {
      const user = await confirmed()
      const link = await linkFor(user)
      const other = new pg.Client(system.database.url)
      await other.connect()
      try {
        await other.query('begin')
        const change = `update users set credentials_version = credentials_version + 1 where id = $1`
        await other.query(change, [user.id])
        const setting = reset(link)
        const waits = `select from pg_stat_activity where wait_event_type = 'Lock'
          and datname = current_database() and query like '%account_links set used_at%'`
        const isWaiting = async () => (await sql.query(waits)).rows.length > 0
        await until(isWaiting, 'nobody waits for the account')
        await other.query('commit')
        expect(said(await setting)).to.equal('410 link_invalid')
        expect((await login(user.username, user.password)).status).to.equal(200)
      } finally {
        await other.end()
      }
      await mailbox.arrived()
    })

    it('is not one of the last ones, for those whose last ones are remembered', async () => {
      const env = { PASSWORD_HISTORY: '2', PASSWORD_HISTORY_ROLES: 'user' }
      const strict = await startSystem(env, clock, system.database)
      const set = async (user: User, new_password: string) => {
        // Three links an hour are mailed.
        pass(61 * MINUTE)
        const body = { token: await linkFor(user), new_password }
        const answer = await strict.call('POST', '/auth/password/reset', { body })
        await mailbox.arrived()
        return answer.body.details?.[0].message ?? answer.status
      }
      try {
        const user = await confirmed()
        const again = 'New password must not be one of your last 2 passwords'
        expect(await set(user, user.password)).to.equal(again)
        expect(await set(user, 'another long password')).to.equal(204)
        expect(await set(user, user.password)).to.equal(again)
        expect(await set(user, 'a third long password')).to.equal(204)
        expect(await set(user, user.password)).to.equal(204)
        // As of an account that another provider has signed in to so far.
        await sql.query('update users set password_hash = null where id = $1', [user.id])
        expect(await set(user, 'the first of all passwords')).to.equal(204)
      } finally {
        await strict.stop()
      }
      await mailbox.arrived()
    })

    it('that was tried too often in vain is free again after it is set', async () => {
      const user = await confirmed()
      for (let n = 0; n < 5; n++) await login(user.username, 'a wrong password')
      expect(said(await login(user.username, user.password))).to.equal('429 too_many_attempts')
      await reset(await linkFor(user))
      expect((await login(user.username, 'another long password')).status).to.equal(200)
      await mailbox.arrived()
    })

    it('brings three mails an hour at most, and nobody learns that', async () => {
      const user = await confirmed()
      const heard: number[] = []
      for (let n = 0; n < 5; n++) {
        expect((await ask(user.email)).status).to.equal(202)
        heard.push((await mailbox.arrived()).length)
      }
      expect(heard).to.deep.equal([1, 1, 1, 0, 0])
    })

    it('confirms no address, and stays with the account when its address changes', async () => {
      const user = await confirmed()
      const link = await linkFor(user)
      const email = `new-${user.email}`
      await change(user, email)
      const mails = await mailbox.arrived()
      await verify(
        mails.find(({ to }) => to === user.email),
        'change-old',
      )
      await verify(
        mails.find(({ to }) => to === email),
        'change-new',
      )
      expect(said(await reset(link))).to.equal('410 link_invalid')
      await mailbox.arrived()
    })
  })

  const change = (user: User, email: string, password = user.password) =>
    system.call('PATCH', '/auth/me', { token: user.token, body: { email, password } })

  describe('A change of address', () => {
    const asked = async (user: User, email: string) => {
      expect((await change(user, email)).status).to.equal(200)
      const mails = await mailbox.arrived()
      const to = (address: string) => mails.find((mail) => mail.to === address)
      return { old: to(user.email), new: to(email) }
    }

    for (const order of [
      ['old', 'new'],
      ['new', 'old'],
    ] as const) {
      it(`needs both mailboxes: the ${order[0]} one and then the ${order[1]} one`, async () => {
        const user = await confirmed()
        const email = `new-${user.email}`
        const mails = await asked(user, email)
        expect(await me(user)).to.include({ email: user.email, pending_email: email })
        expect(said(await verify(mails[order[0]], `change-${order[0]}`))).to.equal('200 waiting')
        expect(await me(user)).to.include({ email: user.email, pending_email: email })
        expect(said(await verify(mails[order[1]], `change-${order[1]}`))).to.equal('200 confirmed')
        expect(await me(user)).to.include({ email, email_confirmed: true, pending_email: null })
        const notices = await mailbox.arrived()
        expect(notices.map(({ to, subject }) => `${to}: ${subject}`)).to.have.members([
          `${user.email}: Your address was changed`,
          `${email}: Your address was changed`,
        ])
        expect(said(await login(user.email, user.password))).to.equal('401 invalid_credentials')
        expect((await login(email, user.password)).status).to.equal(200)
      })
    }

    it('needs the new mailbox alone if the old one was never confirmed', async () => {
      const user = await newUser()
      await mailbox.arrived()
      const mails = await asked(user, `new-${user.email}`)
      expect(mails.old).to.equal(undefined)
      expect(said(await verify(mails.new, 'change-new'))).to.equal('200 confirmed')
      expect(await me(user)).to.include({ email: `new-${user.email}`, email_confirmed: true })
      expect((await mailbox.arrived()).map(({ to }) => to)).to.deep.equal([`new-${user.email}`])
    })

    it('is stopped at the old mailbox, and the owner is told', async () => {
      const user = await confirmed()
      const mails = await asked(user, `new-${user.email}`)
      await verify(mails.new, 'change-new')
      const { cancel: token } = mails.old?.links ?? {}
      expect((await post('/auth/email/cancel', { token })).status).to.equal(204)
      expect(said(await post('/auth/email/cancel', { token }))).to.equal('410 link_invalid')
      expect(said(await verify(mails.old, 'change-old'))).to.equal('410 link_invalid')
      expect(await me(user)).to.include({ email: user.email, pending_email: null })
      expect((await mailbox.arrived()).map(({ subject }) => subject)).to.deep.equal([
        'Your address stays',
      ])
    })

    it('waits for a day', async () => {
      const user = await confirmed()
      const mails = await asked(user, `new-${user.email}`)
      await verify(mails.new, 'change-new')
      pass(DAY)
      expect(said(await verify(mails.old, 'change-old'))).to.equal('410 link_invalid')
      const { token } = await again(user)
      expect(await me({ ...user, token })).to.include({ email: user.email, pending_email: null })
    })

    it('gives way to another one, whose links do nothing for the first', async () => {
      const user = await confirmed()
      const first = await asked(user, `one-${user.email}`)
      const second = await asked(user, `two-${user.email}`)
      expect(said(await verify(first.new, 'change-new'))).to.equal('410 link_invalid')
      expect(said(await verify(first.old, 'change-old'))).to.equal('410 link_invalid')
      await verify(second.old, 'change-old')
      expect(said(await verify(second.new, 'change-new'))).to.equal('200 confirmed')
      expect((await me(user)).email).to.equal(`two-${user.email}`)
      await mailbox.arrived()
    })

    it('to an address of another account is asked for like any other, and its owner is told', async () => {
      const owner = await confirmed()
      const user = await confirmed()
      const mails = await asked(user, owner.email)
      expect(mails.new).to.include({ subject: 'This address already has an account' })
      expect(mails.new?.links).to.deep.equal({})
      expect(said(await verify(mails.old, 'change-old'))).to.equal('200 waiting')
    })

    it('to an address that another account confirms meanwhile fails, for whoever holds the mailbox', async () => {
      const user = await confirmed()
      const email = `${randomUUID()}@example.com`
      const mails = await asked(user, email)
      await confirmed({ email })
      expect(said(await verify(mails.old, 'change-old'))).to.equal('200 waiting')
      expect(said(await verify(mails.new, 'change-new'))).to.equal('409 email_taken')
      expect((await me(user)).email).to.equal(user.email)
    })

    it('needs the password', async () => {
      const user = await confirmed()
      expect(said(await change(user, 'x@x.io', 'a wrong password'))).to.equal('403 wrong_password')
      expect(await events(user)).to.include('email_change_failed')
      expect(await mailbox.arrived()).to.deep.equal([])
    })

    it('needs the second factor too, if there is one', async () => {
      const user = await confirmed()
      await sql.query(
        `insert into factors (id, user_id, kind, name, secret, last_step, created_at)
          values (gen_random_uuid(), $1, 'totp', 'phone', '\\x00', 0, now())`,
        [user.id],
      )
      expect(said(await change(user, 'x@x.io'))).to.equal('403 step_up_required')
      expect(await mailbox.arrived()).to.deep.equal([])
    })
  })

  describe('A notice', () => {
    it('comes of a session from a device or a network that was not seen for 30 days', async () => {
      const user = await confirmed()
      const from = async (ip: string, agent: string) => {
        const { username, password } = user
        await system.call('POST', '/auth/login', {
          body: { username, password },
          headers: { 'x-forwarded-for': ip, 'user-agent': agent },
        })
        return (await mailbox.arrived()).map(({ subject }) => subject)
      }
      const NEW = ['A new sign-in']
      expect(await from('192.0.2.1', 'one')).to.deep.equal(NEW)
      expect(await from('192.0.2.1', 'one')).to.deep.equal([])
      expect(await from('192.0.2.2', 'one')).to.deep.equal(NEW)
      expect(await from('192.0.2.1', 'two')).to.deep.equal(NEW)
      expect(await from('192.0.2.2', 'two')).to.deep.equal([])
      expect(await from('2001:db8:1:2::1', 'one')).to.deep.equal(NEW)
      expect(await from('2001:db8:1:2:3::9', 'one')).to.deep.equal([])
      expect(await from('2001:db8:1:3::1', 'one')).to.deep.equal(NEW)
      expect(await from('fe80::1%eth0', 'one')).to.deep.equal(NEW)
      pass(31 * DAY)
      expect(await from('192.0.2.1', 'one')).to.deep.equal(NEW)
    })

    it('says in words where it was, and with what', async () => {
      const { username, password } = await confirmed()
      const agent = 'Mozilla/5.0 (Windows NT 10.0; rv:132.0) Gecko/20100101 Firefox/132.0'
      await system.call('POST', '/auth/login', {
        body: { username, password },
        headers: { 'x-forwarded-for': '141.20.5.1', 'user-agent': agent },
      })
      const [mail] = await mailbox.arrived()
      expect(mail?.text).to.include(' From: Germany, 141.20.5.1\n With: Firefox on Windows\n')
    })

    it('comes of a new username, and of what admins do, without where they were', async () => {
      const user = await confirmed()
      const admin = await newUser()
      await mailbox.arrived()
      await giveRole(sql, admin.id, 'admin')
      const username = `n${randomUUID().slice(0, 18)}`
      await system.call('PATCH', '/auth/me', { token: user.token, body: { username } })
      await post(`/auth/users/${user.id}/lock`, { reason: 'a secret reason' }, admin.token)
      await post(`/auth/users/${user.id}/unlock`, {}, admin.token)
      const mails = await mailbox.arrived()
      expect(mails.map(({ to, subject }) => [to, subject])).to.deep.equal([
        [user.email, 'Your username was changed'],
        [user.email, 'Your account was locked'],
        [user.email, 'Your account was unlocked'],
      ])
      for (const { text } of mails.slice(1)) {
        expect(text).to.not.match(/From:|With:|127\.0\.0\.1|secret/)
      }
    })

    it('of an erasure comes to the address that the account had, and nothing else of it stays', async () => {
      const user = await confirmed()
      await post('/auth/password/reset-request', { email: user.email })
      await mailbox.arrived()
      await login(user.email, 'a wrong password')
      // One is noted with the account, one was never looked at.
      await post('/auth/password/reset-request', { email: user.email })
      await change(user, `new-${user.email}`)
      const { status } = await system.call('DELETE', '/auth/me', {
        token: user.token,
        body: { password: user.password },
      })
      expect(status).to.equal(204)
      for (const table of ['mails', 'account_links', 'email_changes']) {
        const { rows } = await sql.query(`select from ${table} where user_id = $1`, [user.id])
        expect(rows, table).to.deep.equal([])
      }
      const left = `
        select kind as of from mails where address = $1
        union all select account from login_attempts where account = $1`
      expect((await sql.query(left, [user.email])).rows).to.deep.equal([{ of: 'account_erased' }])
      const mails = await mailbox.arrived()
      expect(mails.map(({ to, subject }) => [to, subject])).to.deep.equal([
        [user.email, 'Your account was erased'],
      ])
    })

    it('of an erasure goes to no address that was never confirmed', async () => {
      const user = await newUser()
      await mailbox.arrived()
      const body = { password: user.password }
      await system.call('DELETE', '/auth/me', { token: user.token, body })
      expect(await mailbox.arrived()).to.deep.equal([])
    })
  })
})
