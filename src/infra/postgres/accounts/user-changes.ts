import { AppError } from '../../../app/errors.ts'
import type { UserChanges } from '../../../app/ports/users.ts'
import { type Database, violates } from '../connection/database.ts'
import { requestContextValues } from './security-events.ts'

// The functions are in db/migrations/…_administration.ts.
const RENAME = { name: 'rename_user', text: 'select rename_user($1, $2, $3, $4, $5, $6)' }
const LOCK = { name: 'lock_user', text: 'select lock_user($1, $2, $3, $4, $5, $6, $7) as outcome' }
const UNLOCK = {
  name: 'unlock_user',
  text: 'select unlock_user($1, $2, $3, $4, $5, $6, $7)',
}

type Outcome = Awaited<ReturnType<UserChanges['lock']>>

export function postgresUserChanges(db: Database): UserChanges {
  return {
    async rename(id, username, requestContext) {
      try {
        await db.query(RENAME, [...requestContextValues(requestContext), id, username])
      } catch (error) {
        if (violates(error, 'users_username_key')) throw new AppError('username_taken')
        throw error
      }
    },

    async lock(id, { by, reason }, requestContext) {
      const values = [...requestContextValues(requestContext), id, by, reason]
      const [done] = await db.query<{ outcome: Outcome }>(LOCK, values)
      return done?.outcome ?? 'not_found'
    },

    async unlock(id, { by, reason }, requestContext) {
      const values = [...requestContextValues(requestContext), id, by, reason]
      await db.query(UNLOCK, values)
    },
  }
}
