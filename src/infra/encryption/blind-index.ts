import { type Cipheriv, createCipheriv } from 'node:crypto'
import { fold } from '../../domain/task/search.ts'
import { searchKey } from './text-cipher.ts'

// What the index of tasks.ngrams holds: each run of one, two and three characters of a task's folded
// texts, as a number that only the user's key makes of it. Nobody's search goes through what others
// wrote, and without the key the numbers say no more than which of a user's tasks have runs in common
// (docs/adr/0016-search.md). Words of two characters are common in Chinese and Japanese, so the short
// runs are there too.
const LONGEST = 3
const SIZES = [1, 2, LONGEST]
/** More would only make a long search slower: what is found is compared in full. */
const ASKED_AT_MOST = 32

/** AES's block: up to three code points and how many there are, each in four bytes. */
const BLOCK = 16

/** The numbers by which a search finds a task with these texts. */
export function ngramsOf(dataKey: Buffer, texts: readonly (string | null)[]): number[] {
  const codes = texts.map((text) => codePoints(text ?? ''))
  const runs = codes.flatMap((each) => SIZES.map((size) => ({ codes: each, size })))
  return Array.from(distinct(numbers(dataKey, runs)))
}

/** Every text that holds what is searched for has all of these; not every text that has them holds it. */
export function ngramsToFind(dataKey: Buffer, q: string): number[] {
  const codes = codePoints(q)
  const found = distinct(numbers(dataKey, [{ codes, size: Math.min(LONGEST, codes.length) }]))
  const step = Math.ceil(found.length / ASKED_AT_MOST)
  return Array.from(found).filter((_, index) => index % step === 0)
}

const codePoints = (text: string): number[] =>
  Array.from(fold(text), (character) => character.codePointAt(0) ?? 0)

/** All runs of `size` code points. */
type Runs = { readonly codes: readonly number[]; readonly size: number }

const countOf = ({ codes, size }: Runs): number => Math.max(0, codes.length - size + 1)

/** AES makes a random number of each block, the same one each time; a quarter of it is enough. */
function numbers(dataKey: Buffer, runs: readonly Runs[]): Int32Array {
  const count = runs.reduce((sum, each) => sum + countOf(each), 0)
  const blocks = new Uint32Array((count * BLOCK) / 4)
  let block = 0
  for (const each of runs) {
    const { codes, size } = each
    for (let run = 0; run < countOf(each); run++, block += 4) {
      for (let at = 0; at < size; at++) blocks[block + at] = codes[run + at] ?? 0
      blocks[block + 3] = size
    }
  }
  const encrypted = searchCipher(dataKey).update(Buffer.from(blocks.buffer))
  return Int32Array.from({ length: count }, (_, run) => encrypted.readInt32LE(run * BLOCK))
}

/** In an order that does not tell where in a text each of them stands. */
const distinct = (found: Int32Array): Int32Array =>
  found.sort().filter((number, index) => number !== found[index - 1])

// To make one costs more than all that it encrypts. It encrypts each block by itself, and has no end.
const ciphers = new WeakMap<Buffer, Cipheriv>()

function searchCipher(dataKey: Buffer): Cipheriv {
  const known = ciphers.get(dataKey)
  if (known !== undefined) return known
  const cipher = createCipheriv('aes-256-ecb', searchKey(dataKey), null).setAutoPadding(false)
  ciphers.set(dataKey, cipher)
  return cipher
}
