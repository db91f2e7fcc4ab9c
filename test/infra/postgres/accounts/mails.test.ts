import { randomBytes, randomUUID } from 'node:crypto'
import { expect } from 'chai'
import pg from 'pg'
import { AppError } from '../../../../src/app/errors.ts'
import { MAIL_OF } from '../../../../src/app/mail-texts.ts'
import { giveUpOldMails, sendMails } from '../../../../src/app/mails.ts'
import type { Outbox } from '../../../../src/app/ports/mails.ts'
import {
  SECURITY_EVENT_TYPES,
  type SecurityEventType,
} from '../../../../src/app/security-event-types.ts'
import { smtpMailer } from '../../../../src/infra/mail/smtp.ts'
import { origins } from '../../../../src/infra/places/origins.ts'
import { postgresOutbox } from '../../../../src/infra/postgres/accounts/mails.ts'
import { type Database, openDatabase } from '../../../../src/infra/postgres/connection/database.ts'
import { silent } from '../../../support/log.ts'
import { type TestDatabase, testDatabase } from '../../../support/postgres.ts'
import { type Smtp, startSmtp } from '../../../support/smtp.ts'

const START = new Date('2026-11-29T12:00:00.000Z')
const MINUTE = 60_000
const HOUR = 60 * MINUTE

describe('The outbox of mails', () => {
  let database: TestDatabase
  let sql: pg.Client
  let db: Database
  let outbox: Outbox
  let smtp: Smtp
  let now = START
  const clock = () => now
  const pass = (ms: number) => {
    now = new Date(now.getTime() + ms)
  }

  before(async () => {
    database = await testDatabase()
    sql = new pg.Client(database.url)
    await sql.connect()
    db = openDatabase({ ...database.config, role: 'tasktrail_worker', log: silent })
    outbox = postgresOutbox(db)
  })
  beforeEach(async () => {
    now = START
    smtp = await startSmtp()
  })
  afterEach(async () => {
    await smtp.close()
    await sql.query('delete from mails')
  })
  after(async () => {
    await db.close()
    await sql.end()
    await database.drop()
  })

  const rows = async (text: string, values: unknown[] = []) => (await sql.query(text, values)).rows
  const newUser = async (): Promise<number> => {
    const name = `u${randomUUID().slice(0, 8)}`
    const [{ id }] = await rows(
      `insert into users (username, email, email_confirmed_at, password_hash, created_at, updated_at)
        values ($1, $2, now(), 'hash', now(), now()) returning id`,
      [name, `${name}@example.com`],
    )
    return Number(id)
  }
  const happens = (type: string, user_id: number, details = {}, session_id?: string) =>
    rows(
      `insert into security_events (type, user_id, username, session_id, ip, user_agent, details, occurred_at)
        values ($1, $2, 'ada', $3, '192.0.2.7', 'mocha', $4, $5)`,
      [type, user_id, session_id, details, now],
    )
  const mailer = () => smtpMailer({ url: `smtp://127.0.0.1:${smtp.port}?tls=none`, from: 'a@x.io' })
  const sending = (over: Partial<Outbox> = {}) => {
    const by = mailer()
    const send = sendMails({
      outbox: { ...outbox, ...over },
      mailer: by,
      publicUrl: 'https://tasktrail.test',
      origins: origins(),
      clock,
    })
    return () => send().finally(by.close)
  }
  const send = () => sending()()
  const became = async () => (await send()).map(({ became }) => became)

  describe('and what happens to accounts', () => {
    /** What each type needs so that there is something to say. */
    const ready: Partial<Record<SecurityEventType, (user_id: number) => Promise<unknown>>> = {
      registered: (id) => rows('update users set email_confirmed_at = null where id = $1', [id]),
      email_verification_requested: (id) =>
        rows('update users set email_confirmed_at = null where id = $1', [id]),
      email_change_requested: (id) => changing(id),
      email_changed: (id) => changing(id),
      account_erased: () =>
        rows(`select set_config('tasktrail.erased_address', 'gone@example.com', true)`),
    }
    const changing = (id: number) =>
      rows(
        `insert into email_changes (user_id, old_email, old_was_confirmed, new_email, requested_at, expires_at)
          select id, email, true, 'new-' || email, $2::timestamptz, $2::timestamptz + interval '1 day'
          from users where id = $1`,
        [id, now],
      )

    for (const type of SECURITY_EVENT_TYPES) {
      // Asked for by a function that fills the outbox itself.
      if (type === 'password_reset_requested') continue
      const isMailed = MAIL_OF[type] !== null
      it(`${isMailed ? 'has a mail' : 'has no mail'} for ${type}, as the list of texts says`, async () => {
        const id = await newUser()
        await sql.query('begin')
        await ready[type]?.(id)
        await happens(type, id, {}, randomUUID())
        await sql.query('commit')
        const kinds = await rows('select distinct kind from mails')
        expect(kinds).to.deep.equal(isMailed ? [{ kind: type }] : [])
        const outcomes = await became()
        expect(outcomes.length > 0).to.equal(isMailed)
        expect(outcomes).to.deep.equal(outcomes.map(() => 'sent'))
      })
    }

    it('has no mail for what was rolled back', async () => {
      const id = await newUser()
      await sql.query('begin')
      await happens('password_changed', id)
      await sql.query('rollback')
      expect(await became()).to.deep.equal([])
    })

    it('keeps the address that the account had then', async () => {
      const id = await newUser()
      const [{ email }] = await rows('select email from users where id = $1', [id])
      await happens('password_changed', id)
      await rows(`update users set email = 'thief@example.com' where id = $1`, [id])
      await send()
      expect(smtp.mails.map(({ to }) => to)).to.deep.equal([email])
      await rows(`delete from users where email = 'thief@example.com'`)
    })

    it('has no notice for an address that nobody has confirmed', async () => {
      const id = await newUser()
      await rows('update users set email_confirmed_at = null where id = $1', [id])
      await happens('password_changed', id)
      expect(await became()).to.deep.equal([])
    })

    it('leaves a kind that only a newer version knows to nobody', async () => {
      const id = await newUser()
      await happens('password_changed', id)
      await rows(`update mails set kind = 'something_new'`)
      expect(await became()).to.deep.equal(['dropped'])
    })
  })

  it('says what happened, when, from where, and what to do, and has no secret', async () => {
    await happens('role_changed', await newUser(), { from: 'user', to: 'admin' })
    await send()
    expect(smtp.mails[0]?.text).to.match(
      /^Hello u\w+,\n\nYour role was changed from user to admin\.\n\n When: Sun, 29 Nov 2026 12:00:00 GMT\n From: 192\.0\.2\.7\n With: mocha\n\nIf this was you, .*\n\nIf you did not expect it, .*\n\nTasktrail\s+$/s,
    )
  })

  it('tries again after one, two, four minutes, an hour at most, and gives up after a day', async () => {
    await happens('password_changed', await newUser())
    smtp.fault = { at: 'RCPT', code: 450 }
    const pauses: number[] = []
    const giveUp = giveUpOldMails(outbox, clock)
    while ((await giveUp()) === 0) {
      expect(await became()).to.deep.equal(['postponed'])
      const [{ next_try_at, why }] = await rows('select next_try_at, why from mails')
      expect(why).to.equal('EENVELOPE RCPT TO 450')
      pauses.push((next_try_at - now.getTime()) / MINUTE)
      pass(next_try_at - now.getTime() - 1)
      expect(await became()).to.deep.equal([])
      pass(1)
    }
    expect(pauses.slice(0, 9)).to.deep.equal([1, 2, 4, 8, 16, 32, 60, 60, 60])
    expect(now.getTime() - START.getTime()).to.be.within(24 * HOUR, 26 * HOUR)
    smtp.fault = undefined
    expect(await became()).to.deep.equal([])
    const [{ given_up_at, why }] = await rows('select given_up_at, why from mails')
    expect([given_up_at, why]).to.deep.equal([now, 'EENVELOPE RCPT TO 450'])
  })

  it('gives up at once what is refused for good', async () => {
    await happens('password_changed', await newUser())
    smtp.fault = { at: 'RCPT', code: 550 }
    expect(await became()).to.deep.equal(['given_up'])
    smtp.fault = undefined
    pass(2 * HOUR)
    expect(await became()).to.deep.equal([])
  })

  it('sends a mail twice rather than not at all, and as the same', async () => {
    await happens('password_changed', await newUser())
    const sent = () => Promise.reject(new AppError('database_unavailable'))
    const dies = await sending({ sent })().catch((error) => error.code)
    expect(dies).to.equal('database_unavailable')
    expect(await became()).to.deep.equal(['sent'])
    expect(await became()).to.deep.equal([])
    const ids = smtp.mails.map(({ headers }) => headers['message-id'])
    expect(ids).to.have.length(2)
    expect(new Set(ids).size).to.equal(1)
  })

  it('leaves the link of a copy as good as that of the first', async () => {
    const id = await newUser()
    await rows('update users set email_confirmed_at = null where id = $1', [id])
    await happens('email_verification_requested', id)
    smtp.fault = 'loses the answer'
    expect(await became()).to.deep.equal(['postponed'])
    smtp.fault = undefined
    pass(MINUTE)
    expect(await became()).to.deep.equal(['sent'])
    const links = smtp.mails.map(({ links }) => links.verify)
    expect(new Set(links).size).to.equal(2)
    const valid = await rows('select from account_links where user_id = $1 and used_at is null', [
      id,
    ])
    expect(valid).to.have.length(2)
  })

  it('takes no lock for a link that was used, which would take time', async () => {
    const id = await newUser()
    const hash = randomBytes(32)
    await rows(
      `insert into account_links (token_hash, kind, mail_id, user_id, address, credentials_version,
          created_at, expires_at, used_at)
        select $1, 'verify', 0, id, email, credentials_version, $3, $3::timestamptz + interval '1 hour', $3
        from users where id = $2`,
      [hash, id, now],
    )
    await sql.query('begin')
    const [{ outcome }] = await rows(
      `select confirm_address($1, 'request', null, null, $2) as outcome`,
      [hash, now],
    )
    expect(outcome).to.equal('refused')
    expect(await rows('select pg_current_xact_id_if_assigned() as id')).to.deep.equal([
      { id: null },
    ])
    await sql.query('rollback')
  })

  it('stores of a link nothing that opens it', async () => {
    const id = await newUser()
    await rows('update users set email_confirmed_at = null where id = $1', [id])
    await happens('email_verification_requested', id)
    await send()
    const token = smtp.mails[0]?.links.verify ?? ''
    expect(token).to.have.length(43)
    for (const table of ['mails', 'account_links', 'security_events']) {
      const found = await rows(`select from ${table} t where t::text like $1`, [`%${token}%`])
      expect(found, table).to.have.length(0)
    }
  })

  it('goes on past a mail that fails, and sends many at the same time', async () => {
    for (let n = 0; n < 25; n++) await happens('password_changed', await newUser())
    const rounds: number[] = []
    for (let sent = await send(); sent.length > 0; sent = await send()) rounds.push(sent.length)
    expect(rounds).to.deep.equal([10, 10, 5])
    expect(smtp.mails).to.have.length(25)
  })

  it('tells how many wait, and for how long', async () => {
    await happens('password_changed', await newUser())
    await happens('password_changed', await newUser())
    pass(90_000)
    expect(await outbox.counts(now)).to.deep.equal({ waiting: 2, oldest_seconds: 90 })
    await send()
    expect(await outbox.counts(now)).to.deep.equal({ waiting: 0, oldest_seconds: 0 })
  })

  it('forgets mails and links after 30 days, and not before', async () => {
    const id = await newUser()
    await rows('update users set email_confirmed_at = null where id = $1', [id])
    await happens('email_verification_requested', id)
    await send()
    const left = async () => {
      const [mails, links] = [
        await rows('select from mails'),
        await rows('select from account_links where user_id = $1', [id]),
      ]
      return [mails.length, links.length]
    }
    pass(30 * 24 * HOUR)
    await outbox.removeOld(now)
    expect(await left()).to.deep.equal([1, 1])
    pass(25 * HOUR)
    while ((await outbox.removeOld(now)) > 0);
    expect(await left()).to.deep.equal([0, 0])
  })
})
