import { AppError } from './app/errors.ts'
import { giveUpOldMails, sendMails } from './app/mails.ts'
import type { Mailer } from './app/ports/mail.ts'
import type { Outbox } from './app/ports/mails.ts'
import type { Origins } from './app/ports/origins.ts'
import type { Clock, Log } from './app/ports/process.ts'
import { mailDirectory } from './infra/mail/mail-directory.ts'
import { sesMailer } from './infra/mail/ses.ts'
import { smtpMailer } from './infra/mail/smtp.ts'
import type { DatabaseConfig } from './infra/postgres/connection/database.ts'
import { type LeaderSession, type Leadership, lead } from './infra/postgres/connection/leader.ts'
import type { WorkerMetrics } from './infra/postgres/projections/worker-metrics.ts'
import type { MailConfig } from './mail-config.ts'

/** How long to wait, in milliseconds. */
const IDLE = 1_000
const AFTER_FAILURE = 5_000
const BETWEEN_COUNTS = 15_000
const BETWEEN_REMOVALS = 3_600_000

export type MailJobs = {
  readonly outbox: Outbox
  readonly config: MailConfig
  readonly origins: Origins
  readonly connection: DatabaseConfig['connection']
  readonly role: string
  readonly metrics: Pick<WorkerMetrics, 'mailed' | 'mailsWaiting'>
  readonly clock: Clock
  readonly log: Log
}

/** Sends what is in the outbox, on the one process that leads in it, and keeps the outbox small. */
export function mailJobs(jobs: MailJobs): { readonly close: () => Promise<void> } {
  const { outbox, config, origins, connection, role, metrics, clock, log } = jobs
  const mailer = config === null ? null : mailerOf(config, log)
  if (mailer === null) {
    log.warn(
      {},
      'no mail is sent, for neither SMTP_URL nor SES_REGION is set: mails wait for a day',
    )
  }
  const send =
    config === null || mailer === null
      ? null
      : sendMails({ outbox, mailer, publicUrl: config.publicUrl, origins, clock })
  const keep = keeping(jobs)

  const round = async (session: LeaderSession) => {
    await keep()
    const outcomes = send === null ? [] : await send()
    for (const { id: mail_id, kind, became, why } of outcomes) {
      if (became === 'dropped') continue
      metrics.mailed(became, 1)
      const facts = { mail_id, kind, ...(why !== undefined && { why }) }
      if (became === 'sent') log.info(facts, 'sent a mail')
      else if (became === 'postponed') log.warn(facts, 'cannot send a mail now; it is tried again')
      else log.error(facts, 'a mail is refused for good')
    }
    // There may be more than one round takes. A server that is away is not asked at once for the next.
    const isAway = outcomes.some(({ became }) => became === 'postponed')
    await session.rest(isAway ? AFTER_FAILURE : outcomes.length > 0 ? 0 : IDLE)
  }

  const leadership: Leadership = lead({
    name: 'mails',
    connection,
    role,
    log,
    work: (session) =>
      round(session).catch(async (error: Error) => {
        if (!(error instanceof AppError)) throw error
        log.warn({ err: error.message }, 'cannot look after mails')
        await session.rest(AFTER_FAILURE)
      }),
  })
  return {
    close: async () => {
      await leadership.close()
      mailer?.close()
    },
  }
}

/** Looks from time to time at what waits, and what has waited or stayed too long. */
function keeping({ outbox, metrics, clock, log }: MailJobs): () => Promise<void> {
  const giveUpOld = giveUpOldMails(outbox, clock)
  let countedAt = 0
  let removedAt = 0
  return async () => {
    const now = clock().getTime()
    if (now - countedAt >= BETWEEN_COUNTS) {
      const mails = await giveUpOld()
      metrics.mailed('given_up', mails)
      if (mails > 0) log.error({ mails }, 'mails could not be sent for a day, and are given up')
      const counts = await outbox.counts(clock())
      metrics.mailsWaiting(counts)
      log.info(counts, 'mail lag')
      countedAt = now
    }
    if (now - removedAt >= BETWEEN_REMOVALS) {
      while ((await outbox.removeOld(clock())) > 0);
      removedAt = now
    }
  }
}

function mailerOf(config: NonNullable<MailConfig>, log: Log): Mailer {
  if ('smtp' in config) return smtpMailer(config.smtp)
  if ('ses' in config) return sesMailer(config.ses)
  return mailDirectory({ ...config.directory, log })
}
