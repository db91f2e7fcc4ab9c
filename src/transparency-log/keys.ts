import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import { parseCheckpoint } from './checkpoint.ts'
import { cosignedText, readCosignature, writeCosignature } from './cosignature.ts'
import { base64 } from './lines.ts'
import { isKeyName, type NoteSignature, signatureLine } from './signature-line.ts'
import { sha256 } from './tree.ts'

/** What a key signs, as signed-note and tlog-cosignature number it: the text itself, or a time with a checkpoint. */
const LOG = 0x01
const WITNESS = 0x04
type KeyType = typeof LOG | typeof WITNESS

/** The key of a log (type 1) or of a witness (type 4). `id`: four bytes. `text`: how it is written down. */
export type VerifierKey = {
  readonly name: string
  readonly id: Buffer
  readonly type: number
  readonly publicKey: KeyObject
  readonly text: string
}

export const isLogKey = ({ type }: VerifierKey): boolean => type === LOG
export const isWitnessKey = ({ type }: VerifierKey): boolean => type === WITNESS

/** Signs a note's text: a signature line with its newline. */
export type NoteSigner = {
  readonly key: VerifierKey
  readonly sign: (text: string) => Promise<string>
}
/** The current one first; then those that it replaces. */
export type NoteSigners = readonly [NoteSigner, ...NoteSigner[]]

// What DER has before the 32 bytes of an Ed25519 key (RFC 8410).
const SPKI = Buffer.from('302a300506032b6570032100', 'hex')
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex')
const KEY_BYTES = 32

/** `publicKey`: 32 bytes. */
function verifierKey(name: string, type: KeyType, publicKey: Buffer): VerifierKey {
  const typed = Buffer.concat([Buffer.of(type), publicKey])
  const id = sha256(Buffer.concat([Buffer.from(`${name}\n`), typed])).subarray(0, 4)
  const der = Buffer.concat([SPKI, publicKey])
  return {
    name,
    id,
    type,
    publicKey: createPublicKey({ key: der, format: 'der', type: 'spki' }),
    text: `${name}+${id.toString('hex')}+${typed.toString('base64')}`,
  }
}

/** `<name>+<id in hex>+<base64 of type and public key>`; null if it is not the key of a log or a witness. */
export function parseVerifierKey(text: string): VerifierKey | null {
  // Base64 may contain a plus.
  const [, name = '', id = '', encoded = ''] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/su.exec(text) ?? []
  const bytes = base64(encoded)
  if (!isKeyName(name) || bytes?.length !== 1 + KEY_BYTES) return null
  const type = bytes[0]
  if (type !== LOG && type !== WITNESS) return null
  const key = verifierKey(name, type, bytes.subarray(1))
  return key.id.toString('hex') === id ? key : null
}

function keyPair(name: string, type: KeyType, seed: Buffer) {
  if (!isKeyName(name)) throw new RangeError(`A key cannot be called ${JSON.stringify(name)}`)
  if (seed.length !== KEY_BYTES) throw new RangeError(`A seed has 32 bytes, not ${seed.length}`)
  const der = Buffer.concat([PKCS8, seed])
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  return { privateKey, key: verifierKey(name, type, spki.subarray(SPKI.length)) }
}

/** Signs a log's checkpoints. Error: RangeError unless it is a key's name and 32 bytes. */
export function logSigner(name: string, seed: Buffer): NoteSigner {
  const { key, privateKey } = keyPair(name, LOG, seed)
  const signText = async (text: string) =>
    signatureLine({ ...key, signature: sign(null, Buffer.from(text), privateKey) })
  return { key, sign: signText }
}

/**
 * Cosigns checkpoints. `now`: milliseconds since 1970. Error: RangeError unless it is a key's name and
 * 32 bytes; of `sign`: RangeError unless the text is a checkpoint.
 */
export function witnessSigner(name: string, seed: Buffer, now: () => number): NoteSigner {
  const { key, privateKey } = keyPair(name, WITNESS, seed)
  const signText = async (text: string) => {
    if (!parseCheckpoint(text)) throw new RangeError('A witness signs only checkpoints')
    const time = Math.floor(now() / 1000)
    const signature = sign(null, Buffer.from(cosignedText(time, text)), privateKey)
    return signatureLine({ ...key, signature: writeCosignature(time, signature) })
  }
  return { key, sign: signText }
}

/** Whether the line names this key. */
export const names = (line: NoteSignature, key: VerifierKey): boolean =>
  line.name === key.name && line.id.equals(key.id)

/** Whether the key made this signature of the text. */
export function verifies(key: VerifierKey, text: string, signature: Buffer): boolean {
  if (isLogKey(key)) return verify(null, Buffer.from(text), key.publicKey, signature)
  const cosignature = readCosignature(signature)
  if (!cosignature) return false
  const signed = Buffer.from(cosignedText(cosignature.time, text))
  return verify(null, signed, key.publicKey, cosignature.signature)
}
