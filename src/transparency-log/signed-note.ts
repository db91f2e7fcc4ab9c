import { type NoteSigner, type NoteSigners, names, type VerifierKey, verifies } from './keys.ts'
import { type NoteSignature, parseSignatureLine } from './signature-line.ts'

/** A text (with its last newline) and who says to have signed it (C2SP signed-note). */
export type Note = { readonly text: string; readonly signatures: readonly NoteSignature[] }

const MOST_BYTES = 2 ** 20
const MOST_SIGNATURES = 100

/** `text` ends with a newline, and so does each signature line. */
export const writeNote = (text: string, lines: readonly string[]): string =>
  `${text}\n${lines.join('')}`

/** Null: not a note. Says nothing about whether the signatures are right. */
export function readNote(note: string): Note | null {
  const end = note.lastIndexOf('\n\n')
  if (end === -1 || !note.endsWith('\n') || !isText(note)) return null
  const lines = note.slice(end + 2).split('\n', MOST_SIGNATURES + 2)
  lines.pop()
  if (lines.length === 0 || lines.length > MOST_SIGNATURES) return null
  const signatures = lines.map(parseSignatureLine).filter((line) => line !== null)
  return signatures.length === lines.length ? { text: note.slice(0, end + 1), signatures } : null
}

function isText(note: string): boolean {
  if (note.length > MOST_BYTES || Buffer.byteLength(note) > MOST_BYTES) return false
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what a note must not have.
  return note.isWellFormed() && !/[\0-\x09\x0b-\x1f]/.test(note)
}

/**
 * Which of these keys signed the note, each once; signatures of others are not looked at. Null: not a
 * note, or one of these keys is named with a signature that is not its own.
 */
export function verifiedBy(
  note: string | Note,
  keys: readonly VerifierKey[],
): readonly VerifierKey[] | null {
  const read = typeof note === 'string' ? readNote(note) : note
  if (!read) return null
  const found = new Set<string>()
  for (const line of read.signatures) {
    for (const key of keys.filter((each) => names(line, each))) {
      if (!verifies(key, read.text, line.signature)) return null
      found.add(key.text)
    }
  }
  const known = new Map(keys.map((key) => [key.text, key]))
  return [...known.values()].filter(({ text }) => found.has(text))
}

/**
 * Who signs what follows these notes: the first, and which of the others has signed one of them. So a key that is
 * being replaced signs on, and a value in its place that has signed nothing stays silent. Null is no note.
 */
export const signersAfter = (
  notes: readonly (string | null)[],
  [current, ...previous]: NoteSigners,
): NoteSigners => {
  const signed = ({ key }: NoteSigner) =>
    notes.some((note) => note !== null && verifiedBy(note, [key])?.length === 1)
  return [current, ...previous.filter(signed)]
}
