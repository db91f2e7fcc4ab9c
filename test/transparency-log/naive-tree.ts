import { createHash } from 'node:crypto'

/** RFC 6962, section 2.1, word for word: slow, and without anything of what it is compared with. */
export type NaiveTree = {
  /** MTH(D[from:to]) */
  readonly root: (from: number, to: number) => Buffer
  /** PATH(m, D[from:to]) */
  readonly path: (m: number, from: number, to: number) => readonly Buffer[]
  /** PROOF(m, D[0:n]) */
  readonly proof: (m: number, n: number) => readonly Buffer[]
}

const sha256 = (...parts: readonly (Uint8Array | string)[]): Buffer => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}

/** "the largest power of two smaller than n" */
const k = (n: number) => 2 ** Math.ceil(Math.log2(n) - 1)

export function naiveTree(entry: (index: number) => Uint8Array | string): NaiveTree {
  const known = new Map<string, Buffer>()

  const root = (from: number, to: number): Buffer => {
    const key = `${from}-${to}`
    const found = known.get(key) ?? compute(from, to)
    known.set(key, found)
    return found
  }

  const compute = (from: number, to: number): Buffer => {
    const n = to - from
    if (n === 0) return sha256()
    if (n === 1) return sha256(Buffer.of(0x00), entry(from))
    return sha256(Buffer.of(0x01), root(from, from + k(n)), root(from + k(n), to))
  }

  const path = (m: number, from: number, to: number): readonly Buffer[] => {
    const n = to - from
    if (n === 1) return []
    const middle = from + k(n)
    return m < k(n)
      ? [...path(m, from, middle), root(middle, to)]
      : [...path(m - k(n), middle, to), root(from, middle)]
  }

  const subproof = (m: number, from: number, to: number, b: boolean): readonly Buffer[] => {
    const n = to - from
    if (m === n) return b ? [] : [root(from, to)]
    const middle = from + k(n)
    return m <= k(n)
      ? [...subproof(m, from, middle, b), root(middle, to)]
      : [...subproof(m - k(n), middle, to, false), root(from, middle)]
  }

  return { root, path, proof: (m, n) => subproof(m, 0, n, true) }
}

/** A tree of the texts `entry 0`, `entry 1` and so on. */
export const entryOf = (index: number): string => `entry ${index}`
export const numbered: NaiveTree = naiveTree(entryOf)
