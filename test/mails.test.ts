import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import pg from 'pg'
import { type TestDatabase, testDatabase } from './support/postgres.ts'
import { until } from './support/processes.ts'
import { type Smtp, startSmtp } from './support/smtp.ts'
import { type StartedWorker, workers } from './support/workers.ts'

/** Sent at the same time, so a worker that is killed leaves so many unnoted at most. */
const AT_ONCE = 10

describe('Mails and the processes that send them', function () {
  this.timeout(120_000)
  let database: TestDatabase
  let sql: pg.Client
  let processes: ReturnType<typeof workers>
  let smtp: Smtp

  beforeEach(async () => {
    database = await testDatabase()
    sql = new pg.Client(database.url)
    await sql.connect()
    processes = workers(database.url)
    smtp = await startSmtp()
  })
  afterEach(async () => {
    processes.killAll()
    await smtp.close()
    await sql.end()
    await database.drop()
  })

  /** Of so many users, each with an address of their own. */
  const happen = (type: string, users: number) =>
    sql.query(
      `with added as (
        insert into users (username, email, email_confirmed_at, password_hash, created_at, updated_at)
          select 'u' || n, 'u' || n || '@example.com', now(), 'hash', now(), now()
          from generate_series(1, $2::int) n returning id, username)
      insert into security_events (type, user_id, username, details, occurred_at)
        select $1, id, username, '{}', now() from added`,
      [type, users],
    )
  const settings = () => ({
    SMTP_URL: `smtp://127.0.0.1:${smtp.port}?tls=none`,
    MAIL_FROM: 'no-reply@tasktrail.test',
    PUBLIC_URL: 'https://tasktrail.test',
  })
  const waiting = async (): Promise<number> => {
    const { rows } = await sql.query(
      'select count(*)::int as n from mails where sent_at is null and given_up_at is null',
    )
    return rows[0].n
  }
  const allSent = () => until(async () => (await waiting()) === 0, 'all mails are sent', 60_000)
  const linesOf = ({ out }: StartedWorker, message: string) =>
    out.filter((line) => line.includes(`"${message}"`))

  it('are sent once by one of two workers', async () => {
    await Promise.all([processes.start(settings()), processes.start(settings())])
    await happen('password_changed', 30)
    await allSent()
    const to = smtp.mails.map(({ to }) => to)
    expect(new Set(to).size).to.equal(30)
    expect(to).to.have.length(30)
  })

  it('all arrive, the same ones twice at most, though the worker is killed again and again', async () => {
    smtp.fault = 'is slow'
    await happen('password_changed', 60)
    const kills = 3
    for (let kill = 1; kill <= kills; kill++) {
      const { child } = await processes.start(settings())
      await until(() => smtp.mails.length >= kill * 15, 'some have arrived', 60_000)
      child.kill('SIGKILL')
    }
    await processes.start(settings())
    await allSent()
    const ids = smtp.mails.map(({ headers }) => headers['message-id'])
    expect(new Set(ids).size).to.equal(60)
    expect(ids.length).to.be.at.most(60 + kills * AT_ONCE)
  })

  it('wait where nobody sends them, and the log says so once', async () => {
    const worker = await processes.start()
    await happen('password_changed', 3)
    await until(() => linesOf(worker, 'mail lag').length > 0, 'it has looked')
    const warned =
      'no mail is sent, for neither SMTP_URL nor SES_REGION is set: mails wait for a day'
    expect(linesOf(worker, warned)).to.have.length(1)
    expect(await waiting()).to.equal(3)
    worker.child.kill('SIGTERM')
    expect(await worker.ended).to.equal('code 0')
    await processes.start(settings())
    await allSent()
    expect(smtp.mails).to.have.length(3)
  })

  it('are counted, and leave no address and no text in the log', async () => {
    const worker = await processes.start(settings())
    await happen('password_changed', 2)
    await allSent()
    smtp.fault = { at: 'RCPT', code: 550 }
    await sql.query(`
      insert into security_events (type, user_id, details, occurred_at)
        select 'password_reset', id, '{}', now() from users limit 1`)
    await allSent()
    const metrics = async () => (await fetch(`${worker.url}/worker/metrics`)).text()
    await until(
      async () => /tasktrail_mails_total\{became="given_up"\} 1/.test(await metrics()),
      'the refusal is counted',
    )
    expect(await metrics()).to.match(/tasktrail_mails_total\{became="sent"\} 2\n/)
    expect(linesOf(worker, 'sent a mail')).to.have.length(2)
    const [refused = ''] = linesOf(worker, 'a mail is refused for good')
    expect(JSON.parse(refused)).to.include({ kind: 'password_reset', why: 'EENVELOPE RCPT TO 550' })
    expect(worker.out.join('\n')).to.not.include('@example.com')
  })

  it('to an address that is asked for by everybody are few', async () => {
    await processes.start(settings())
    await happen('password_changed', 1)
    for (let n = 0; n < 8; n++) {
      await sql.query(`select request_password_reset('u1@example.com', $1, null, null, now())`, [
        randomUUID(),
      ])
    }
    await allSent()
    expect(smtp.mails.filter(({ subject }) => subject === 'Set a new password')).to.have.length(3)
  })
})
