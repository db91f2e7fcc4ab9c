import { fold } from '../../../domain/task/search.ts'

// What the index of tasks.ngrams holds: each run of one, two and three characters of a task's folded texts,
// hashed together with the user, so that a search does not touch other users' tasks. Words of two
// characters are common in Chinese and Japanese, so the short runs are included.
const LONGEST = 3
/** More would only slow a long search down: results are compared in full anyway. */
const ASKED_AT_MOST = 32

export type TaskTexts = {
  readonly user_id: number
  readonly title: string
  readonly description: string | null
}

/** A row of the read table as it is written: with its n-grams for searching. */
export const withNgrams = <Row extends TaskTexts>(
  row: Row,
): Row & { readonly ngrams: number[] } => ({
  ...row,
  ngrams: ngramsOf(row),
})

function ngramsOf({ user_id, title, description }: TaskTexts): number[] {
  const found = new Set<number>()
  for (const text of [title, description ?? '']) {
    const codes = codePoints(text)
    for (let size = 1; size <= LONGEST; size++) addNgrams(found, user_id, codes, size)
  }
  // In an order that does not reveal where in the text each of them is.
  return [...found].sort((one, other) => one - other)
}

/** Every text that contains the search text has all of these; not every text that has them contains it. */
export function ngramsToFind(user_id: number, q: string): number[] {
  const codes = codePoints(q)
  const found = new Set<number>()
  addNgrams(found, user_id, codes, Math.min(LONGEST, codes.length))
  const step = Math.ceil(found.size / ASKED_AT_MOST)
  return [...found].filter((_, index) => index % step === 0)
}

const codePoints = (text: string): number[] =>
  Array.from(fold(text), (character) => character.codePointAt(0) ?? 0)

function addNgrams(to: Set<number>, user_id: number, codes: readonly number[], size: number): void {
  for (let end = size; end <= codes.length; end++) {
    let hash = mix(0, user_id)
    for (let at = end - size; at < end; at++) hash = mix(hash, codes[at] ?? 0)
    to.add(hash)
  }
}

/** MurmurHash3's finalizer; a signed 32-bit integer, as PostgreSQL's int4. */
function mix(hash: number, value: number): number {
  let mixed = (hash ^ value) + 0x9e3779b9
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return mixed ^ (mixed >>> 16)
}
