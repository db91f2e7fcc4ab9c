import type { RequestContext, Users } from './ports/accounts.ts'
import type { Caller } from './ports/authorization.ts'
import type { UserChanges } from './ports/users.ts'
import { requireOwnStepUp } from './step-up.ts'

/** What users change of themselves; what is not named stays as it is. */
export type ProfileChange = { readonly username?: string | undefined }

export type Profile = ReturnType<typeof profile>

export function profile({ users, changes }: { users: Users; changes: UserChanges }) {
  return {
    /**
     * Asks for a recent proof: who gives a name up may not get it back. Errors: `username_taken`, `step_up_required`.
     */
    async change(
      caller: Caller,
      { username }: ProfileChange,
      requestContext: RequestContext,
    ): Promise<void> {
      if (username === undefined) return
      await requireOwnStepUp(users, caller, requestContext.now)
      await changes.rename(caller.user_id, username, requestContext)
    },
  }
}
