import type { Log } from '../../app/ports/process.ts'
import type { Database } from '../postgres/connection/database.ts'
import type { KeyWrap } from './text-cipher.ts'

const FIND = {
  name: 'find_keys_to_rewrap',
  text: `
    select user_id, wrapped_key, wrapped_by from user_keys
    where wrapped_by <> $1 and user_id > $2 order by user_id limit 500`,
}

// Nothing happens to a key that was destroyed or wrapped again meanwhile.
const SET = {
  name: 'rewrap_keys',
  text: `
    update user_keys k set wrapped_key = n.wrapped, wrapped_by = $1
    from unnest($2::bigint[], $3::bytea[], $4::bytea[]) as n (user_id, was, wrapped)
    where k.user_id = n.user_id and k.wrapped_key = n.was
    returning k.user_id`,
}

type Found = { readonly user_id: number; readonly wrapped_key: Buffer; readonly wrapped_by: string }

/**
 * Wraps by the present key what another one has wrapped, so that the previous one can go. Says what
 * it did, and how many keys it could not unwrap. Error: `database_unavailable`.
 */
export async function rewrapUserKeys(
  db: Database,
  wrap: KeyWrap,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  let [after, rewrapped, failed] = [0, 0, 0]
  while (!signal.aborted) {
    const found = await db.query<Found>(FIND, [wrap.id, after])
    const last = found.at(-1)
    if (last === undefined) break
    after = last.user_id
    const keys = await Promise.all(found.map((key) => again(wrap, key)))
    const done = keys.filter((key) => key !== null)
    failed += keys.length - done.length
    const rows = await db.query(SET, [
      wrap.id,
      done.map(({ user_id }) => user_id),
      done.map(({ wrapped_key }) => wrapped_key),
      done.map(({ wrapped }) => wrapped),
    ])
    rewrapped += rows.length
  }
  if (rewrapped > 0) log.info({ keys: rewrapped, wrapped_by: wrap.id }, 'rewrapped data keys')
  if (failed > 0)
    log.error({ keys: failed }, 'cannot unwrap data keys: no TEXT_KEY at hand is theirs')
}

async function again(wrap: KeyWrap, { user_id, wrapped_key, wrapped_by }: Found) {
  try {
    const key = await wrap.unwrap(wrapped_key, wrapped_by, user_id)
    return { user_id, wrapped_key, wrapped: await wrap.wrap(key, user_id) }
  } catch {
    return null
  }
}
