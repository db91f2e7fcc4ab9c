import { base64, decimal } from './lines.ts'
import { isHash, isSize } from './tree.ts'

/** What a log says of itself (C2SP tlog-checkpoint). `origin`: its name. `size`: leaves. */
export type Checkpoint = {
  readonly origin: string
  readonly size: number
  readonly root: Buffer
}

/** The text to sign. Error: RangeError if it could not be read again. */
export function checkpointText({ origin, size, root }: Checkpoint): string {
  if (!isOrigin(origin) || !isSize(size) || !isHash(root)) {
    throw new RangeError(`No checkpoint: ${JSON.stringify(origin)}, ${size} leaves`)
  }
  return `${origin}\n${size}\n${root.toString('base64')}\n`
}

const isOrigin = (text: string) => text.isWellFormed() && /^\P{Cc}+$/u.test(text)

/** The text of a note; null if it is no checkpoint. Lines of other meaning are not allowed. */
export function parseCheckpoint(text: string): Checkpoint | null {
  const [origin, size, root, end, ...more] = text.split('\n')
  if (origin === undefined || size === undefined || root === undefined) return null
  const [leaves, hash] = [decimal(size), base64(root)]
  if (!isOrigin(origin) || leaves === null || !hash || !isHash(hash)) return null
  return end === '' && more.length === 0 ? { origin, size: leaves, root: hash } : null
}
