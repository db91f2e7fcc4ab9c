import { createCipheriv } from 'node:crypto'
import { fold } from '../../domain/task/search.ts'
import { searchKey } from './text-cipher.ts'

// What the index of tasks.ngrams holds: each run of one, two and three characters of a task's folded
// texts, as a number that only the user's key makes of it. Nobody's search goes through what others
// wrote, and without the key the numbers say no more than which of a user's tasks have runs in common
// (docs/adr/0016-search.md). Words of two characters are common in Chinese and Japanese, so the short
// runs are there too.
const LONGEST = 3
/** More would only make a long search slower: what is found is compared in full. */
const ASKED_AT_MOST = 32

/** AES's block: up to three code points and how many there are, each in four bytes. */
const BLOCK = 16

/** The numbers by which a search finds a task with these texts. */
export function ngramsOf(dataKey: Buffer, texts: readonly (string | null)[]): number[] {
  const runs = texts.flatMap((text) => {
    const codes = codePoints(text ?? '')
    return Array.from({ length: LONGEST }, (_, size) => blocks(codes, size + 1))
  })
  // In an order that does not tell where in the text each of them stands.
  return [...new Set(numbers(dataKey, runs))].sort((one, other) => one - other)
}

/** Every text that holds what is searched for has all of these; not every text that has them holds it. */
export function ngramsToFind(dataKey: Buffer, q: string): number[] {
  const codes = codePoints(q)
  const found = [...new Set(numbers(dataKey, [blocks(codes, Math.min(LONGEST, codes.length))]))]
  const step = Math.ceil(found.length / ASKED_AT_MOST)
  return found.filter((_, index) => index % step === 0)
}

const codePoints = (text: string): number[] =>
  Array.from(fold(text), (character) => character.codePointAt(0) ?? 0)

function blocks(codes: readonly number[], size: number): Buffer {
  const count = Math.max(0, codes.length - size + 1)
  const runs = new Uint32Array((count * BLOCK) / 4)
  for (let run = 0; run < count; run++) {
    for (let at = 0; at < size; at++) runs[run * 4 + at] = codes[run + at] ?? 0
    runs[run * 4 + 3] = size
  }
  return Buffer.from(runs.buffer)
}

/** AES makes a random number of each block, the same one each time; a quarter of it is enough. */
function numbers(dataKey: Buffer, runs: readonly Buffer[]): number[] {
  const cipher = createCipheriv('aes-256-ecb', searchKey(dataKey), null).setAutoPadding(false)
  const encrypted = cipher.update(Buffer.concat(runs))
  return Array.from({ length: encrypted.length / BLOCK }, (_, run) =>
    encrypted.readInt32LE(run * BLOCK),
  )
}
