import { z } from 'zod'
import type { Session } from '../app/ports/accounts.ts'
import { AMR } from '../app/ports/authorization.ts'
import type { Origins } from '../app/ports/origins.ts'
import { ROLES } from '../domain/user.ts'
import { instant, pageSize, text } from './fields.ts'
import { REQUEST_ID } from './request-id.ts'

/** Validations in one call. */
const MAX_BATCH = 100

/** More may be asked for, and other things: app/password-policy.ts. */
const MIN_PASSWORD = 8
const MAX_PASSWORD = 256

const username = z
  .string()
  .regex(/^[A-Za-z0-9_.-]{3,50}$/, 'must have 3 to 50 characters of A-Z a-z 0-9 _ . -')
const password = text(1, MAX_PASSWORD, { blank: true })
export const newPassword = text(MIN_PASSWORD, MAX_PASSWORD, { blank: true })
export const role = z.enum(ROLES)

const email = z.email('must be an email address').max(100, 'must have at most 100 characters')

export const registration = z
  .strictObject({ username, email, password: newPassword })
  .meta({ id: 'Registration' })

export const inCookies = z.boolean().optional().meta({
  description:
    'For pages of a browser: answer with cookies that no script can read, in place of tokens',
})

export const login = z
  .strictObject({
    username: z
      .string()
      .max(100, 'must have at most 100 characters')
      .regex(/^(?:[A-Za-z0-9_.-]{3,50}|[!-~]+@[!-~]+)$/, 'must be a username, or an email address')
      .meta({ description: 'Or the email address of the account, once it is confirmed' }),
    password,
    cookie: inCookies,
  })
  .meta({ id: 'Login' })

export const refresh = z
  .strictObject({
    refresh_token: z
      .string()
      .min(1)
      .max(100)
      .optional()
      .meta({ description: 'Without it, that of the cookie' }),
  })
  .meta({ id: 'Refresh' })

export const passwordChange = z
  .strictObject({ current_password: password, new_password: newPassword })
  .meta({ id: 'PasswordChange' })

export const estimate = z
  .strictObject({
    password: text(0, MAX_PASSWORD),
    username: text(0, 50).optional(),
    email: text(0, 100).optional(),
  })
  .meta({ id: 'Estimate' })

export const strength = z
  .strictObject({
    score: z.int().min(0).max(4).meta({ description: '0: guessed at once; 3 and 4: strong' }),
    guesses: z.number().meta({ description: 'How many it takes, about' }),
    warning: z.string().nullable().meta({ description: 'What makes it weak' }),
    suggestions: z.array(z.string()),
    refused: z
      .string()
      .nullable()
      .meta({ description: 'The rule that it would break as a new password' }),
  })
  .meta({ id: 'Strength' })

export const erasure = z
  .strictObject({
    password: password
      .optional()
      .meta({ description: 'Of an account that has one; any other was just signed in to' }),
  })
  .meta({ id: 'Erasure' })

/** The secret of a link in a mail. */
const linkToken = z.string().regex(/^[A-Za-z0-9_-]{43}$/, 'must be the token of a link in a mail')

export const link = z.strictObject({ token: linkToken }).meta({ id: 'Link' })

export const resetRequest = z.strictObject({ email }).meta({ id: 'PasswordResetRequest' })

export const passwordReset = z
  .strictObject({ token: linkToken, new_password: newPassword })
  .meta({ id: 'PasswordReset' })

export const sessionId = { id: z.uuid('must be a UUID') }

const identity = { id: z.int(), username: z.string(), email: z.string(), role }

export const user = z.strictObject({ ...identity, created_at: instant }).meta({ id: 'User' })

export const profile = z
  .strictObject({
    ...user.shape,
    email_confirmed: z.boolean().meta({ description: 'By a link in a mail to it' }),
    pending_email: z
      .string()
      .nullable()
      .meta({ description: 'What the email becomes when both addresses have confirmed it' }),
  })
  .meta({ id: 'Profile' })

export const confirmed = z.strictObject({
  status: z.enum(['confirmed', 'waiting']).meta({
    description:
      '`confirmed`: it is the address of the account; `waiting`: the other address has to confirm the change too',
  }),
})

export const asked = z.strictObject({ message: z.string() })

const expires_in = z.int().meta({ description: 'Seconds until the access token expires' })
const token = z
  .string()
  .optional()
  .meta({ description: 'Access token; absent if it is in a cookie' })

/** With cookies there are no tokens in the body. */
export const signedIn = z
  .strictObject({
    token,
    expires_in,
    refresh_token: z
      .string()
      .optional()
      .meta({ description: 'Good for one POST /auth/refresh; absent if it is in a cookie' }),
    refresh_expires_in: z
      .int()
      .meta({ description: 'Seconds until the session ends if nothing refreshes it' }),
    user: z.strictObject(identity).meta({ id: 'Identity' }),
  })
  .meta({ id: 'SignedIn' })

/** One thing at a time: of two, one alone might be refused. */
export const profileChange = z
  .strictObject({
    username: username.optional(),
    email: email.optional(),
    password: password.optional().meta({ description: 'The current one, with an email' }),
  })
  .refine(({ username, email }) => (username === undefined) !== (email === undefined), {
    error: 'must be sent, or email',
    path: ['username'],
  })
  .refine(({ email, password }) => (email === undefined) === (password === undefined), {
    error: 'must be sent with email, and only then',
    path: ['password'],
  })
  .meta({ id: 'ProfileChange', minProperties: 1 })

export const listedUser = z
  .strictObject({
    ...identity,
    created_at: instant,
    locked: z.boolean(),
    locked_at: instant.nullable(),
    lock_reason: z.string().nullable(),
    last_login_at: instant.nullable().meta({
      description: 'Of the sessions that are still known: they are for 30 days after their end',
    }),
  })
  .meta({ id: 'ListedUser' })

const boolean = z
  .enum(['true', 'false'], 'must be true or false')
  .transform((value) => value === 'true')

export const userQuery = {
  q: text(1, 100).optional().meta({ description: 'Part of a username or an email' }),
  role: role.optional(),
  locked: boolean.optional(),
  limit: pageSize.optional().meta({ description: 'Page size, 1 to 200; default 50' }),
  cursor: z.string().max(500, 'must be a cursor of this list').optional(),
}

const reason = text(1, 500, { trim: true })

export const lock = z.strictObject({ reason }).meta({ id: 'Lock' })

export const unlock = z.strictObject({ reason: reason.optional() }).meta({ id: 'Unlock' })

export const steppedUp = z.strictObject({ token, expires_in }).meta({ id: 'SteppedUp' })

export const validated = z.strictObject({
  valid: z.literal(true),
  user: z
    .strictObject({
      user_id: z.int(),
      username: z.string(),
      email: z.string(),
      role,
      session_id: z.uuid(),
      iat: z.int(),
      exp: z.int(),
      auth_time: z.int().meta({ description: 'When the caller last proved who they are' }),
      amr: z.array(z.enum(AMR)).meta({ description: 'How (RFC 8176)' }),
    })
    .meta({ id: 'Caller' }),
})

// What is wrong with one token is said about that token alone.
export const batch = z
  .strictObject({
    tokens: z.array(z.string()).min(1).max(MAX_BATCH),
    request_ids: z
      .array(z.string().regex(REQUEST_ID))
      .max(MAX_BATCH)
      .meta({ description: 'Of all the requests that wait for the answers, for the log' }),
  })
  .meta({ id: 'Batch' })

const tokenEnd = z.string().max(16).meta({ description: 'The last characters of the token' })

export const validatedBatch = z.strictObject({
  answers: z.array(
    z.discriminatedUnion('valid', [
      validated.extend({ token_end: tokenEnd }),
      z.strictObject({ valid: z.literal(false), code: z.string(), token_end: tokenEnd }),
    ]),
  ),
})

const session = {
  id: z.uuid(),
  created_at: instant,
  last_used_at: instant,
  expires_at: instant,
  ip: z.string().nullable(),
  user_agent: z.string().nullable(),
  device: z.string().meta({
    description: 'What the user agent says, in words',
    examples: ['Firefox on Windows', 'curl', 'an unknown program'],
  }),
  place: z
    .string()
    .nullable()
    .meta({
      description: 'Where the address is, in words; null: that is not known',
      examples: ['Germany', 'a private network'],
    }),
}

export const sessions = z.strictObject({
  sessions: z.array(z.strictObject({ ...session, current: z.boolean() }).meta({ id: 'Session' })),
})

export const sessionsOfUser = z.strictObject({
  sessions: z.array(z.strictObject(session).meta({ id: 'SessionOfUser' })),
})

/** As answers show it. */
export const sessionShown = ({ user_id, ...session }: Session, origins: Origins) => ({
  ...session,
  device: origins.device(session.user_agent),
  place: origins.place(session.ip),
})
