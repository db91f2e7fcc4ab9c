import { readFile } from 'node:fs/promises'
import { Unreadable } from './failures.ts'
import { type KeptSeals, readKey, type SealKey } from './formats.ts'

/** The command-line options for keys and seals, for parseArgs. */
export const KEY_OPTIONS = {
  key: { type: 'string', multiple: true },
  seal: { type: 'string', multiple: true },
} as const

export type NamedKeys = {
  /** Files of public keys. */
  readonly key?: readonly string[] | undefined
  /** Seals as recorded elsewhere: `<number>:<hash>`. */
  readonly seal?: readonly string[] | undefined
}

/** Error: `Unreadable`. */
export async function readKeys({ key = [], seal = [] }: NamedKeys): Promise<{
  readonly keys: readonly SealKey[]
  readonly kept: KeptSeals
}> {
  const keys: SealKey[] = []
  for (const file of key) keys.push(await readKeyFile(file))
  return { keys, kept: new Map(seal.map(readKept)) }
}

async function readKeyFile(file: string): Promise<SealKey> {
  const pem = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new Unreadable(`The key ${file} cannot be read (${error.code}).`)
  })
  return readKey(pem)
}

function readKept(text: string): readonly [number: number, hash: string] {
  const [, number, hash] = /^([1-9]\d{0,14}):([0-9a-f]{64})$/.exec(text) ?? []
  if (hash === undefined) {
    throw new Unreadable('--seal needs <number>:<hash>, the hash as 64 hex digits.')
  }
  return [Number(number), hash]
}
