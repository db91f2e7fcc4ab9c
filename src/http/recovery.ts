import type { Context } from 'koa'
import { z } from 'zod'
import type { Clock } from '../app/ports/process.ts'
import type { Recovery } from '../app/recovery.ts'
import * as schema from './auth-schemas.ts'
import type { Endpoint, routes } from './endpoint.ts'
import { orFaultOf } from './passwords.ts'
import { byAddress, type RateLimit } from './rate-limit.ts'
import { requestContextOf } from './request-context.ts'

const askToVerify = {
  method: 'post',
  path: '/auth/email/verification',
  summary: 'Ask for another link to confirm the email',
  description: 'Nothing is mailed if it is confirmed.',
  access: 'token',
  identity: 'local',
  // Many clients send {} with every POST.
  body: z.strictObject({}),
  answers: { 202: { description: 'A link is on its way', body: schema.asked } },
} as const satisfies Endpoint

const confirm = {
  method: 'post',
  path: '/auth/email/verify',
  summary: 'Confirm an address by the link that was mailed to it',
  description: 'Of a new account, or one of the two addresses of a change.',
  access: 'public',
  identity: 'local',
  body: schema.link,
  answers: { 200: { description: 'Confirmed by this address', body: schema.confirmed } },
  errors: ['link_invalid', 'email_taken', 'database_unavailable'],
} as const satisfies Endpoint

const cancel = {
  method: 'post',
  path: '/auth/email/cancel',
  summary: 'Stop a change of address by the link that was mailed to the old one',
  access: 'public',
  identity: 'local',
  body: schema.link,
  answers: { 204: { description: 'The email stays' } },
  errors: ['link_invalid', 'database_unavailable'],
} as const satisfies Endpoint

const askToReset = {
  method: 'post',
  path: '/auth/password/reset-request',
  summary: 'Ask for a link to set a new password',
  description:
    'It is mailed to the address, if an account has confirmed that it is its own, three times an hour at most. The ' +
    'answer is always the same.',
  access: 'public',
  identity: 'local',
  body: schema.resetRequest,
  answers: { 202: { description: 'Noted', body: schema.asked } },
  errors: ['database_unavailable'],
} as const satisfies Endpoint

const reset = {
  method: 'post',
  path: '/auth/password/reset',
  summary: 'Set a new password by a link that was mailed',
  description: 'A second factor stays as it is.',
  access: 'public',
  identity: 'local',
  body: schema.passwordReset,
  answers: { 204: { description: 'Set; all sessions of the user have ended' } },
  errors: ['link_invalid', 'hashing_busy', 'database_unavailable'],
} as const satisfies Endpoint

export const RECOVERY_ENDPOINTS: readonly Endpoint[] = [
  askToVerify,
  confirm,
  cancel,
  askToReset,
  reset,
] as readonly Endpoint[]

export type RecoveryRoutes = {
  readonly recovery: Recovery
  readonly clock: Clock
  /** Counts by address who asks for a new password. */
  readonly resetLimit: RateLimit
  /** Counts by address who uses links. */
  readonly linkLimit: RateLimit
  /** Counts by user what has mails sent. */
  readonly mailLimit: RateLimit
}

export function recoveryRoutes(on: ReturnType<typeof routes>, dependencies: RecoveryRoutes): void {
  const { recovery, clock, resetLimit, linkLimit, mailLimit } = dependencies
  const requestContext = (ctx: Context) => requestContextOf(ctx, clock)

  on(askToVerify, async (_input, ctx, caller) => {
    await mailLimit(ctx, String(caller.user_id))
    await recovery.askToVerify(caller.user_id, requestContext(ctx))
    ctx.status = 202
    ctx.body = { message: 'If the address is not confirmed yet, a link is on its way to it' }
  })

  on(confirm, async ({ body }, ctx) => {
    await linkLimit(ctx, byAddress(ctx))
    ctx.body = { status: await recovery.confirm(body.token, requestContext(ctx)) }
  })

  on(cancel, async ({ body }, ctx) => {
    await linkLimit(ctx, byAddress(ctx))
    await recovery.cancel(body.token, requestContext(ctx))
    ctx.status = 204
  })

  on(askToReset, async ({ body }, ctx) => {
    await resetLimit(ctx, byAddress(ctx))
    await recovery.askToReset(body.email, requestContext(ctx))
    ctx.status = 202
    ctx.body = { message: 'If an account has confirmed this address, a link is on its way to it' }
  })

  on(reset, async ({ body }, ctx) => {
    await linkLimit(ctx, byAddress(ctx))
    const { token, new_password } = body
    await orFaultOf('new_password', recovery.reset(token, new_password, requestContext(ctx)))
    ctx.status = 204
  })
}
