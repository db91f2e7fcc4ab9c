import type { Context } from 'koa'
import { z } from 'zod'
import type { Accounts } from '../app/accounts.ts'
import type { Clock } from '../app/ports/process.ts'
import type { Profile } from '../app/profile.ts'
import * as schema from './auth-schemas.ts'
import type { Endpoint, routes } from './endpoint.ts'
import type { RateLimit } from './rate-limit.ts'
import { requestContextOf } from './request-context.ts'

const change = {
  method: 'patch',
  path: '/auth/me',
  summary: 'Change the profile',
  description:
    'The username, or the email. A new username asks for a recent proof: whoever gives a name up may not get it ' +
    'back. Access tokens say the earlier one until they are refreshed. A new email asks for the password, and is mailed ' +
    'a link; so is the old one, if it is confirmed. Within a day both have to confirm, and only then is it another ' +
    'one. The old one gets a link that stops it, too.',
  access: 'token',
  identity: 'local',
  body: schema.profileChange,
  answers: {
    200: {
      description: 'The user; a new email is pending_email until it is confirmed',
      body: z.strictObject({ user: schema.profile }),
    },
  },
  errors: [
    'username_taken',
    'step_up_required',
    'wrong_password',
    'password_not_set',
    'too_many_attempts',
    'hashing_busy',
  ],
} as const satisfies Endpoint

export const PROFILE_ENDPOINTS: readonly Endpoint[] = [change] as readonly Endpoint[]

export type ProfileRoutes = {
  readonly profile: Profile
  readonly accounts: Accounts
  /** Counts mails by user. */
  readonly mailLimit: RateLimit
  readonly clock: Clock
}

export function profileRoutes(
  on: ReturnType<typeof routes>,
  { profile, accounts, mailLimit, clock }: ProfileRoutes,
): void {
  on(change, async ({ body }, ctx: Context, caller) => {
    const { username, email, password } = body
    const requestContext = requestContextOf(ctx, clock)
    if (email !== undefined && password !== undefined) {
      await mailLimit(ctx, String(caller.user_id))
      await accounts.changeEmail(caller, { email, password }, requestContext)
    } else {
      await profile.change(caller, { username }, requestContext)
    }
    ctx.body = { user: await accounts.me(caller, clock()) }
  })
}
