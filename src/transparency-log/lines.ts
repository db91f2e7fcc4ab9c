/** What the text formats have in common: decimal numbers, base64 and hashes, each with one spelling only. */
import { isHash, isSize } from './tree.ts'

/** A number from 0 on, without leading zeros; null: not one, or too large to be exact. */
export function decimal(text: string): number | null {
  if (!/^(0|[1-9]\d{0,15})$/.test(text)) return null
  const value = Number(text)
  return isSize(value) ? value : null
}

/** Null unless it is the base64 (with padding) of these bytes. */
export function base64(text: string): Buffer | null {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes : null
}

/** The hashes of lines of base64; null unless every line is one. */
export function hashes(lines: readonly unknown[]): readonly Buffer[] | null {
  const found: Buffer[] = []
  for (const line of lines) {
    const bytes = typeof line === 'string' ? base64(line) : null
    if (!bytes || !isHash(bytes)) return null
    found.push(bytes)
  }
  return found
}

export const hashLines = (proof: readonly Uint8Array[]): string =>
  proof.map((hash) => `${Buffer.from(hash).toString('base64')}\n`).join('')

/** What is before the first empty line, as lines, and what is after it; null: there is none. */
export function headAndBody(text: string): { head: readonly string[]; body: string } | null {
  const end = text.indexOf('\n\n')
  if (end === -1) return null
  return { head: text.slice(0, end).split('\n'), body: text.slice(end + 2) }
}

/** No proof has more hashes: a tree has less than 2^63 leaves. */
export const MOST_HASHES = 63

// With `ignoreBOM` a byte order mark is kept, and so refused by what reads the text.
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The text of bytes from outside; null if they are not UTF-8. */
export function utf8(bytes: Uint8Array): string | null {
  try {
    return decoder.decode(bytes)
  } catch {
    return null
  }
}
