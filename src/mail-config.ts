import { z } from 'zod'
import type { SesOptions } from './infra/mail/ses.ts'
import type { SmtpOptions } from './infra/mail/smtp.ts'
import { type Env, filled, httpUrl, present } from './settings.ts'

const smtpUrl = z.string().refine((text) => {
  const url = URL.parse(text)
  if (url === null || url.hostname === '' || !/^smtps?:$/.test(url.protocol)) return false
  const isPlain = url.search === '' || (url.protocol === 'smtp:' && url.search === '?tls=none')
  return isPlain && url.hash === '' && /^\/?$/.test(url.pathname)
}, 'must be an smtp:// or smtps:// URL; what may follow is ?tls=none alone, of smtp://')

const address = String.raw`[^\s<>@"]+@[^\s<>@"]+`
const sender = z
  .string()
  .regex(
    new RegExp(`^(?:${address}|[^<>"\\r\\n,;:]+ <${address}>)$`),
    'must be an address, or a name and an address: Tasktrail <no-reply@example.com>',
  )

/** What links in mails begin with. */
const publicUrl = httpUrl.transform((url) => url.replace(/\/+$/, ''))

const mailsBySmtp = z.object({ SMTP_URL: smtpUrl, MAIL_FROM: sender, PUBLIC_URL: publicUrl })
const mailsBySes = z.object({
  SES_REGION: z
    .string()
    .regex(/^[a-z]{2}(-[a-z]+)+-\d$/, 'must be a region of AWS such as eu-central-1'),
  MAIL_FROM: sender,
  PUBLIC_URL: publicUrl,
})
/** Mails as files, as `npm start` has them. */
const mailsInDirectory = z.object({
  MAIL_DIR: filled,
  MAIL_FROM: sender.default('Tasktrail <tasktrail@localhost>'),
  PUBLIC_URL: publicUrl,
})

/** Who takes mails; null: nobody. */
export type MailConfig =
  | ({ readonly publicUrl: string } & (
      | { readonly smtp: SmtpOptions }
      | { readonly ses: SesOptions }
      | { readonly directory: { readonly directory: string; readonly from: string } }
    ))
  | null

export const mailVariables = Object.keys({
  ...mailsBySmtp.shape,
  ...mailsBySes.shape,
  ...mailsInDirectory.shape,
})

/** The settings for mails, if the environment names somebody who takes them. */
export function placeOfMails(env: Env): z.ZodRawShape {
  const { SMTP_URL, SES_REGION, MAIL_DIR } = present(env)
  if (SMTP_URL !== undefined) return mailsBySmtp.shape
  if (SES_REGION !== undefined) return mailsBySes.shape
  return MAIL_DIR === undefined ? {} : mailsInDirectory.shape
}

/** Of settings that `placeOfMails` is among. */
export function mailOf(settings: object): MailConfig {
  if ('SMTP_URL' in settings) {
    const { SMTP_URL: url, MAIL_FROM: from, PUBLIC_URL } = settings as z.output<typeof mailsBySmtp>
    return { publicUrl: PUBLIC_URL, smtp: { url, from } }
  }
  if ('SES_REGION' in settings) {
    const {
      SES_REGION: region,
      MAIL_FROM: from,
      PUBLIC_URL,
    } = settings as z.output<typeof mailsBySes>
    return { publicUrl: PUBLIC_URL, ses: { region, from } }
  }
  if (!('MAIL_DIR' in settings)) return null
  const named = settings as z.output<typeof mailsInDirectory>
  const { MAIL_DIR: directory, MAIL_FROM: from, PUBLIC_URL } = named
  return { publicUrl: PUBLIC_URL, directory: { directory, from } }
}
