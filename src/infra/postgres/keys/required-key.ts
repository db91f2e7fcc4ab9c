import { createHmac } from 'node:crypto'
import { AppError } from '../../../app/errors.ts'
import type { Database } from '../connection/database.ts'
import type { Query } from '../projections/projection.ts'

/** A key that the stored data needs. */
export type RequiredKey = {
  /** The name of its variable. */
  readonly name: string
  /** What is lost without it: `the passwords in this database were hashed with`. */
  readonly need: string
  readonly current: string
  /** Still available while the current one replaces it. */
  readonly previous?: string | undefined
  /** Which key produced the stored data, where the database has no fingerprint yet. */
  readonly maker: (query: Query) => Promise<'nobody' | 'current' | 'previous' | 'unknown'>
}

/** The stored data needs a key other than the given one. The message is one sentence. */
export class WrongKey extends Error {}

const FIND = { name: 'find_key', text: 'select fingerprint from key_fingerprints where name = $1' }
const CLAIM = { name: 'claim_key', text: 'select claim_key($1, $2) as fingerprint' }

type Row = { readonly fingerprint: string | null }

export const fingerprint = (name: string, key: string): string =>
  createHmac('sha256', key).update(`tasktrail fingerprint of ${name}`).digest('hex').slice(0, 16)

/**
 * Fails with `WrongKey` if the database has the fingerprint of another key. If it has none yet, the key's
 * own is stored, provided that there is no data or that some of it proves the key.
 */
export async function requireKey(query: Query, key: RequiredKey, place?: string): Promise<void> {
  const { name, current, previous } = key
  const own = fingerprint(name, current)
  const before = previous === undefined ? own : fingerprint(name, previous)
  const known = ({ fingerprint }: Row) => fingerprint === own || fingerprint === before
  const wrong = () => new WrongKey(wrongKey(key, place))

  const [kept] = await query<Row>(FIND, [name])
  if (kept !== undefined && kept.fingerprint !== null) {
    if (!known(kept)) throw wrong()
    return
  }
  const maker = kept === undefined ? await key.maker(query) : 'nobody'
  if (maker === 'unknown') throw wrong()
  const [claimed] = await query<Row>(CLAIM, [name, maker === 'previous' ? before : own])
  if (claimed === undefined || !known(claimed)) throw wrong()
}

const wrongKey = (
  { name, need }: RequiredKey,
  place = `the environment variable ${name} (npm start keeps it in secrets.json of DATA_DIR)`,
): string => `${name} is not the key that ${need}: restore that one in ${place}.`

const ALL = {
  name: 'all_keys',
  text: 'select name, fingerprint, since from key_fingerprints order by name',
}
const FORGET = {
  name: 'forget_key',
  text: `
    insert into key_fingerprints (name) values ($1)
      on conflict (name) do update set fingerprint = null, since = clock_timestamp()`,
}

type Kept = Row & { readonly name: string; readonly since: string }

export const keptFingerprints = (query: Query): Promise<readonly Kept[]> => query<Kept>(ALL, [])

/** The next key that a process starts with is accepted, whatever it is. */
export const forgetKey = async (query: Query, name: string): Promise<void> => {
  await query(FORGET, [name])
}

export type KeyedDatabase = Database & {
  /** Resolves if the keys are right. Errors: `WrongKey`; the database's. */
  readonly requireKeys: () => Promise<void>
}

/** A database that runs no query before the keys are known to be right. */
export function keyedDatabase(db: Database, keys: readonly RequiredKey[]): KeyedDatabase {
  let checked: Promise<void> | undefined
  const requireKeys = () => {
    checked ??= Promise.all(keys.map((key) => requireKey(db.query, key))).then(
      () => {},
      (error: unknown) => {
        checked = undefined
        throw error
      },
    )
    return checked
  }
  return {
    ...db,
    requireKeys,
    async query(statement, values) {
      // A request meanwhile only learns that it cannot be served; the process is about to end.
      await requireKeys().catch((cause: unknown) => {
        if (!(cause instanceof WrongKey)) throw cause
        throw new AppError('database_unavailable', { retryAfter: 1, cause })
      })
      return db.query(statement, values)
    },
  }
}
