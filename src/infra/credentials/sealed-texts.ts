import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'

const ALGORITHM = 'aes-256-gcm'
const SALT_BYTES = 32
const TAG_BYTES = 16
/** Each text has a key of its own, used once. */
const ZERO_IV = Buffer.alloc(12)

const keyOf = (secret: string, use: string, salt: Buffer): Buffer =>
  Buffer.from(hkdfSync('sha256', secret, salt, use, 32))

/** Salt, ciphertext and tag. Only whoever has the secret can open it, and for this use alone. */
export function seal(secret: string, use: string, text: string): Buffer {
  const salt = randomBytes(SALT_BYTES)
  const cipher = createCipheriv(ALGORITHM, keyOf(secret, use, salt), ZERO_IV)
  return Buffer.concat([salt, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()])
}

/** Null: it was sealed with another secret, for another use, or is damaged. */
export function unseal(secret: string, use: string, sealed: Buffer): string | null {
  const key = keyOf(secret, use, sealed.subarray(0, SALT_BYTES))
  const options = { authTagLength: TAG_BYTES }
  const decipher = createDecipheriv(ALGORITHM, key, ZERO_IV, options)
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES))
  try {
    const text = decipher.update(sealed.subarray(SALT_BYTES, -TAG_BYTES))
    return Buffer.concat([text, decipher.final()]).toString('utf8')
  } catch {
    return null
  }
}
