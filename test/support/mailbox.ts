import { sendMails } from '../../src/app/mails.ts'
import type { Clock } from '../../src/app/ports/process.ts'
import { smtpMailer } from '../../src/infra/mail/smtp.ts'
import { origins } from '../../src/infra/places/origins.ts'
import { postgresOutbox } from '../../src/infra/postgres/accounts/mails.ts'
import { openDatabase } from '../../src/infra/postgres/connection/database.ts'
import { silent } from './log.ts'
import type { TestDatabase } from './postgres.ts'
import { type ReceivedMail, type Smtp, startSmtp } from './smtp.ts'

export type Mailbox = {
  /** Sends all that is due, and gives what has arrived since the last time. */
  readonly arrived: () => Promise<readonly ReceivedMail[]>
  readonly smtp: Smtp
  readonly close: () => Promise<void>
}

/** What the worker does for the mails of a database, when it is told to; they arrive at a server of its own. */
export async function openMailbox(
  database: TestDatabase,
  clock: Clock = () => new Date(),
): Promise<Mailbox> {
  const smtp = await startSmtp()
  const db = openDatabase({ ...database.config, role: 'tasktrail_worker', log: silent })
  const url = `smtp://127.0.0.1:${smtp.port}?tls=none`
  const mailer = smtpMailer({ url, from: 'Tasktrail <no-reply@tasktrail.test>' })
  const outbox = postgresOutbox(db)
  const send = sendMails({
    ...{ outbox, mailer, clock, origins: origins() },
    publicUrl: 'https://tasktrail.test',
  })
  return {
    smtp,
    async arrived() {
      while ((await send()).length > 0);
      return smtp.mails.splice(0)
    },
    async close() {
      mailer.close()
      await smtp.close()
      await db.close()
    },
  }
}
