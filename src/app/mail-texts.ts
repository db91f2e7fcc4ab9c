import type { DueMail, LinkKind, NewLink } from './ports/mails.ts'
import type { Origins } from './ports/origins.ts'
import type { SecurityEventType } from './security-event-types.ts'

/** What a mail says: paragraphs, each of which is wrapped, but lines that begin with a space. */
type Letter = {
  readonly subject: string
  readonly links: readonly NewLink[]
  readonly write: (url: Readonly<Record<LinkKind, string>>) => readonly string[]
}

/** Null: there is nothing to say any more. */
type Kind = (mail: DueMail, facts: Facts) => Letter | null

type Facts = {
  /** When, from where and with what it happened. */
  readonly circumstances: string
  readonly details: Readonly<Record<string, unknown>>
  /** Where a new password is asked for. */
  readonly forgot: string
  readonly now: Date
}

const factor = ({ kind, name }: Facts['details']): string =>
  `${kind === 'totp' ? 'an authenticator app' : 'a passkey'}${plain(name)}`

/** What a user has named, with nothing that only seems to be text. */
const plain = (name: unknown): string =>
  typeof name === 'string' ? ` ("${name.replace(/[^ -~]/g, '?').slice(0, 50)}")` : ''

const DAY = 24 * 3_600
const RESET_SECONDS = 30 * 60

const text = (fact: unknown): string => (typeof fact === 'string' ? fact : 'unknown')
const later = (now: Date, seconds: number) => new Date(now.getTime() + seconds * 1_000)

/** What has happened to an account, for its owner. */
const notice =
  (subject: string, says: (facts: Facts, mail: DueMail) => string, ifNotYou?: string): Kind =>
  (mail, facts) => ({
    subject,
    links: [],
    write: () => [
      says(facts, mail),
      facts.circumstances,
      'If this was you, there is nothing to do.',
      ifNotYou ??
        'If it was not you, somebody else can use your account. Set a new password now, which ends all sessions:',
      ...(ifNotYou === undefined ? [` ${facts.forgot}`] : []),
    ],
  })

/** What an admin has done; from where, is theirs. */
const decision =
  (subject: string, says: readonly string[]): Kind =>
  () => ({ subject, links: [], write: () => says })

/** Asks whether the address is that of the account. */
const verification: Kind = (mail, { circumstances, forgot, now }) => {
  const { account, holder, address } = mail
  if (account === null || account.email_confirmed || account.email !== address) return null
  if (holder !== null) {
    return {
      subject: 'You already have an account',
      links: [],
      write: () => [
        `Somebody gave this address for the new account "${account.username}". It already belongs to your account ` +
          `"${holder.username}", and stays there.`,
        circumstances,
        'If this was you, log in to that account. If you have forgotten its password:',
        ` ${forgot}`,
        'If it was not you, there is nothing to do: the new account has no right to your address.',
      ],
    }
  }
  const link = { kind: 'verify', account, address, expires_at: later(now, DAY) } as const
  return {
    subject: 'Confirm your address',
    links: [link],
    write: ({ verify }) => [
      `This address was given for the account "${account.username}". Confirm within a day that it is yours:`,
      ` ${verify}`,
      circumstances,
      'Only then can you log in by it, set a new password with it, and be told of what happens to the account.',
      'If it was not you, do nothing: without this link nobody can use your address.',
    ],
  }
}

/** Both mailboxes have a say. */
const change: Kind = ({ account, holder, party, address, change }, { circumstances, forgot }) => {
  if (account === null || change === null) return null
  const { new_email, expires_at } = change
  const link = (kind: LinkKind) => {
    return { kind, account, address: new_email, expires_at: new Date(expires_at) }
  }
  if (party === 'old') {
    return {
      subject: 'Confirm that your address changes',
      links: [link('change-old'), link('cancel')],
      write: (url) => [
        `The address of your account "${account.username}" is to become ${new_email}. This happens once both addresses ` +
          'have confirmed it, within a day. Confirm it here:',
        ` ${url['change-old']}`,
        circumstances,
        'If it was not you, somebody else knows your password. Stop the change:',
        ` ${url.cancel}`,
        'And set a new password, which ends all sessions:',
        ` ${forgot}`,
      ],
    }
  }
  if (address !== new_email) return null
  if (holder !== null && holder.id !== account.id) {
    return {
      subject: 'This address already has an account',
      links: [],
      write: () => [
        `Somebody wants this address for the account "${account.username}". It belongs to your account ` +
          `"${holder.username}", and stays there.`,
        circumstances,
        'There is nothing to do.',
      ],
    }
  }
  return {
    subject: 'Confirm your new address',
    links: [link('change-new')],
    write: (url) => [
      `This address is to become that of the account "${account.username}". Confirm within a day that it is yours:`,
      ` ${url['change-new']}`,
      circumstances,
      'If it was not you, do nothing: without this link nobody can use your address.',
    ],
  }
}

const reset: Kind = ({ holder, address }, { circumstances, now }) => {
  if (holder === null) return null
  const expires_at = later(now, RESET_SECONDS)
  return {
    subject: 'Set a new password',
    links: [{ kind: 'reset', account: holder, address, expires_at }],
    write: (url) => [
      `Somebody asked for a new password for your account "${holder.username}". Set it within half an hour:`,
      ` ${url.reset}`,
      circumstances,
      'If it was not you, do nothing: your password stays as it is, and whoever asked learns nothing.',
    ],
  }
}

/** What each security event means to the owner of the account; null: no mail. */
export const MAIL_OF: Readonly<Record<SecurityEventType, Kind | null>> = {
  registered: verification,
  login_succeeded: notice(
    'A new sign-in',
    () =>
      'Somebody signed in to your account from a device or an address that was not seen in the last 30 days.',
  ),
  login_failed: null,
  logged_out: null,
  session_ended: null,
  refresh_token_reused: notice(
    'A session was ended',
    () =>
      'A token of a session of your account was used twice, as only a thief would or somebody who was robbed. The ' +
      'session has ended.',
    'If you do not know why, set a new password, which ends all sessions.',
  ),
  stepped_up: null,
  step_up_failed: null,
  factor_added: notice(
    'A second factor was added',
    ({ details }) => `A second factor was added to your account: ${factor(details)}.`,
    'If it was not you, somebody else can use your account. Remove that factor, end all sessions, and set a new password.',
  ),
  factor_removed: notice(
    'A second factor was removed',
    ({ details }) => `A second factor was removed from your account: ${factor(details)}.`,
  ),
  recovery_codes_made: notice(
    'New recovery codes',
    () =>
      'New recovery codes were made for your account. Those from before are good for nothing now.',
  ),
  recovery_code_used: notice(
    'A recovery code was used',
    ({ details }) =>
      `One of the recovery codes of your account was used; ${Number(details.left)} of them are left.`,
  ),
  second_factor_failed: null,
  passkey_failed: null,
  password_changed: notice(
    'Your password was changed',
    () => 'The password of your account was changed, and all its sessions have ended.',
  ),
  password_change_failed: null,
  password_reset_requested: reset,
  password_reset: notice(
    'Your password was set anew',
    () =>
      'A new password was set for your account by a link in a mail, and all its sessions have ended.',
  ),
  email_verification_requested: verification,
  email_confirmed: null,
  email_change_requested: change,
  email_change_failed: null,
  email_change_confirmed: null,
  email_change_cancelled: notice(
    'Your address stays',
    () => 'The change of the address of your account was stopped.',
  ),
  email_changed: notice(
    'Your address was changed',
    (_, { account, party }) =>
      party === 'old'
        ? 'The address of your account is another one now. This is the last mail to this one.'
        : `This is now the address of the account "${account?.username}".`,
    'If it was not you, tell whoever runs this service at once: only they can give the account back.',
  ),
  link_refused: null,
  identity_linked: notice(
    'Another way to sign in',
    ({ details }) => `Your account can now be signed in to with ${text(details.provider)}.`,
    'If it was not you, somebody else can use your account. Unlink it, end all sessions, and set a new password.',
  ),
  identity_unlinked: notice(
    'A way to sign in was removed',
    ({ details }) => `Your account cannot be signed in to with ${text(details.provider)} any more.`,
  ),
  provider_sign_in_refused: null,
  role_changed: notice(
    'Your role was changed',
    ({ details }) => `Your role was changed from ${text(details.from)} to ${text(details.to)}.`,
    'If you did not expect it, ask whoever runs this service.',
  ),
  username_changed: notice(
    'Your username was changed',
    (_, { account }) =>
      `The username of your account was changed: it is now "${account?.username}".`,
  ),
  users_viewed: null,
  account_locked: decision('Your account was locked', [
    'Whoever runs this service has locked your account: all its sessions have ended, and nobody can log in. What is ' +
      'in it stays as it is.',
    'If you do not know why, ask them.',
  ]),
  account_unlocked: decision('Your account was unlocked', [
    'Whoever runs this service has unlocked your account: you can log in again.',
  ]),
  account_erased: notice(
    'Your account was erased',
    () =>
      'Your account was erased for good, with all that was in it. This is the last mail to this address.',
    'If it was not you, somebody else knew your password. Nobody can bring the account back; if you used that ' +
      'password elsewhere, change it there.',
  ),
  erasure_failed: null,
}

/** What anybody can have sent to any address; the others follow from what the owner, or a thief, has done. */
const ASKED_FOR: readonly string[] = [
  'registered',
  'email_verification_requested',
  'email_change_requested',
  'password_reset_requested',
]
/** To one address within an hour, of each of these kinds. */
const MOST_ASKED_FOR = 3

/** The mail to write; null: there is nothing to say, or this address has heard it often enough. */
export function letterOf(
  mail: DueMail,
  { publicUrl, origins }: { readonly publicUrl: string; readonly origins: Origins },
  now: Date,
): Letter | null {
  const kind = (MAIL_OF as Readonly<Record<string, Kind | null>>)[mail.kind]
  if (!kind || mail.event === null) return null
  if (ASKED_FOR.includes(mail.kind) && mail.sent_lately >= MOST_ASKED_FOR) return null
  const { details } = mail.event
  const forgot = `${publicUrl}${LINK_PATH}#forgot`
  return kind(mail, { circumstances: circumstances(mail.event, origins), details, forgot, now })
}

const LINK_PATH = '/v1/auth/link'

/** The token stands in the fragment, which no browser sends to anybody. */
export const linkUrl = (publicUrl: string, kind: LinkKind, token: string): string =>
  `${publicUrl}${LINK_PATH}#${kind}.${token}`

function circumstances(
  { occurred_at, ip, user_agent }: NonNullable<DueMail['event']>,
  origins: Origins,
): string {
  const place = origins.place(ip)
  return [
    ` When: ${new Date(occurred_at).toUTCString()}`,
    ` From: ${place === null ? '' : `${place}, `}${ip ?? 'unknown'}`,
    // In words of ours: whoever is behind it has chosen what the device says.
    ` With: ${origins.device(user_agent)}`,
  ].join('\n')
}

const WIDTH = 72

/** The whole text of a mail. */
export const written = (name: string | null, paragraphs: readonly string[]): string =>
  [`Hello${name === null ? '' : ` ${name}`},`, ...paragraphs, 'Tasktrail', '']
    .map((paragraph) => (paragraph.startsWith(' ') ? paragraph : wrapped(paragraph)))
    .join('\n\n')

function wrapped(paragraph: string): string {
  const lines = ['']
  for (const word of paragraph.split(' ')) {
    const line = lines.at(-1) ?? ''
    if (line === '') lines[lines.length - 1] = word
    else if (line.length + word.length < WIDTH) lines[lines.length - 1] = `${line} ${word}`
    else lines.push(word)
  }
  return lines.join('\n')
}
