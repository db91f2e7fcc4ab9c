import type { Credentials, RequestContext } from '../../../app/ports/accounts.ts'
import type { Database } from '../connection/database.ts'
import { userEventValues } from './user-events.ts'

const ERASE = {
  name: 'erase_user',
  text: 'select erase_user($1, $2, $3, $4, $5, $6, $7, $8) as erased',
}

const REMOVE_OF = {
  name: 'remove_erased_rows_of',
  text: 'select remove_erased_rows($1) as removed',
}
const REMOVE_NEXT = {
  name: 'remove_next_erased_rows',
  text: `
    select remove_erased_rows(user_id) as removed from (
      select user_id from user_keys where destroyed_at is not null and rows_removed_at is null
        and exists (
          select from events where stream_id = 'user-' || user_id and type = 'UserErased')
      order by user_id limit 1) next`,
}
const DROP_REMAINS = {
  name: 'drop_rebuild_remains',
  text: 'select drop_rebuild_remains() as dropped',
}

/** While the client waits for the answer. */
const STEPS_AT_MOST = 5

type Removed = { readonly removed: number }

/** Its other half is db/migrations/…_erasure.ts. */
export async function eraseUser(
  db: Database,
  { user, credentials_version }: Credentials,
  session_id: string,
  requestContext: RequestContext,
): Promise<boolean> {
  const [done] = await db.query<{ erased: boolean }>(ERASE, [
    user.id,
    credentials_version,
    ...userEventValues(session_id, requestContext),
  ])
  if (!done?.erased) return false
  // The account is erased even if this fails: the worker removes what is left.
  await removeRowsOf(db, user.id).catch(() => {})
  return true
}

async function removeRowsOf(db: Database, user_id: number): Promise<void> {
  for (let step = 0; step < STEPS_AT_MOST; step++) {
    const [done] = await db.query<Removed>(REMOVE_OF, [user_id])
    if (!done?.removed) return
  }
}

/** Removes some rows of an erased user; returns how many, or null if none has any left. */
export async function removeErasedRows(db: Database): Promise<number | null> {
  const [done] = await db.query<Removed>(REMOVE_NEXT, [])
  return done?.removed ?? null
}

/** Drops the tables of a rebuild that was killed; returns whether there were any. */
export async function dropRebuildRemains(db: Database): Promise<boolean> {
  const [done] = await db.query<{ dropped: boolean }>(DROP_REMAINS, [])
  return done?.dropped ?? false
}
