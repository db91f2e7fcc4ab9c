import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import { expect } from 'chai'
import { MailError, type Mailer } from '../../../src/app/ports/mail.ts'
import { sesMailer } from '../../../src/infra/mail/ses.ts'
import { readMail } from '../../support/smtp.ts'

type Asked = { readonly authorization: string; readonly url: string; readonly body: Sent }
type Sent = {
  readonly FromEmailAddress: string
  readonly Destination: { readonly ToAddresses: readonly string[] }
  readonly Content: { readonly Raw: { readonly Data: string } }
}

const MAIL = {
  to: 'ada@example.com',
  subject: 'Set a new password',
  text: 'Hello ada,\n\nTasktrail\n',
  message_id: 'one@tasktrail.test',
}

describe('Mails by SES', () => {
  let server: Server
  let mailer: Mailer
  let asked: Asked[]
  /** What the API answers next. */
  let answer: { readonly status: number; readonly type?: string }

  beforeEach(async () => {
    asked = []
    answer = { status: 200 }
    server = createServer(async (req, res) => {
      const { authorization = '' } = req.headers
      asked.push({ authorization, url: req.url ?? '', body: (await json(req)) as Sent })
      const { status, type } = answer
      res.writeHead(status, {
        'content-type': 'application/json',
        ...(type !== undefined && { 'x-amzn-errortype': type }),
      })
      res.end(status === 200 ? '{"MessageId":"0102"}' : '{"message":"no"}')
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    mailer = sesMailer({
      region: 'eu-central-1',
      from: 'Tasktrail <no-reply@tasktrail.test>',
      endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      credentials: { accessKeyId: 'id', secretAccessKey: 'secret' },
    })
  })
  afterEach(async () => {
    mailer.close()
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  })

  const outcome = () =>
    mailer.send(MAIL).then(
      () => '',
      (error) => {
        if (!(error instanceof MailError)) throw error
        return `${error.isFinal ? 'for good' : 'for now'}: ${error.message}`
      },
    )

  it('are given to it whole, signed for its region', async () => {
    expect(await outcome()).to.equal('')
    const [{ authorization, url, body }] = asked as [Asked]
    expect(url).to.equal('/v2/email/outbound-emails')
    expect(authorization).to.match(/^AWS4-HMAC-SHA256 Credential=id\/\d{8}\/eu-central-1\/ses\//)
    expect(body.FromEmailAddress).to.equal('Tasktrail <no-reply@tasktrail.test>')
    expect(body.Destination.ToAddresses).to.deep.equal([MAIL.to])
    const message = Buffer.from(body.Content.Raw.Data, 'base64').toString('latin1')
    const { headers, subject, text } = readMail(message, MAIL.to)
    expect(subject).to.equal(MAIL.subject)
    expect(text.trimEnd()).to.equal(MAIL.text.trimEnd())
    expect(headers['message-id']).to.equal(`<${MAIL.message_id}>`)
  })

  for (const [type, status, expected] of [
    ['BadRequestException', 400, 'for good: BadRequestException'],
    ['MessageRejected', 400, 'for now: MessageRejected'],
    ['AccessDeniedException', 403, 'for now: AccessDeniedException'],
    ['TooManyRequestsException', 429, 'for now: TooManyRequestsException'],
    ['InternalFailure', 500, 'for now: InternalFailure'],
  ] as const) {
    it(`fail ${expected.split(':')[0]} when it says ${type}, and are asked for once`, async () => {
      answer = { status, type }
      expect(await outcome()).to.equal(expected)
      expect(asked).to.have.length(1)
    })
  }

  it('wait when it is not there', async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
    expect(await outcome()).to.match(/^for now: /)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
  })
})
