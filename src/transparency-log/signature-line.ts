import { base64 } from './lines.ts'

const ID_BYTES = 4

/** One signature of a note. `id`: four bytes. */
export type NoteSignature = {
  readonly name: string
  readonly id: Buffer
  readonly signature: Buffer
}

/** Not empty, and without white space, control characters and plus. */
export const isKeyName = (name: string): boolean =>
  name.isWellFormed() && /^[^\p{White_Space}\p{Cc}+]+$/u.test(name)

/** With its newline. */
export const signatureLine = ({ name, id, signature }: NoteSignature): string =>
  `\u2014 ${name} ${Buffer.concat([id, signature]).toString('base64')}\n`

/** A line without its newline; null: it is none. */
export function parseSignatureLine(line: string): NoteSignature | null {
  const [dash, name, text, ...more] = line.split(' ')
  if (dash !== '\u2014' || name === undefined || text === undefined || more.length > 0) return null
  const bytes = base64(text)
  if (!isKeyName(name) || !bytes || bytes.length <= ID_BYTES) return null
  return { name, id: bytes.subarray(0, ID_BYTES), signature: bytes.subarray(ID_BYTES) }
}
