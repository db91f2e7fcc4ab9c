/** What a witness signs, and what its signature line carries (C2SP tlog-cosignature, Ed25519). */
import { isSize } from './tree.ts'

const TIME_BYTES = 8
const SIGNATURE_BYTES = 64

/** `time`: whole seconds since 1970 in UTC. `text`: the checkpoint's. */
export const cosignedText = (time: number, text: string): string =>
  `cosignature/v1\ntime ${time}\n${text}`

export function writeCosignature(time: number, signature: Uint8Array): Buffer {
  const seconds = Buffer.alloc(TIME_BYTES)
  seconds.writeBigUInt64BE(BigInt(time))
  return Buffer.concat([seconds, signature])
}

/** Null unless it has the length of one, and its time is exact. */
export function readCosignature(bytes: Buffer): { time: number; signature: Buffer } | null {
  if (bytes.length !== TIME_BYTES + SIGNATURE_BYTES) return null
  const time = Number(bytes.readBigUInt64BE())
  return isSize(time) ? { time, signature: bytes.subarray(TIME_BYTES) } : null
}

/** When a witness signed, in seconds since 1970. Error: RangeError if it is no cosignature. */
export function cosignedAt(signature: Buffer): number {
  const found = readCosignature(signature)
  if (!found) throw new RangeError('That is not a cosignature')
  return found.time
}
