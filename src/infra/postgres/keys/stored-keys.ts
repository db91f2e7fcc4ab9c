// Not the keys that sign tokens or calls between services: if those change, people only have to log in
// again.
import { secretKeyWrap } from '../../encryption/text-cipher.ts'
import { secretSealSigner } from '../audit/seal-signer.ts'
import type { Query } from '../projections/projection.ts'
import { fingerprint, type RequiredKey } from './required-key.ts'

const USERS = { name: 'any_user', text: 'select from users limit 1' }
const WRAPPERS = {
  name: 'wrapped_by',
  text: `
    select exists (select from user_keys where wrapped_by = $1) as current,
      exists (select from user_keys where wrapped_by = $2) as previous,
      exists (select from user_keys where wrapped_key is not null) as any`,
}
const SIGNER = {
  name: 'signed_by',
  text: 'select key_id from seals order by number desc limit 1',
}

export const passwordPepper = (pepper: string): RequiredKey => ({
  name: 'PASSWORD_PEPPER',
  need: 'the passwords in this database were hashed with',
  current: pepper,
  maker: async (query) => ((await query(USERS, [])).length === 0 ? 'nobody' : 'unknown'),
})

export const textKey = (current: string, previous?: string): RequiredKey => ({
  name: 'TEXT_KEY',
  need: 'the texts in this database were encrypted under',
  current,
  previous,
  maker: async (query) => {
    const ids = [secretKeyWrap(current).id, secretKeyWrap(previous ?? current).id]
    const [wrapped] = await query<{ current: boolean; previous: boolean; any: boolean }>(
      WRAPPERS,
      ids,
    )
    if (wrapped?.current) return 'current'
    if (wrapped?.previous) return 'previous'
    return wrapped?.any ? 'unknown' : 'nobody'
  },
})

export const logKey = (current: string): RequiredKey => ({
  name: 'LOG_KEY',
  need: 'the seals in this database were signed with',
  current,
  maker: async (query) => {
    const [last] = await query<{ key_id: string }>(SIGNER, [])
    if (last === undefined) return 'nobody'
    return last.key_id === secretSealSigner(current).key_id ? 'current' : 'unknown'
  },
})

const REPLACE = {
  name: 'replace_text_key',
  text: `
    update key_fingerprints set fingerprint = $1, since = clock_timestamp()
    where name = 'TEXT_KEY' and fingerprint <> $1
      and not exists (select from user_keys where wrapped_by <> $2)`,
}

/** Once the current key has wrapped everything, it is the one that the texts need. */
export const keepTextKey = async (query: Query, current: string): Promise<void> => {
  await query(REPLACE, [fingerprint('TEXT_KEY', current), secretKeyWrap(current).id])
}
