import type { Context } from 'koa'
import { z } from 'zod'
import type { Origins } from '../app/ports/origins.ts'
import type { Clock } from '../app/ports/process.ts'
import type { ListedUser } from '../app/ports/users.ts'
import type { Roles } from '../app/roles.ts'
import type { UserAdministration } from '../app/users.ts'
import * as schema from './auth-schemas.ts'
import { linkNext, NEXT_LINK, readCursor, writeCursor } from './cursors.ts'
import type { Endpoint, routes } from './endpoint.ts'
import { id } from './fields.ts'
import { requestContextOf } from './request-context.ts'

const PAGE_SIZE = 50

const oneUser = { description: 'The user', body: z.strictObject({ user: schema.listedUser }) }
const RECORDED = 'On record, before it is answered.'

const list = {
  method: 'get',
  path: '/auth/users',
  summary: 'Users, the newest first',
  description: RECORDED,
  access: 'token',
  roles: ['admin'],
  query: schema.userQuery,
  answers: {
    200: {
      description: 'A page; next_cursor is null on the last one',
      body: z.strictObject({
        users: z.array(schema.listedUser),
        next_cursor: z.string().nullable(),
      }),
      headers: NEXT_LINK,
    },
  },
} as const satisfies Endpoint

const get = {
  method: 'get',
  path: '/auth/users/:id',
  summary: 'One user',
  description: RECORDED,
  access: 'token',
  roles: ['admin'],
  params: { id },
  answers: { 200: oneUser },
  errors: ['user_not_found'],
} as const satisfies Endpoint

const sessions = {
  method: 'get',
  path: '/auth/users/:id/sessions',
  summary: "A user's sessions",
  description: RECORDED,
  access: 'token',
  roles: ['admin'],
  params: { id },
  answers: { 200: { description: 'Newest first', body: schema.sessionsOfUser } },
  errors: ['user_not_found'],
} as const satisfies Endpoint

const endAll = {
  method: 'delete',
  path: '/auth/users/:id/sessions',
  summary: "End all of a user's sessions",
  access: 'token',
  roles: ['admin'],
  params: { id },
  answers: { 204: { description: 'They have ended on every instance' } },
  errors: ['user_not_found', 'step_up_required'],
} as const satisfies Endpoint

const endOne = {
  method: 'delete',
  path: '/auth/users/:id/sessions/:session_id',
  summary: "End one of a user's sessions",
  access: 'token',
  roles: ['admin'],
  params: { id, session_id: schema.sessionId.id },
  answers: { 204: { description: 'It has ended on every instance' } },
  errors: ['session_not_found', 'step_up_required'],
} as const satisfies Endpoint

const lock = {
  method: 'post',
  path: '/auth/users/:id/lock',
  summary: 'Lock an account',
  description:
    'All of its sessions end at once, on every instance, and nobody can log in. On record, with the reason.',
  access: 'token',
  roles: ['admin'],
  params: { id },
  body: schema.lock,
  answers: { 200: oneUser },
  errors: ['user_not_found', 'own_account', 'step_up_required'],
} as const satisfies Endpoint

const unlock = {
  method: 'post',
  path: '/auth/users/:id/unlock',
  summary: 'Unlock an account',
  description: 'Its user can log in again. On record.',
  access: 'token',
  roles: ['admin'],
  params: { id },
  body: schema.unlock,
  answers: { 200: oneUser },
  errors: ['user_not_found', 'step_up_required'],
} as const satisfies Endpoint

const changeRole = {
  method: 'put',
  path: '/auth/users/:id/role',
  summary: 'Give a user a role',
  description:
    'It is an event of the log (`UserRoleChanged`), which the audit trail shows, also to the user. ' +
    'It holds from the next request of the user on. The last admin stays one.',
  access: 'token',
  roles: ['admin'],
  params: { id },
  body: z.strictObject({ role: schema.role }).meta({ id: 'RoleChange' }),
  answers: {
    200: {
      description: 'The user has the role',
      body: z.strictObject({
        user: z
          .strictObject({ id: z.int(), username: z.string(), role: schema.role })
          .meta({ id: 'UserRole' }),
      }),
    },
  },
  errors: ['step_up_required', 'user_not_found', 'last_admin'],
} as const satisfies Endpoint

export const USER_ENDPOINTS: readonly Endpoint[] = [
  list,
  get,
  sessions,
  endAll,
  endOne,
  lock,
  unlock,
  changeRole,
] as readonly Endpoint[]

export type UserRoutes = {
  readonly users: UserAdministration
  readonly roles: Roles
  readonly origins: Origins
  readonly clock: Clock
}

export function userRoutes(on: ReturnType<typeof routes>, dependencies: UserRoutes): void {
  const { users, roles, origins, clock } = dependencies
  const requestContext = (ctx: Context) => requestContextOf(ctx, clock)

  on(list, async ({ query }, ctx, caller) => {
    const { cursor, limit = PAGE_SIZE, ...conditions } = query
    const after = readCursor('users', cursor)
    const page = await users.find(caller, { ...conditions, limit, after }, requestContext(ctx))
    const next_cursor = page.next === null ? null : writeCursor('users', page.next)
    if (next_cursor !== null) linkNext(ctx, next_cursor)
    ctx.body = { users: page.users.map(shown), next_cursor }
  })

  on(get, async ({ params }, ctx, caller) => {
    ctx.body = { user: shown(await users.get(caller, params.id, requestContext(ctx))) }
  })

  on(sessions, async ({ params }, ctx, caller) => {
    const found = await users.sessions(caller, params.id, requestContext(ctx))
    ctx.body = { sessions: found.map((session) => schema.sessionShown(session, origins)) }
  })

  on(endAll, async ({ params }, ctx, caller) => {
    await users.endSessions(caller, params.id, requestContext(ctx))
    ctx.status = 204
  })

  on(endOne, async ({ params }, ctx, caller) => {
    await users.endSession(caller, params.id, params.session_id, requestContext(ctx))
    ctx.status = 204
  })

  on(lock, async ({ params, body }, ctx, caller) => {
    const locked = await users.lock(caller, params.id, body.reason, requestContext(ctx))
    ctx.body = { user: shown(locked) }
  })

  on(unlock, async ({ params, body }, ctx, caller) => {
    const { reason = null } = body
    const unlocked = await users.unlock(caller, params.id, reason, requestContext(ctx))
    ctx.body = { user: shown(unlocked) }
  })

  on(changeRole, async ({ params, body }, ctx, caller) => {
    const changed = await roles.change(caller, params.id, body.role, requestContext(ctx))
    const { id, username, role } = changed
    ctx.body = { user: { id, username, role } }
  })
}

const shown = (user: ListedUser) => ({ ...user, locked: user.locked_at !== null })
