import { randomBytes } from 'node:crypto'
import { Secret, TOTP } from 'otpauth'
import type { TotpCodes } from '../../app/ports/factors.ts'
import type { KeyWrap } from '../encryption/text-cipher.ts'

const ISSUER = 'Tasktrail'
/** What all authenticator apps can do: they ignore other values that a URI may name. */
const FORM = { algorithm: 'SHA1', digits: 6, period: 30 }
/** As many bytes as SHA-1 has (RFC 4226, section 4). */
const SECRET_BYTES = 20
/** Steps before and after the present one: clocks differ, and people type slowly (RFC 6238, section 5.2). */
const DRIFT = 1

export function totpCodes(keyWrap: KeyWrap): TotpCodes {
  const nobody = 0
  const nobodys = keyWrap.wrap(randomBytes(SECRET_BYTES), nobody)

  return {
    async newSecret({ user_id, username }) {
      const secret = new Secret({ size: SECRET_BYTES })
      const totp = new TOTP({ ...FORM, issuer: ISSUER, label: username, secret })
      const wrapped = await keyWrap.wrap(Buffer.from(secret.bytes), user_id)
      return { text: secret.base32, uri: totp.toString(), wrapped }
    },

    async stepOf(user_id, wrapped, code, now) {
      const owner = wrapped === null ? nobody : user_id
      const bytes = await keyWrap.unwrap(wrapped ?? (await nobodys), keyWrap.id, owner)
      const secret = new Secret({ buffer: Uint8Array.from(bytes).buffer })
      const timestamp = now.getTime()
      const delta = TOTP.validate({ ...FORM, secret, token: code, timestamp, window: DRIFT })
      return wrapped === null || delta === null
        ? null
        : TOTP.counter({ period: FORM.period, timestamp }) + delta
    },
  }
}
