import { OPERATOR, type Role, type User } from '../domain/user.ts'
import { AppError } from './errors.ts'
import type { RequestContext, Users } from './ports/accounts.ts'
import type { Caller } from './ports/authorization.ts'
import type { Log } from './ports/process.ts'
import { requireOwnStepUp } from './step-up.ts'

export type Roles = ReturnType<typeof roles>

/** Who has which role. Error of every use case: `database_unavailable`. */
export function roles(users: Users) {
  /** The user with the role, or null if there is none of that name. */
  async function byOperator(
    username: string,
    role: Role,
    onlyFirst: boolean,
    requestContext: RequestContext,
  ): Promise<{ readonly user: User; readonly changed: boolean } | null> {
    const found = await users.findByUsername(username)
    if (found === null) return null
    const { user } = found
    const who = { actor_id: OPERATOR, session_id: null }
    const change = { user_id: user.id, role, onlyFirst, ...who }
    const changed = await users.changeRole(change, requestContext)
    return { user: { ...user, role }, changed }
  }

  return {
    /** As an admin. Errors: `admins_only`, `step_up_required`, `user_not_found`, `last_admin`. */
    async change(
      caller: Caller,
      user_id: number,
      role: Role,
      requestContext: RequestContext,
    ): Promise<User> {
      const { user_id: actor_id, session_id } = caller
      if (caller.role !== 'admin') throw new AppError('admins_only')
      await requireOwnStepUp(users, caller, requestContext.now)
      const found = await users.find(user_id)
      if (found === null) throw new AppError('user_not_found')
      const change = { user_id, role, actor_id, session_id, onlyFirst: false }
      await users.changeRole(change, requestContext)
      return { ...found.user, role }
    },

    /** As an operator. Null: there is no such user. Error: `last_admin`. */
    async grant(username: string, role: Role, requestContext: RequestContext) {
      return (await byOperator(username, role, false, requestContext))?.user ?? null
    },

    /** Makes the user an admin if there is such a user, and no admin yet. Whether that was so. */
    async grantFirst(username: string, requestContext: RequestContext): Promise<boolean> {
      return (await byOperator(username, 'admin', true, requestContext))?.changed ?? false
    },
  }
}

/** The same users; who registers under this name becomes an admin, if there is none yet. */
export function withFirstAdmin(users: Users, username: string, log: Log): Users {
  const { grantFirst } = roles(users)
  const isFirst = (name: string) => name.toLowerCase() === username.toLowerCase()
  return {
    ...users,
    async add(user, requestContext) {
      const added = await users.add(user, requestContext)
      if (!isFirst(added.username)) return added
      try {
        const granted = await grantFirst(added.username, requestContext)
        return granted ? { ...added, role: 'admin' } : added
      } catch (error) {
        // The account is there all the same; the next start of a service tries again.
        log.error({ err: error }, 'cannot make the first admin')
        return added
      }
    },
  }
}
