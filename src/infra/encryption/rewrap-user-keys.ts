import type { Log } from '../../app/ports/process.ts'
import type { Database } from '../postgres/connection/database.ts'
import type { KeyWrap } from './text-cipher.ts'

const FIND = {
  name: 'find_keys_to_rewrap',
  text: `
    select user_id, wrapped_key, wrapped_by from user_keys
    where wrapped_by <> $1 and user_id > $2 order by user_id limit 500`,
}

// A key that was destroyed or rewrapped meanwhile stays as it is.
const SET = {
  name: 'rewrap_keys',
  text: `
    update user_keys k set wrapped_key = n.wrapped, wrapped_by = $1
    from unnest($2::bigint[], $3::bytea[], $4::bytea[]) as n (user_id, was, wrapped)
    where k.user_id = n.user_id and k.wrapped_key = n.was
    returning k.user_id`,
}

type Found = { readonly user_id: number; readonly wrapped_key: Buffer; readonly wrapped_by: string }

type Rewrapped = {
  readonly keys: number
  /** How many keys are left for each reason. */
  readonly left: ReadonlyMap<string, number>
}

/**
 * Rewraps with the current key what another one has wrapped, so that the previous one can be removed. Each
 * call tries what is left, and logs what changed since the previous call; `done` when nothing is left.
 */
export function rewrappingUserKeys(
  db: Database,
  wrap: KeyWrap,
  log: Log,
): (signal: AbortSignal) => Promise<'again' | 'done'> {
  let said = ''
  const say = (left: Rewrapped['left']) => {
    const reasons = [...left].map(([err, keys]) => ({ keys, err }))
    if (JSON.stringify(reasons) === said) return
    said = JSON.stringify(reasons)
    for (const reason of reasons) log.error(reason, 'cannot rewrap data keys')
  }
  return async (signal) => {
    try {
      const { keys, left } = await rewrap(db, wrap, signal)
      if (keys > 0) log.info({ keys, wrapped_by: wrap.id }, 'rewrapped data keys')
      say(left)
      return left.size === 0 ? 'done' : 'again'
    } catch (error) {
      log.warn({ err: messageOf(error) }, 'cannot look for data keys to rewrap')
      return 'again'
    }
  }
}

/** One pass over the keys that another key has wrapped. */
async function rewrap(db: Database, wrap: KeyWrap, signal: AbortSignal): Promise<Rewrapped> {
  const left = new Map<string, number>()
  const again = async ({ user_id, wrapped_key, wrapped_by }: Found) => {
    try {
      const key = await wrap.unwrap(wrapped_key, wrapped_by, user_id)
      return { user_id, wrapped_key, wrapped: await wrap.wrap(key, user_id) }
    } catch (error) {
      const reason = messageOf(error)
      left.set(reason, (left.get(reason) ?? 0) + 1)
      return null
    }
  }
  let [after, keys] = [0, 0]
  while (!signal.aborted) {
    const found = await db.query<Found>(FIND, [wrap.id, after])
    const last = found.at(-1)
    if (last === undefined) break
    after = last.user_id
    const wrapped = (await Promise.all(found.map(again))).filter((key) => key !== null)
    const rows = await db.query(SET, [
      wrap.id,
      wrapped.map(({ user_id }) => user_id),
      wrapped.map(({ wrapped_key }) => wrapped_key),
      wrapped.map(({ wrapped }) => wrapped),
    ])
    keys += rows.length
  }
  return { keys, left }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : `${error}`)
