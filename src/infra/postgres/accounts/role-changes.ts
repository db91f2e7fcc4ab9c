import { AppError } from '../../../app/errors.ts'
import type { NewRole, RequestContext } from '../../../app/ports/accounts.ts'
import type { Database } from '../connection/database.ts'
import { userEventValues } from './user-events.ts'

const CHANGE = {
  name: 'change_role',
  text: 'select change_role($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) as outcome',
}

type Outcome =
  | 'changed'
  | 'unchanged'
  | 'not_first'
  | 'user_not_found'
  | 'admins_only'
  | 'last_admin'

/** Its other half is db/migrations/…_roles_in_log.ts. */
export async function changeRole(
  db: Database,
  { user_id, role, actor_id, session_id, onlyFirst }: NewRole,
  requestContext: RequestContext,
): Promise<boolean> {
  const [done] = await db.query<{ outcome: Outcome }>(CHANGE, [
    user_id,
    role,
    actor_id,
    onlyFirst,
    ...userEventValues(session_id, requestContext),
  ])
  const outcome = done?.outcome ?? 'unchanged'
  switch (outcome) {
    case 'changed':
      return true
    case 'unchanged':
    case 'not_first':
      return false
    case 'user_not_found':
    case 'admins_only':
    case 'last_admin':
      throw new AppError(outcome)
  }
}
