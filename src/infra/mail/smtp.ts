import { createTransport } from 'nodemailer'
import { type Mail, MailError, type Mailer } from '../../app/ports/mail.ts'
import { composed } from './compose.ts'

export type SmtpOptions = {
  /** smtp:// begins TLS with STARTTLS, smtps:// at once. `?tls=none` of smtp:// sends in the clear. */
  readonly url: string
  readonly from: string
}

/** Of a server that does not answer; a mail is tried again later. */
const CONNECT_MS = 5_000
const SILENT_MS = 15_000
const CONNECTIONS = 5

/** Mails by SMTP, over connections that stay open. The server's certificate is checked. */
export function smtpMailer({ url, from }: SmtpOptions): Mailer {
  const { protocol, hostname, port, username, password, searchParams } = new URL(url)
  const secure = protocol === 'smtps:'
  const inTheClear = searchParams.get('tls') === 'none'
  const transport = createTransport({
    pool: true,
    maxConnections: CONNECTIONS,
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port) || (secure ? 465 : 587),
    secure,
    requireTLS: !secure && !inTheClear,
    ignoreTLS: inTheClear,
    ...(username !== '' && {
      auth: { user: decodeURIComponent(username), pass: decodeURIComponent(password) },
    }),
    connectionTimeout: CONNECT_MS,
    greetingTimeout: CONNECT_MS,
    socketTimeout: SILENT_MS,
    disableFileAccess: true,
    disableUrlAccess: true,
  })
  return {
    async send(mail: Mail) {
      try {
        await transport.sendMail(composed(mail, from))
      } catch (error) {
        throw mailError(error as Fault)
      }
    },
    close: () => transport.close(),
  }
}

type Fault = Error & {
  readonly code?: string
  readonly command?: string
  readonly responseCode?: number
  readonly permanent?: boolean
}

/** What says no to the recipient or the mail. Any other no means us: it passes when somebody mends the settings. */
const ABOUT_THE_MAIL = ['RCPT TO', 'DATA']

function mailError(fault: Fault): MailError {
  const { code = fault.name, command = '', responseCode, permanent = false } = fault
  const isFinal = permanent && ABOUT_THE_MAIL.includes(command)
  const message = [code, command, responseCode].filter(Boolean).join(' ')
  return new MailError(message, { isFinal, cause: fault })
}
