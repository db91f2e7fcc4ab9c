import { z } from 'zod'
import type { Clock } from '../app/ports/process.ts'
import type { Roles } from '../app/roles.ts'
import { role } from './auth-schemas.ts'
import type { Endpoint, routes } from './endpoint.ts'
import { id } from './fields.ts'
import { requestContextOf } from './request-context.ts'

const changeRole = {
  method: 'put',
  path: '/auth/users/:id/role',
  summary: 'Give a user a role',
  description:
    'For admins. It is an event of the log (`UserRoleChanged`), which the audit trail shows, also to the user. ' +
    'It holds from the next request of the user on. The last admin stays one.',
  access: 'token',
  params: { id },
  body: z.strictObject({ role }).meta({ id: 'RoleChange' }),
  answers: {
    200: {
      description: 'The user has the role',
      body: z.strictObject({
        user: z.strictObject({ id: z.int(), username: z.string(), role }).meta({ id: 'UserRole' }),
      }),
    },
  },
  errors: ['admins_only', 'step_up_required', 'user_not_found', 'last_admin'],
} as const satisfies Endpoint

export const USER_ENDPOINTS: readonly Endpoint[] = [changeRole] as readonly Endpoint[]

export type UserRoutes = { readonly roles: Roles; readonly clock: Clock }

/** What admins do with accounts. */
export function userRoutes(on: ReturnType<typeof routes>, { roles, clock }: UserRoutes): void {
  on(changeRole, async ({ params, body }, ctx, caller) => {
    const context = requestContextOf(ctx, clock)
    const { id, username, role } = await roles.change(caller, params.id, body.role, context)
    ctx.body = { user: { id, username, role } }
  })
}
