import { SESv2Client, type SESv2ClientConfig, SendEmailCommand } from '@aws-sdk/client-sesv2'
import { createTransport } from 'nodemailer'
import { type Mail, MailError, type Mailer } from '../../app/ports/mail.ts'
import { composed } from './compose.ts'

export type SesOptions = {
  readonly region: string
  readonly from: string
  /** @default that of AWS */
  readonly endpoint?: string
  /** @default what the SDK finds: the role of the task */
  readonly credentials?: SESv2ClientConfig['credentials']
}

const CONNECT_MS = 5_000
const SILENT_MS = 15_000

/** Of the mail itself; what else SES says is about us, and passes: an identity to verify, a limit, a pause. */
const FINAL = ['BadRequestException']

/** Mails by SES, with the rights of the process: no password that somebody would have to keep. */
export function sesMailer({ region, from, endpoint, credentials }: SesOptions): Mailer {
  const sesClient = new SESv2Client({
    region,
    ...(endpoint !== undefined && { endpoint }),
    ...(credentials !== undefined && { credentials }),
    // A mail that was not taken waits in the outbox.
    maxAttempts: 1,
    requestHandler: {
      connectionTimeout: CONNECT_MS,
      requestTimeout: SILENT_MS,
      throwOnRequestTimeout: true,
    },
  })
  const transport = createTransport({ SES: { sesClient, SendEmailCommand } })
  return {
    async send(mail: Mail) {
      try {
        await transport.sendMail(composed(mail, from))
      } catch (error) {
        const { name } = error as Error
        throw new MailError(name, { isFinal: FINAL.includes(name), cause: error })
      }
    },
    close: () => sesClient.destroy(),
  }
}
