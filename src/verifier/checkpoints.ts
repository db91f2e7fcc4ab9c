import { type Checkpoint, parseCheckpoint } from '../transparency-log/checkpoint.ts'
import { cosignedAt } from '../transparency-log/cosignature.ts'
import type { VerifierKey } from '../transparency-log/keys.ts'
import { type Note, readNote, verifiedBy } from '../transparency-log/signed-note.ts'
import { Broken } from './failures.ts'
import type { Trust } from './trust.ts'

/** A checkpoint that a trusted key of its log has signed. */
export type SignedCheckpoint = Checkpoint & {
  /** Keys of the log and of witnesses, as name+id. */
  readonly signers: readonly string[]
  readonly cosigned: readonly { readonly by: string; readonly at: string }[]
  /** Witnesses that should have cosigned it, in words. */
  readonly lacking: readonly string[]
}

/** `thing`: what to call it. Error: `Broken`. */
export function openCheckpoint(
  text: string,
  { keys, witnesses, quorum }: Trust,
  thing = 'The checkpoint',
): SignedCheckpoint {
  const broken = (why: string) => new Broken({ thing }, why)
  const note = readNote(text)
  const checkpoint = note && parseCheckpoint(note.text)
  if (!checkpoint) throw broken('is changed: it does not have the form of a signed checkpoint.')
  const own = keys.filter(({ name }) => name === checkpoint.origin)
  const signers = signersOf(note, own, broken)
  if (signers.length === 0) {
    const known = keys.map(shortOf).join(', ')
    throw broken(`of ${checkpoint.origin} is not signed by a key that was given (${known}).`)
  }
  const cosigners = signersOf(note, witnesses, broken)
  const missing = witnesses.filter(({ text }) => !cosigners.some((key) => key.text === text))
  const enough = cosigners.length >= quorum
  const lacking = enough
    ? []
    : missing.map((key) => `the witness ${shortOf(key)} has not cosigned it.`)
  const cosigned = cosigners.map((key) => ({ by: shortOf(key), at: timeOf(note, key) }))
  return { ...checkpoint, signers: signers.map(shortOf), cosigned, lacking }
}

function signersOf(note: Note, keys: readonly VerifierKey[], broken: (why: string) => Broken) {
  const impostor = keys.find((key) => verifiedBy(note, [key]) === null)
  if (impostor) throw broken(`is not signed by ${shortOf(impostor)}, though it says so.`)
  return verifiedBy(note, keys) ?? []
}

const shortOf = ({ name, id }: VerifierKey): string => `${name}+${id.toString('hex')}`

function timeOf({ signatures }: Note, { name, id }: VerifierKey): string {
  const line = signatures.find((line) => line.name === name && line.id.equals(id))
  const time = new Date(1000 * (line === undefined ? Number.NaN : cosignedAt(line.signature)))
  return Number.isNaN(time.getTime()) ? 'a time beyond the calendar' : time.toISOString()
}
