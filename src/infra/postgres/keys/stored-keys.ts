// Not the keys that sign tokens or calls between services: if those change, people only have to log in
// again.

import { parseCheckpoint } from '../../../transparency-log/checkpoint.ts'
import { readNote, verifiedBy } from '../../../transparency-log/signed-note.ts'
import { secretLogSigner } from '../../credentials/note-signers.ts'
import { secretKeyWrap } from '../../encryption/text-cipher.ts'
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
const SIGNED = { name: 'signed_note', text: 'select note from log_checkpoint' }

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
  need: 'the log in this database was signed with',
  current,
  maker: async (query) => {
    const [last] = await query<{ note: string | null }>(SIGNED, [])
    if (!last?.note) return 'nobody'
    return isSignedWith(current, last.note) ? 'current' : 'unknown'
  },
})

function isSignedWith(secret: string, text: string): boolean {
  const note = readNote(text)
  const checkpoint = note && parseCheckpoint(note.text)
  if (!note || !checkpoint) return false
  const { key } = secretLogSigner(checkpoint.origin, secret)
  return verifiedBy(note, [key])?.length === 1
}

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
