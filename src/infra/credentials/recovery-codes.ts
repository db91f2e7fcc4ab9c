import { createHmac, hkdfSync, randomBytes } from 'node:crypto'
import type { RecoveryCodes } from '../../app/ports/factors.ts'

const COUNT = 10
/** Crockford's base 32: no two of its characters look the same on paper. */
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'
/** Five bits each: as random as a key (ASVS 5, 6.5.2: 112 bits at least for a hash that is not slow). */
const CHARACTERS = 24

/** Codes such as `k3vq-7m2x-h0wd-9ctz-5rjb-ne8k`. */
export function recoveryCodes(pepper: string): RecoveryCodes {
  const key = Buffer.from(hkdfSync('sha256', pepper, '', 'tasktrail recovery codes', 32))
  return {
    make: () => Array.from({ length: COUNT }, newCode),
    hash: (user_id, code) =>
      createHmac('sha256', key)
        .update(`${user_id}/${plain(code)}`)
        .digest(),
  }
}

function newCode(): string {
  const characters = [...randomBytes(CHARACTERS)].map((byte) => ALPHABET[byte % ALPHABET.length])
  return characters.join('').replace(/.{4}(?=.)/g, '$&-')
}

/** As people may write it. */
const plain = (code: string): string =>
  code.toLowerCase().replace(/[\s-]/g, '').replaceAll('o', '0').replace(/[il]/g, '1')
