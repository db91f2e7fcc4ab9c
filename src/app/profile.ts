import type { RequestContext, Users } from './ports/accounts.ts'
import type { Caller } from './ports/authorization.ts'
import type { UserChanges } from './ports/users.ts'
import { requireOwnStepUp } from './step-up.ts'

export type Profile = ReturnType<typeof profile>

/** What users change of themselves, besides what a password is asked for (app/accounts.ts). */
export const profile = ({ users, changes }: { users: Users; changes: UserChanges }) => ({
  /** Asks for a recent proof: who gives a name up may not get it back. Errors: `username_taken`, `step_up_required`. */
  async rename(caller: Caller, username: string, requestContext: RequestContext): Promise<void> {
    await requireOwnStepUp(users, caller, requestContext.now)
    await changes.rename(caller.user_id, username, requestContext)
  },
})
