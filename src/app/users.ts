import { AppError } from './errors.ts'
import type { RequestContext, SecurityEvents, Session, Sessions, Users } from './ports/accounts.ts'
import type { Caller } from './ports/authorization.ts'
import type { ListedUser, UserChanges, UserList, UserQuery } from './ports/users.ts'
import { requireOwnStepUp } from './step-up.ts'

export type UserAdministrationDependencies = {
  readonly users: Users
  readonly list: UserList
  readonly changes: UserChanges
  readonly sessions: Sessions
  readonly securityEvents: SecurityEvents
}

export type UserAdministration = ReturnType<typeof userAdministration>

/**
 * What admins do with the accounts of others. Every look is on record before it is answered. Error of every use case:
 * `database_unavailable`.
 */
export function userAdministration(on: UserAdministrationDependencies) {
  const { users, list, changes, sessions, securityEvents } = on

  /** Error: `user_not_found`. */
  async function get(id: number): Promise<ListedUser> {
    const user = await list.get(id)
    if (user === null) throw new AppError('user_not_found')
    return user
  }

  return {
    async find(caller: Caller, query: UserQuery, requestContext: RequestContext) {
      await securityEvents.viewed(caller, query, requestContext)
      return list.find(query)
    },

    /** Error: `user_not_found`. */
    async get(caller: Caller, id: number, requestContext: RequestContext): Promise<ListedUser> {
      await securityEvents.viewed(caller, { user_id: id }, requestContext)
      return get(id)
    },

    /** Error: `user_not_found`. */
    async sessions(
      caller: Caller,
      id: number,
      requestContext: RequestContext,
    ): Promise<readonly Session[]> {
      await securityEvents.viewed(caller, { user_id: id, sessions: true }, requestContext)
      await get(id)
      return sessions.ofUser(id, requestContext.now)
    },

    /** Errors: `user_not_found`, `own_account`, `step_up_required`; `admins_only`, if they were locked meanwhile. */
    async lock(
      caller: Caller,
      id: number,
      reason: string,
      requestContext: RequestContext,
    ): Promise<ListedUser> {
      await requireOwnStepUp(users, caller, requestContext.now)
      if (id === caller.user_id) throw new AppError('own_account')
      const outcome = await changes.lock(id, { by: caller.user_id, reason }, requestContext)
      if (outcome === 'admins_only') throw new AppError('admins_only')
      return get(id)
    },

    /** Errors: `user_not_found`, `step_up_required`. */
    async unlock(
      caller: Caller,
      id: number,
      reason: string | null,
      requestContext: RequestContext,
    ): Promise<ListedUser> {
      await requireOwnStepUp(users, caller, requestContext.now)
      await changes.unlock(id, { by: caller.user_id, reason }, requestContext)
      return get(id)
    },

    /** How many ended. Errors: `user_not_found`, `step_up_required`. */
    async endSessions(caller: Caller, id: number, requestContext: RequestContext): Promise<number> {
      await requireOwnStepUp(users, caller, requestContext.now)
      await get(id)
      return sessions.endFor(id, { by: caller.user_id }, requestContext)
    },

    /** Errors: `session_not_found`, `step_up_required`. */
    async endSession(
      caller: Caller,
      id: number,
      session_id: string,
      requestContext: RequestContext,
    ): Promise<void> {
      await requireOwnStepUp(users, caller, requestContext.now)
      const one = { by: caller.user_id, session_id }
      const ended = await sessions.endFor(id, one, requestContext)
      if (ended === 0) throw new AppError('session_not_found')
    },
  }
}
