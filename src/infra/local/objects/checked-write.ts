import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'

export type Fault = 'too_large' | 'too_small' | 'wrong_checksum'

/** Writes a file, to the disk, as its bytes come; a fault as soon as they are not those that were named. */
export async function writeChecked(
  path: string,
  { size, sha256 }: { readonly size: number; readonly sha256: string },
  bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<Fault | null> {
  const handle = await open(path, 'wx', 0o600)
  try {
    const hash = createHash('sha256')
    let written = 0
    for await (const chunk of bytes) {
      written += chunk.length
      if (written > size) return 'too_large'
      hash.update(chunk)
      await handle.writeFile(chunk)
    }
    if (written < size) return 'too_small'
    if (hash.digest('hex') !== sha256) return 'wrong_checksum'
    await handle.sync()
    return null
  } finally {
    await handle.close()
  }
}
