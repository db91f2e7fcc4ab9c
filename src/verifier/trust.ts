import { readFile } from 'node:fs/promises'
import {
  isLogKey,
  isWitnessKey,
  parseVerifierKey,
  type VerifierKey,
} from '../transparency-log/keys.ts'
import { type Policy, PolicyError, readPolicy } from '../transparency-log/policy.ts'
import { Unreadable } from './failures.ts'

/** Command-line options, for parseArgs. */
export const TRUST_OPTIONS = {
  key: { type: 'string', multiple: true },
  witness: { type: 'string', multiple: true },
  policy: { type: 'string' },
} as const

/** Each a verifier key, or a file with one a line; the policy is a file. */
export type TrustOptions = {
  readonly key?: readonly string[] | undefined
  readonly witness?: readonly string[] | undefined
  readonly policy?: string | undefined
}

/** Whose signatures count. */
export type Trust = {
  /** One of them must have signed, if it has the name of the log. */
  readonly keys: readonly VerifierKey[]
  /** All of them must have cosigned. */
  readonly witnesses: readonly VerifierKey[]
  /** Enough of its witnesses must have cosigned. */
  readonly policy: Policy | null
}

/** Error: `Unreadable`. */
export async function readTrust({ key = [], witness = [], policy }: TrustOptions): Promise<Trust> {
  const rules = policy === undefined ? null : await policyIn(policy)
  const given = (await Promise.all(key.map(keysIn))).flat()
  const witnesses = (await Promise.all(witness.map(keysIn))).flat()
  for (const { name } of given.filter((key) => !isLogKey(key))) {
    throw new Unreadable(`The key of ${name} is a witness's: name it with --witness.`)
  }
  for (const { name } of witnesses.filter((key) => !isWitnessKey(key))) {
    throw new Unreadable(`The key of ${name} is a log's: name it with --key.`)
  }
  const keys = [...given, ...(rules?.logs ?? []).map(({ key }) => key)]
  return { keys, witnesses, policy: rules }
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

async function policyIn(file: string): Promise<Policy> {
  try {
    return readPolicy(await textIn(file, 'The policy'))
  } catch (error) {
    throw error instanceof PolicyError ? new Unreadable(`${file}: ${error.message}.`) : error
  }
}

/** `what`: what it is, as a sentence begins. Error: `Unreadable`. */
export const textIn = (file: string, what: string): Promise<string> =>
  readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new Unreadable(`${what} ${file} cannot be read (${error.code}).`)
  })
