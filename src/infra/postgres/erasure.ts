import type { Credentials, Metadata, Occasion } from '../../app/ports.ts'
import { USER_EVENT_SCHEMA_VERSION, type UserEvent, userStream } from '../../domain/user.ts'
import { chain } from '../event-chain.ts'
import type { Database } from './database.ts'

const ERASE = {
  name: 'erase_user',
  text: 'select erase_user($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) as erased',
}

const REMOVE = { name: 'remove_erased_rows', text: 'select remove_erased_rows() as removed' }

/** db/migrations/…_erasure.ts is its other half. */
export async function eraseUser(
  db: Database,
  { user, credentials_version }: Credentials,
  session_id: string,
  { request_id, ip, user_agent, now }: Occasion,
): Promise<boolean> {
  const correlation = { request_id, correlation_id: request_id, causation_id: request_id }
  const metadata: Metadata = { ...correlation, session_id, ip }
  const occurred_at = now.toISOString()
  const [event] = chain<UserEvent>({
    stream_id: userStream(user.id),
    stream_type: 'user',
    expected: { version: 0, head_hash: null },
    schema_version: USER_EVENT_SCHEMA_VERSION,
    events: [{ type: 'UserErased', data: {} }],
    row: null,
    actor_id: user.id,
    metadata,
    occurred_at,
    command: undefined,
  })
  if (event === undefined) throw new Error('one event was to be chained')
  const [done] = await db.query<{ erased: boolean }>(ERASE, [
    user.id,
    credentials_version,
    event.event_id,
    Buffer.from(event.hash, 'hex'),
    USER_EVENT_SCHEMA_VERSION,
    metadata,
    occurred_at,
    ip,
    user_agent,
    request_id,
  ])
  if (!done?.erased) return false
  while ((await removeErasedRows(db)) > 0);
  return true
}

/** Removes some of what stands in the clear of users who have been erased; how many rows. */
export async function removeErasedRows(db: Database): Promise<number> {
  const [done] = await db.query<{ removed: number }>(REMOVE, [])
  return done?.removed ?? 0
}
