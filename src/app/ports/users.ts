import type { Role, User } from '../../domain/user.ts'
import type { RequestContext } from './accounts.ts'

/** A user as admins see them. */
export type ListedUser = User & {
  /** Null: not locked. */
  readonly locked_at: string | null
  readonly lock_reason: string | null
  /** Of the sessions that are still known: they are for 30 days after their end. */
  readonly last_login_at: string | null
}

export type UserQuery = {
  /** Part of a username or an email, in whatever letter case. */
  readonly q?: string | undefined
  readonly role?: Role | undefined
  readonly locked?: boolean | undefined
  readonly limit: number
  /** Id of the last user on the previous page. */
  readonly after?: number | undefined
}

/** Error of every method: `database_unavailable`. */
export type UserList = {
  /** The newest first. `next`: where the next page begins, if there is one. */
  readonly find: (
    query: UserQuery,
  ) => Promise<{ readonly users: readonly ListedUser[]; readonly next: number | null }>
  readonly get: (id: number) => Promise<ListedUser | null>
}

/** An admin, and why they do something. */
export type Decision = { readonly by: number; readonly reason: string | null }

/** Each is recorded with the change, and does and records nothing if there is nothing to change. */
export type UserChanges = {
  /** Recorded as `username_changed`. Error: `username_taken`. */
  readonly rename: (id: number, username: string, requestContext: RequestContext) => Promise<void>
  /** Ends every session. Recorded as `account_locked`. `admins_only`: who does it is no admin any more. */
  readonly lock: (
    id: number,
    decision: Decision & { readonly reason: string },
    requestContext: RequestContext,
  ) => Promise<'locked' | 'not_found' | 'admins_only'>
  /** Recorded as `account_unlocked`. */
  readonly unlock: (id: number, decision: Decision, requestContext: RequestContext) => Promise<void>
}
