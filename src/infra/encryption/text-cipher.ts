import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto'

/**
 * A text in a stored event: whose data key it needs, and base64url of salt (16 bytes), ciphertext and tag
 * (16 bytes) of AES-256-GCM. Part of the storage format, like the events themselves.
 */
export type EncryptedText = { readonly user: number; readonly cipher: string }

/** Where a text belongs; it decrypts nowhere else. */
export type TextPlace = { readonly stream_id: string; readonly field: string }

const ALGORITHM = 'aes-256-gcm'
const SALT_BYTES = 16
const TAG_BYTES = 16
const IV_BYTES = 12
// Each text has a key of its own, used once.
const ZERO_IV = Buffer.alloc(IV_BYTES)

export const newDataKey = (): Buffer => randomBytes(32)

export function encryptText(
  dataKey: Buffer,
  user: number,
  place: TextPlace,
  text: string,
): EncryptedText {
  const salt = randomBytes(SALT_BYTES)
  const cipher = createCipheriv(ALGORITHM, createSecretKey(keyOf(dataKey, salt)), ZERO_IV)
  cipher.setAAD(associated(place))
  const sealed = Buffer.concat([salt, cipher.update(text, 'utf8'), cipher.final()])
  return { user, cipher: Buffer.concat([sealed, cipher.getAuthTag()]).toString('base64url') }
}

/**
 * The key of this one text. An export shows it beside the text, so that a verifier can see that the text is
 * the one in the event, but can decrypt no other.
 */
export const textKey = (dataKey: Buffer, { cipher }: EncryptedText): Buffer =>
  keyOf(dataKey, Buffer.from(cipher, 'base64url').subarray(0, SALT_BYTES))

/** Throws if the text is not the one encrypted at this place with this key. */
export function decryptText(key: Buffer, { cipher }: EncryptedText, place: TextPlace): string {
  const sealed = Buffer.from(cipher, 'base64url')
  const decipher = createDecipheriv(ALGORITHM, createSecretKey(key), ZERO_IV, {
    authTagLength: TAG_BYTES,
  })
  decipher.setAAD(associated(place))
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES))
  const text = decipher.update(sealed.subarray(SALT_BYTES, -TAG_BYTES))
  return Buffer.concat([text, decipher.final()]).toString('utf8')
}

/** Of a user's search index, whose entries it makes. Longer than a salt, so it is no text's key. */
export const searchKey = (dataKey: Buffer): Buffer =>
  keyOf(dataKey, Buffer.from('tasktrail search index'))

const keyOf = (dataKey: Buffer, salt: Buffer): Buffer =>
  createHmac('sha256', prepared(dataKey)).update(salt).digest()

// Node takes five times as long for a key in bytes as for a KeyObject, more than the HMAC or the cipher itself.
const keyObjects = new WeakMap<Buffer, KeyObject>()

function prepared(dataKey: Buffer): KeyObject {
  const known = keyObjects.get(dataKey)
  if (known !== undefined) return known
  const made = createSecretKey(dataKey)
  keyObjects.set(dataKey, made)
  return made
}

const associated = ({ stream_id, field }: TextPlace): Buffer =>
  Buffer.from(`${stream_id}/${field}`, 'utf8')

// ------------------------------------------------------------------------------- wrapping of keys

/**
 * Wraps data keys with a key that is not in the database. Asynchronous, and with the wrapping key's name
 * stored beside each wrapped key, so that a key management service can replace it.
 */
export type KeyWrap = {
  /** Names the key used for wrapping from now on. */
  readonly id: string
  readonly wrap: (dataKey: Buffer, user_id: number) => Promise<Buffer>
  /** Throws `UnknownWrappingKey`, or another error if the bytes are not what the key wrapped. */
  readonly unwrap: (wrapped: Buffer, by: string, user_id: number) => Promise<Buffer>
}

/**
 * A key was wrapped with one that is not available: the configuration is at fault, not the wrapped bytes.
 */
export class UnknownWrappingKey extends Error {}

/** Wraps with a secret from the environment; also unwraps what the previous secret wrapped. */
export function secretKeyWrap(secret: string, previous?: string): KeyWrap {
  const current = wrappingKey(secret)
  const known = [current, ...(previous === undefined ? [] : [wrappingKey(previous)])]
  return {
    id: current.id,

    async wrap(dataKey, user_id) {
      const iv = randomBytes(IV_BYTES)
      const cipher = createCipheriv(ALGORITHM, current.key, iv)
      cipher.setAAD(Buffer.from(String(user_id)))
      return Buffer.concat([iv, cipher.update(dataKey), cipher.final(), cipher.getAuthTag()])
    },

    async unwrap(wrapped, by, user_id) {
      const wrapping = known.find(({ id }) => id === by)
      if (wrapping === undefined) {
        throw new UnknownWrappingKey(`None of the given TEXT_KEYs is the one named ${by}.`)
      }
      const iv = wrapped.subarray(0, IV_BYTES)
      const decipher = createDecipheriv(ALGORITHM, wrapping.key, iv, { authTagLength: TAG_BYTES })
      decipher.setAAD(Buffer.from(String(user_id)))
      decipher.setAuthTag(wrapped.subarray(-TAG_BYTES))
      const key = decipher.update(wrapped.subarray(IV_BYTES, -TAG_BYTES))
      try {
        return Buffer.concat([key, decipher.final()])
      } catch (cause) {
        throw new Error(`The bytes are not what the TEXT_KEY named ${by} wrapped.`, { cause })
      }
    },
  }
}

function wrappingKey(secret: string): { readonly id: string; readonly key: Buffer } {
  const key = Buffer.from(hkdfSync('sha256', secret, '', 'tasktrail data keys', 32))
  return { key, id: createHash('sha256').update(key).digest('hex').slice(0, 16) }
}
