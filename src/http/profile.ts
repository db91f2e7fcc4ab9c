import type { Context } from 'koa'
import { z } from 'zod'
import type { Clock } from '../app/ports/process.ts'
import type { Profile } from '../app/profile.ts'
import * as schema from './auth-schemas.ts'
import type { Endpoint, routes } from './endpoint.ts'
import { requestContextOf } from './request-context.ts'

const change = {
  method: 'patch',
  path: '/auth/me',
  summary: 'Change the profile',
  description:
    'Only what is named changes. A new username asks for a recent proof: whoever gives a name up may not get it ' +
    'back. Access tokens say the earlier one until they are refreshed.',
  access: 'token',
  body: schema.profileChange,
  answers: { 200: { description: 'The user', body: z.strictObject({ user: schema.user }) } },
  errors: ['username_taken', 'step_up_required'],
} as const satisfies Endpoint

export const PROFILE_ENDPOINTS: readonly Endpoint[] = [change] as readonly Endpoint[]

export type ProfileRoutes = { readonly profile: Profile; readonly clock: Clock }

export function profileRoutes(
  on: ReturnType<typeof routes>,
  { profile, clock }: ProfileRoutes,
): void {
  on(change, async ({ body }, ctx: Context, caller) => {
    ctx.body = { user: await profile.change(caller, body, requestContextOf(ctx, clock)) }
  })
}
