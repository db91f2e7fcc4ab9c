import type { Context } from 'koa'
import { z } from 'zod'
import type { Accounts } from '../app/accounts.ts'
import type { Clock } from '../app/ports/process.ts'
import type { Profile } from '../app/profile.ts'
import * as schema from './auth-schemas.ts'
import type { Endpoint, routes } from './endpoint.ts'
import type { RateLimit } from './rate-limit.ts'
import { requestContextOf } from './request-context.ts'

const body = z.strictObject({ user: schema.profile })

const change = {
  method: 'patch',
  path: '/auth/me',
  summary: 'Change the username, or the email',
  description:
    'A username changes at once. It asks for a recent proof: whoever gives a name up may not get it back. Access ' +
    'tokens say the earlier one until they are refreshed.\n\n' +
    'For an email a link is mailed to the new address and, if it is confirmed, one to the old: within a day both have ' +
    'to confirm, and only then is it another one. The old one gets a link that stops it, too.',
  access: 'token',
  body: schema.profileChange,
  answers: {
    200: { description: 'Changed', body },
    202: { description: 'Another email is asked for; nothing has changed yet', body },
  },
  errors: [
    'username_taken',
    'step_up_required',
    'wrong_password',
    'too_many_attempts',
    'hashing_busy',
  ],
} as const satisfies Endpoint

export const PROFILE_ENDPOINTS: readonly Endpoint[] = [change] as readonly Endpoint[]

export type ProfileRoutes = {
  readonly accounts: Accounts
  readonly profile: Profile
  readonly clock: Clock
  /** Counts by user what has mails sent. */
  readonly mailLimit: RateLimit
}

export function profileRoutes(on: ReturnType<typeof routes>, dependencies: ProfileRoutes): void {
  const { accounts, profile, clock, mailLimit } = dependencies
  const requestContext = (ctx: Context) => requestContextOf(ctx, clock)

  on(change, async ({ body: { username, email, password } }, ctx, caller) => {
    if (username !== undefined) await profile.rename(caller, username, requestContext(ctx))
    if (email !== undefined && password !== undefined) {
      await mailLimit(ctx, String(caller.user_id))
      await accounts.changeEmail(caller, { email, password }, requestContext(ctx))
      ctx.status = 202
    }
    ctx.body = { user: await accounts.me(caller, clock()) }
  })
}
