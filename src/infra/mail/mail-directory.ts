import { randomUUID } from 'node:crypto'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { createTransport } from 'nodemailer'
import { type Mail, MailError, type Mailer } from '../../app/ports/mail.ts'
import type { Log } from '../../app/ports/process.ts'
import { composed } from './compose.ts'

export type MailDirectoryOptions = {
  readonly directory: string
  readonly from: string
  readonly log: Log
}

/** What the log says of each mail; `npm start` shows it. */
export const KEPT_MAIL = 'kept a mail as a file'

/** Sends nothing: each mail becomes a file, as any mail program opens it. For a machine without a mail server. */
export function mailDirectory({ directory, from, log }: MailDirectoryOptions): Mailer {
  const writer = createTransport({ streamTransport: true, buffer: true, newline: 'windows' })
  return {
    async send(mail: Mail) {
      const { message } = await writer.sendMail(composed(mail, from))
      const file = resolve(directory, `${mail.message_id.replace(/[^\w.@-]/g, '_')}.eml`)
      await keep(directory, file, message as Buffer)
      // Not the text: links are in it.
      log.info({ file, subject: mail.subject }, KEPT_MAIL)
    },
    close: () => writer.close(),
  }
}

/** Whole or not at all, and for its owner's eyes. */
async function keep(directory: string, file: string, message: Buffer): Promise<void> {
  const draft = join(directory, `.${randomUUID()}`)
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    await writeFile(draft, message, { mode: 0o600, flush: true })
    await rename(draft, file)
  } catch (error) {
    await rm(draft, { force: true }).catch(() => {})
    const { code } = error as NodeJS.ErrnoException
    throw new MailError(`cannot write to the directory of mails: ${code}`, {
      isFinal: false,
      cause: error,
    })
  }
}
