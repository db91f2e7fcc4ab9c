import { letterOf, linkUrl, written } from './mail-texts.ts'
import { MailError, type Mailer } from './ports/mail.ts'
import type { DueMail, LinkKind, Outbox } from './ports/mails.ts'
import type { Origins } from './ports/origins.ts'
import type { Clock } from './ports/process.ts'

/** Whatever the reason: after a day nobody waits for it any more. */
const TRIED_FOR_MS = 24 * 3_600_000
const FIRST_PAUSE_MS = 60_000
const LONGEST_PAUSE_MS = 3_600_000

export type Outcome = {
  readonly id: number
  readonly kind: string
  readonly became: 'sent' | 'postponed' | 'given_up' | 'dropped'
  readonly why?: string
}

export type SendMailsOptions = {
  readonly outbox: Outbox
  readonly mailer: Mailer
  /** What links in mails begin with, without a slash at the end. */
  readonly publicUrl: string
  readonly origins: Origins
  readonly clock: Clock
}

/**
 * Sends some of the mails that are due, at least once each: what was sent and not noted is sent again, under the same
 * Message-ID. Error: `database_unavailable`.
 */
export function sendMails(options: SendMailsOptions): () => Promise<readonly Outcome[]> {
  const { outbox, mailer, publicUrl, origins, clock } = options
  const { hostname } = new URL(publicUrl)

  /** False: there is nothing to say. */
  async function send(mail: DueMail): Promise<boolean> {
    const now = clock()
    const letter = letterOf(mail, { publicUrl, origins }, now)
    if (letter === null) return false
    const urls: Partial<Record<LinkKind, string>> = {}
    for (const link of letter.links) {
      const token = await outbox.makeLink(mail.id, link, now)
      urls[link.kind] = linkUrl(publicUrl, link.kind, token)
    }
    const name = (mail.holder ?? mail.account)?.username ?? mail.event?.username ?? null
    await mailer.send({
      to: mail.address,
      subject: letter.subject,
      text: written(name, letter.write(urls as Record<LinkKind, string>)),
      message_id: `${mail.message_id}@${hostname}`,
    })
    return true
  }

  async function deliver(mail: DueMail): Promise<Outcome> {
    const { id, kind, tries } = mail
    try {
      if (!(await send(mail))) {
        await outbox.dropped(id)
        return { id, kind, became: 'dropped' }
      }
    } catch (error) {
      if (!(error instanceof MailError)) throw error
      const { message: why, isFinal } = error
      if (isFinal) {
        await outbox.givenUp(id, why, clock())
        return { id, kind, became: 'given_up', why }
      }
      const pause = Math.min(FIRST_PAUSE_MS * 2 ** tries, LONGEST_PAUSE_MS)
      await outbox.postponed(id, new Date(clock().getTime() + pause), why)
      return { id, kind, became: 'postponed', why }
    }
    await outbox.sent(id, clock())
    return { id, kind, became: 'sent' }
  }

  return async () => {
    const due = await outbox.due(clock())
    // One that fails must not keep the others from being noted.
    const outcomes = await Promise.allSettled(due.map(deliver))
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
    return outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
  }
}

/** Ends the waiting of mails that nobody could send for a day; returns how many. Error: `database_unavailable`. */
export const giveUpOldMails =
  (outbox: Outbox, clock: Clock): (() => Promise<number>) =>
  () =>
    outbox.giveUpOlder(new Date(clock().getTime() - TRIED_FOR_MS), clock())
