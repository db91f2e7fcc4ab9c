const LENGTH_BYTES = 2
const MOST_BYTES = 0xffff

/** Each entry after its length in two bytes. Error: RangeError if one has more than 65,535 bytes. */
export function writeBundle(entries: readonly Uint8Array[]): Buffer {
  return Buffer.concat(entries.flatMap((entry) => [lengthOf(entry), entry]))
}

function lengthOf({ length }: Uint8Array): Buffer {
  if (length > MOST_BYTES) throw new RangeError(`An entry of ${length} bytes is too long`)
  const bytes = Buffer.alloc(LENGTH_BYTES)
  bytes.writeUInt16BE(length)
  return bytes
}

/** The entries; null if the last one is cut off. */
export function readBundle(bytes: Buffer): readonly Buffer[] | null {
  const entries: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    if (at + LENGTH_BYTES > bytes.length) return null
    const begin = at + LENGTH_BYTES
    at = begin + bytes.readUInt16BE(at)
    if (at > bytes.length) return null
    entries.push(bytes.subarray(begin, at))
  }
  return entries
}
