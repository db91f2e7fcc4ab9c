/** What a link in a mail does, once, for whoever opens the mailbox. */
export type LinkKind = 'verify' | 'change-old' | 'change-new' | 'cancel' | 'reset'

export type Account = {
  readonly id: number
  readonly username: string
  readonly email: string
  readonly email_confirmed: boolean
  readonly credentials_version: number
}

/** A mail that is to be sent, and what is so now of what it is about. */
export type DueMail = {
  readonly id: number
  readonly message_id: string
  /** The type of the security event. A newer version may have written one that this one does not know. */
  readonly kind: string
  /** Of a change of address: which of the two it goes to. */
  readonly party: 'old' | 'new' | null
  /** Where to; the account's as of the event. */
  readonly address: string
  readonly created_at: string
  readonly tries: number
  /** Null: the record has expired. */
  readonly event: {
    readonly username: string | null
    readonly ip: string | null
    readonly user_agent: string | null
    readonly occurred_at: string
    readonly details: Readonly<Record<string, unknown>>
  } | null
  /** Whose account it is about; null: the account is gone, or nobody was known. */
  readonly account: Account | null
  /** Who has confirmed the address that it goes to. */
  readonly holder: Account | null
  /** The change of address that is under way. */
  readonly change: {
    readonly old_email: string
    readonly new_email: string
    readonly expires_at: string
  } | null
  /** How many of this kind that address got within the last hour. */
  readonly sent_lately: number
}

export type NewLink = {
  readonly kind: LinkKind
  readonly account: Account
  /** What it is about. */
  readonly address: string
  readonly expires_at: Date
}

export type MailCounts = {
  readonly waiting: number
  /** Age of the oldest that waits. */
  readonly oldest_seconds: number
}

/** Mails that have to be sent, and those that were. Error of every method: `database_unavailable`. */
export type Outbox = {
  /** Some of those whose time has come, the longest waiting first, and one for each address. */
  readonly due: (now: Date) => Promise<readonly DueMail[]>
  /** Ends the links of that kind in earlier mails to the same user. Returns the token; only its hash is kept. */
  readonly makeLink: (mail_id: number, link: NewLink, now: Date) => Promise<string>
  readonly sent: (id: number, now: Date) => Promise<void>
  readonly postponed: (id: number, until: Date, why: string) => Promise<void>
  readonly givenUp: (id: number, why: string, now: Date) => Promise<void>
  /** Gives up those that have waited since before `then`; returns how many. */
  readonly giveUpOlder: (then: Date, now: Date) => Promise<number>
  /** There is nothing to say, or not to this address: no row stays. */
  readonly dropped: (id: number) => Promise<void>
  readonly counts: (now: Date) => Promise<MailCounts>
  /** Removes some of what is 30 days old; returns how many. */
  readonly removeOld: (now: Date) => Promise<number>
}
