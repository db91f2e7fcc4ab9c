import { randomUUID } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import { expect } from 'chai'
import { type Mail, MailError, type Mailer } from '../../../src/app/ports/mail.ts'
import { mailDirectory } from '../../../src/infra/mail/mail-directory.ts'
import { smtpMailer } from '../../../src/infra/mail/smtp.ts'
import { makeServerCertificate } from '../../support/certificates.ts'
import { silent } from '../../support/log.ts'
import { type ReceivedMail, readMail, type Smtp, startSmtp } from '../../support/smtp.ts'

const FROM = 'Tasktrail <no-reply@tasktrail.test>'
const LINK = `https://tasktrail.test/v1/auth/link#reset.${'a'.repeat(43)}`

const mail = (facts: Partial<Mail> = {}): Mail => ({
  to: 'ada@example.com',
  subject: 'Set a new password',
  text: `Hello ada,\n\n.a line that begins with a dot\n\n ${LINK}\n\nTasktrail\n`,
  message_id: `${randomUUID()}@tasktrail.test`,
  ...facts,
})

/** What became of it: '' if it was taken. */
const outcome = (work: Promise<void>): Promise<string> =>
  work.then(
    () => '',
    (error) => {
      if (!(error instanceof MailError)) throw error
      return `${error.isFinal ? 'for good' : 'for now'}: ${error.message}`
    },
  )

type Place = {
  readonly mailer: Mailer
  readonly received: () => Promise<readonly ReceivedMail[]>
  readonly close: () => Promise<void>
}

async function inDirectory(): Promise<Place> {
  const parent = await mkdtemp(join(tmpdir(), 'tasktrail-mail-'))
  const directory = join(parent, 'mail')
  const mailer = mailDirectory({ directory, from: FROM, log: silent })
  const received = async () =>
    Promise.all(
      (await readdir(directory)).map(async (name) => {
        const message = await readFile(join(directory, name), 'latin1')
        return readMail(message, /^To: (.*)$/m.exec(message)?.[1]?.trim() ?? '')
      }),
    )
  return { mailer, received, close: () => rm(parent, { recursive: true }) }
}

async function overSmtp(): Promise<Place> {
  const server = await startSmtp()
  const mailer = smtpMailer({ url: `smtp://127.0.0.1:${server.port}?tls=none`, from: FROM })
  const close = async () => {
    mailer.close()
    await server.close()
  }
  return { mailer, received: async () => server.mails, close }
}

for (const [name, open] of [
  ['Mails as files', inDirectory],
  ['Mails by SMTP', overSmtp],
] as const) {
  describe(name, () => {
    let place: Place

    beforeEach(async () => {
      place = await open()
    })
    afterEach(async () => {
      place.mailer.close()
      await place.close()
    })

    it('arrive as they were given', async () => {
      const given = mail()
      await place.mailer.send(given)
      const [received, another] = await place.received()
      expect(another).to.equal(undefined)
      expect(received).to.include({ from: FROM, to: given.to, subject: given.subject })
      expect(received?.text.trimEnd()).to.equal(given.text.trimEnd())
      expect(received?.headers).to.include({
        'message-id': `<${given.message_id}>`,
        'auto-submitted': 'auto-generated',
      })
    })

    it('are the same mail when they are sent again', async () => {
      const given = mail()
      for (let n = 0; n < 2; n++) await place.mailer.send(given)
      const ids = (await place.received()).map(({ headers }) => headers['message-id'])
      expect(new Set(ids)).to.deep.equal(new Set([`<${given.message_id}>`]))
    })

    it('get no header from what they say, and go to one address', async () => {
      const to = "o'hara+tasks@example.com"
      await place.mailer.send(mail({ to, subject: 'One\r\nBcc: bob@example.com' }))
      const [received, another] = await place.received()
      expect([received?.to, another]).to.deep.equal([to, undefined])
      expect(received?.headers).to.not.have.property('bcc')
    })

    it('are sent at the same time', async () => {
      await Promise.all(Array.from({ length: 20 }, () => place.mailer.send(mail())))
      expect(await place.received()).to.have.length(20)
    })
  })
}

describe('A directory of mails', () => {
  let parent: string

  beforeEach(async () => {
    parent = await mkdtemp(join(tmpdir(), 'tasktrail-mail-'))
  })
  afterEach(() => rm(parent, { recursive: true }))

  it('has files that nobody else reads, and nothing half written', async () => {
    const directory = join(parent, 'mail')
    await mailDirectory({ directory, from: FROM, log: silent }).send(mail())
    const names = await readdir(directory)
    expect(names).to.have.length(1)
    expect(names[0]).to.match(/\.eml$/)
    expect((await stat(join(directory, names[0] ?? ''))).mode & 0o777).to.equal(0o600)
    expect((await stat(directory)).mode & 0o777).to.equal(0o700)
  })

  it('says of a mail where it is, and nothing of what it says', async () => {
    const lines: string[] = []
    const note = (facts: object, message: string) =>
      void lines.push(`${JSON.stringify(facts)} ${message}`)
    const log = { info: note, warn: note, error: note }
    await mailDirectory({ directory: join(parent, 'mail'), from: FROM, log }).send(mail())
    expect(lines.join()).to.match(/\.eml.*kept a mail as a file$/)
    expect(lines.join()).to.not.include(LINK)
  })

  it('that cannot be written to has them wait', async () => {
    const directory = join(parent, 'mail')
    await writeFile(directory, 'a file')
    const mailer = mailDirectory({ directory, from: FROM, log: silent })
    expect(await outcome(mailer.send(mail()))).to.equal(
      'for now: cannot write to the directory of mails: EEXIST',
    )
  })
})

describe('A server of mails', () => {
  let server: Smtp
  let mailer: Mailer

  beforeEach(async () => {
    server = await startSmtp()
    mailer = smtpMailer({ url: `smtp://127.0.0.1:${server.port}?tls=none`, from: FROM })
  })
  afterEach(async () => {
    mailer.close()
    await server.close()
  })

  for (const [what, fault, expected] of [
    [
      'refuses the recipient for good',
      { at: 'RCPT', code: 550 },
      'for good: EENVELOPE RCPT TO 550',
    ],
    ['refuses the mail for good', { at: 'DATA', code: 554 }, 'for good: EMESSAGE DATA 554'],
    ['refuses the recipient for now', { at: 'RCPT', code: 450 }, 'for now: EENVELOPE RCPT TO 450'],
    ['refuses the mail for now', { at: 'DATA', code: 451 }, 'for now: EMESSAGE DATA 451'],
    // Our own setting is wrong, and may be mended.
    ['refuses the sender', { at: 'MAIL', code: 550 }, 'for now: EENVELOPE MAIL FROM 550'],
  ] as const) {
    it(`that ${what}: the mail fails ${expected.split(':')[0]}`, async () => {
      server.fault = fault
      expect(await outcome(mailer.send(mail()))).to.equal(expected)
      server.fault = undefined
      expect(await outcome(mailer.send(mail()))).to.equal('')
    })
  }

  for (const [what, fault] of [
    ['that goes away with 421', { at: 'RCPT', code: 421 }],
    ['that dies in the middle of a message', 'dies'],
    ['that takes a message and dies before it says so', 'loses the answer'],
  ] as const) {
    it(`${what} is tried again later`, async () => {
      server.fault = fault
      expect(await outcome(mailer.send(mail()))).to.match(/^for now: /)
      server.fault = undefined
      expect(await outcome(mailer.send(mail()))).to.equal('')
    })
  }

  it('that is not there is tried again later', async () => {
    await server.close()
    expect(await outcome(mailer.send(mail()))).to.match(/^for now: (ESOCKET|ECONNECTION)/)
  })

  it('that offers no TLS gets nothing, unless the URL allows that', async () => {
    const careful = smtpMailer({ url: `smtp://127.0.0.1:${server.port}`, from: FROM })
    expect(await outcome(careful.send(mail()))).to.match(/^for now: ETLS/)
    careful.close()
    expect(server.mails).to.have.length(0)
  })
})

describe('A server of mails with TLS and a login', () => {
  const authorities = tls.getCACertificates('default')
  let directory: string
  let authority: string
  let key: string
  let cert: string
  let server: Smtp

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'tasktrail-smtp-'))
    const made = await makeServerCertificate(directory)
    const read = (file: string) => readFile(file, 'utf8')
    authority = await read(made.authority)
    key = await read(made.key)
    cert = await read(made.certificate)
  })
  after(() => rm(directory, { recursive: true }))
  afterEach(async () => {
    tls.setDefaultCACertificates(authorities)
    await server.close()
  })

  const start = async (secure: boolean) => {
    server = await startSmtp({
      ...{ key, cert, secure, authOptional: false },
      onAuth: ({ username, password }, _session, done) =>
        username === 'us er' && password === 'pa:ss'
          ? done(null, { user: 1 })
          : done(new Error('no')),
    })
  }
  const sent = async (url: string): Promise<string> => {
    const mailer = smtpMailer({ url, from: FROM })
    return outcome(mailer.send(mail())).finally(mailer.close)
  }
  const trust = () => tls.setDefaultCACertificates([...authorities, authority])

  for (const [scheme, secure] of [
    ['smtp', false],
    ['smtps', true],
  ] as const) {
    it(`takes mails by ${scheme}://`, async () => {
      await start(secure)
      trust()
      expect(await sent(`${scheme}://us%20er:pa%3Ass@localhost:${server.port}`)).to.equal('')
      expect(server.mails).to.have.length(1)
    })

    it(`is believed by ${scheme}:// only with a certificate by somebody we trust`, async () => {
      await start(secure)
      expect(await sent(`${scheme}://us%20er:pa%3Ass@localhost:${server.port}`)).to.match(
        /^for now: (ESOCKET|ETLS)/,
      )
    })
  }

  it('refuses a wrong password for now: it is ours, and may be mended', async () => {
    await start(false)
    trust()
    expect(await sent(`smtp://us%20er:wrong@localhost:${server.port}`)).to.match(/^for now: EAUTH/)
  })
})
