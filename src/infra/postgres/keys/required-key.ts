import { createHmac } from 'node:crypto'
import { AppError } from '../../../app/errors.ts'
import type { Database } from '../connection/database.ts'
import type { Query } from '../projections/projection.ts'

/** A key that what is stored cannot do without. */
export type RequiredKey = {
  /** Of the variable that it comes in. */
  readonly name: string
  /** What is lost without it: `the passwords in this database were hashed with`. */
  readonly need: string
  readonly current: string
  /** Still at hand while the current one replaces it. */
  readonly previous?: string | undefined
  /** Which key made what is stored, where the database has no fingerprint yet. */
  readonly maker: (query: Query) => Promise<'nobody' | 'current' | 'previous' | 'unknown'>
}

/** What is stored needs another key than the one that was given. The message is one sentence. */
export class WrongKey extends Error {}

const FIND = { name: 'find_key', text: 'select fingerprint from key_fingerprints where name = $1' }
const CLAIM = { name: 'claim_key', text: 'select claim_key($1, $2) as fingerprint' }

type Row = { readonly fingerprint: string | null }

export const fingerprint = (name: string, key: string): string =>
  createHmac('sha256', key).update(`tasktrail fingerprint of ${name}`).digest('hex').slice(0, 16)

/**
 * Fails with `WrongKey` when the database's fingerprint is of another key. Where there is none yet the
 * key leaves its own, if nothing is stored or something stored proves it.
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
): string => `${name} is not the key that ${need}: put that one back into ${place}.`

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

/** The next key that a process starts with is the right one, whatever it is. */
export const forgetKey = async (query: Query, name: string): Promise<void> => {
  await query(FORGET, [name])
}

export type KeyedDatabase = Database & {
  /** Resolves when the keys are the right ones. Errors: `WrongKey`; the database's. */
  readonly requireKeys: () => Promise<void>
}

/** A database that is asked for nothing before the keys are known to be the right ones. */
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
      // Whoever asks meanwhile learns no more than that it is no use; the process is about to end.
      await requireKeys().catch((cause: unknown) => {
        if (!(cause instanceof WrongKey)) throw cause
        throw new AppError('database_unavailable', { retryAfter: 1, cause })
      })
      return db.query(statement, values)
    },
  }
}
