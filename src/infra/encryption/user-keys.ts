import { LRUCache } from 'lru-cache'
import { AppError } from '../../app/errors.ts'
import type { Database } from '../postgres/connection/database.ts'
import { type KeyWrap, newDataKey, UnknownWrappingKey } from './text-cipher.ts'

/** Data keys, one per user. Error of every method: `database_unavailable`. */
export type UserKeys = {
  /**
   * The keys of those users that have one. Asks the database each time, so none is used after its
   * destruction.
   */
  readonly find: (user_ids: Iterable<number>) => Promise<ReadonlyMap<number, Buffer>>
  /** The same, with an error in place of a damaged key. */
  readonly findEach: (user_ids: Iterable<number>) => Promise<ReadonlyMap<number, Buffer | Error>>
  /** The key in a row of its table that was just read. */
  readonly unwrap: (row: WrappedKey) => Promise<Buffer>
  /**
   * A key to encrypt with, created if there is none. It may have been destroyed since: then an append with
   * it is refused. Error: `session_ended`, if it is known to be destroyed.
   */
  readonly forWriting: (user_id: number) => Promise<Buffer>
}

/** What readers of the log need of them. */
export type KeysToRead = Pick<UserKeys, 'findEach'>

const FIND = {
  name: 'find_user_keys',
  text: `
    select user_id, wrapped_key, wrapped_by from user_keys
    where user_id = any ($1) and wrapped_key is not null`,
}

const ADD = {
  name: 'add_user_key',
  text: `
    insert into user_keys (user_id, wrapped_key, wrapped_by) values ($1, $2, $3)
    on conflict do nothing`,
}

const KEPT = { max: 10_000, ttl: 5 * 60_000 }

export function postgresUserKeys(db: Database, wrap: KeyWrap): UserKeys {
  const kept = new LRUCache<number, { readonly wrapped_key: Buffer; readonly key: Buffer }>(KEPT)

  const unwrap = async ({ user_id, wrapped_key, wrapped_by }: WrappedKey) => {
    const known = kept.get(user_id)
    const key = known?.wrapped_key.equals(wrapped_key)
      ? known.key
      : await wrap.unwrap(wrapped_key, wrapped_by, user_id)
    kept.set(user_id, { wrapped_key, key })
    return key
  }

  const findEach = async (user_ids: Iterable<number>) => {
    const wanted = [...new Set(user_ids)]
    if (wanted.length === 0) return new Map<number, Buffer | Error>()
    const rows = await db.query<WrappedKey>(FIND, [wanted])
    const keys = rows.map(async (row) => [row.user_id, await unwrap(row).catch(damaged)] as const)
    return new Map(await Promise.all(keys))
  }
  const find = async (user_ids: Iterable<number>) => {
    const keys = new Map<number, Buffer>()
    for (const [user_id, key] of await findEach(user_ids)) {
      if (key instanceof Error) throw key
      keys.set(user_id, key)
    }
    return keys
  }
  return {
    find,
    findEach,
    unwrap,

    async forWriting(user_id) {
      const known = kept.get(user_id)?.key ?? (await find([user_id])).get(user_id)
      if (known === undefined) {
        const wrapped = await wrap.wrap(newDataKey(), user_id)
        await db.query(ADD, [user_id, wrapped, wrap.id])
      }
      // If two create one at the same time, one is kept: read back which.
      const key = known ?? (await find([user_id])).get(user_id)
      if (key === undefined) throw new AppError('session_ended')
      return key
    },
  }
}

/** For a single damaged key; without the key that wrapped it, all others would fail too. */
export function damaged(error: Error): Error {
  const reason = error instanceof AppError ? error.cause : error
  if (reason instanceof UnknownWrappingKey) throw error
  return error
}

/** A wrap for answers to people: a key that cannot be unwrapped becomes the error `texts_unavailable`. */
export const answering = (wrap: KeyWrap): KeyWrap => ({
  ...wrap,
  unwrap: (...key) =>
    wrap.unwrap(...key).catch((cause: unknown) => {
      throw new AppError('texts_unavailable', { cause })
    }),
})

/** As the database keeps it. */
export type WrappedKey = {
  readonly user_id: number
  readonly wrapped_key: Buffer
  readonly wrapped_by: string
}
