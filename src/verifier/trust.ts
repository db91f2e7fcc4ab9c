import {
  isLogKey,
  isWitnessKey,
  parseVerifierKey,
  type VerifierKey,
} from '../transparency-log/keys.ts'
import { decimal } from '../transparency-log/lines.ts'
import { Unreadable } from './failures.ts'
import { textIn } from './files.ts'

/** Command-line options, for parseArgs. */
export const TRUST_OPTIONS = {
  key: { type: 'string', multiple: true },
  witness: { type: 'string', multiple: true },
  quorum: { type: 'string' },
} as const

/** Each a verifier key, or a file with one a line; the quorum is a number. */
export type TrustOptions = {
  readonly key?: readonly string[] | undefined
  readonly witness?: readonly string[] | undefined
  readonly quorum?: string | undefined
}

/** Whose signatures count. */
export type Trust = {
  /** One of them must have signed, if it has the name of the log. */
  readonly keys: readonly VerifierKey[]
  readonly witnesses: readonly VerifierKey[]
  /** How many of the witnesses must have cosigned. */
  readonly quorum: number
}

/** All witnesses must have cosigned unless told. Error: `Unreadable`. */
export async function readTrust({ key = [], witness = [], quorum }: TrustOptions): Promise<Trust> {
  const keys = (await Promise.all(key.map(keysIn))).flat()
  const witnesses = (await Promise.all(witness.map(keysIn))).flat()
  for (const { name } of keys.filter((key) => !isLogKey(key))) {
    throw new Unreadable(`The key of ${name} is a witness's: name it with --witness.`)
  }
  for (const { name } of witnesses.filter((key) => !isWitnessKey(key))) {
    throw new Unreadable(`The key of ${name} is a log's: name it with --key.`)
  }
  const needed = quorum === undefined ? witnesses.length : (decimal(quorum) ?? 0)
  if (quorum !== undefined && !(needed >= 1 && needed <= witnesses.length)) {
    throw new Unreadable(
      `--quorum is a number from 1 to that of the witnesses, ${witnesses.length}.`,
    )
  }
  return { keys, witnesses, quorum: needed }
}

/** A text, or the name of a file. */
async function keysIn(text: string): Promise<readonly VerifierKey[]> {
  const key = parseVerifierKey(text)
  if (key !== null) return [key]
  const lines = (await textIn(text, 'The key')).split('\n').map((line) => line.trim())
  const keys = lines.filter((line) => line !== '').map(parseVerifierKey)
  if (keys.length > 0 && keys.every((key) => key !== null)) return keys
  throw new Unreadable(`${text} does not hold verifier keys, name+id+key, one a line.`)
}
