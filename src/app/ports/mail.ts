export type Mail = {
  readonly to: string
  readonly subject: string
  /** Plain text; lines end with \n. */
  readonly text: string
  /** The same for the same mail, however often it is sent: `id@domain`, without brackets. */
  readonly message_id: string
}

/** Why a mail was not taken. The message names neither the address nor anything of the mail. */
export class MailError extends Error {
  /** Whether it would be refused again, however often it is tried. */
  readonly isFinal: boolean

  constructor(message: string, { isFinal, cause }: { isFinal: boolean; cause?: unknown }) {
    super(message, { cause })
    this.name = 'MailError'
    this.isFinal = isFinal
  }
}

/** Hands mails to whoever delivers them. */
export type Mailer = {
  /** Resolves when somebody has taken the mail over; it may then arrive twice if it is sent again. Error: MailError. */
  readonly send: (mail: Mail) => Promise<void>
  readonly close: () => void
}
