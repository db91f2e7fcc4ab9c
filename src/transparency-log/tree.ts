import { hash } from 'node:crypto'

/** Bytes of every hash. */
export const HASH_BYTES = 32

/** The complete subtree of the 2^level leaves from index * 2^level on. */
export type Node = { readonly level: number; readonly index: number }

// Asked for a Buffer, `hash` makes one outside V8's heap, which takes four times as long as hashing.
export const sha256 = (data: Uint8Array | string): Buffer =>
  Buffer.from(hash('sha256', data, 'binary'), 'binary')

export const isHash = (value: Uint8Array): boolean => value.length === HASH_BYTES

/** The root of a tree without leaves. */
export const EMPTY_ROOT: Buffer = sha256('')

/** A text counts as its UTF-8 bytes. */
export const leafHash = (entry: Uint8Array | string): Buffer => {
  if (typeof entry === 'string') return sha256(`\0${entry}`)
  const data = Buffer.allocUnsafe(1 + entry.length)
  data[0] = 0
  data.set(entry, 1)
  return sha256(data)
}

// Reused: a new one for every hash would cost half as much as hashing.
const pair = Buffer.alloc(1 + 2 * HASH_BYTES, 1)

/** Error: RangeError unless both are hashes. */
export const nodeHash = (left: Uint8Array, right: Uint8Array): Buffer => {
  needHash(left)
  needHash(right)
  pair.set(left, 1)
  pair.set(right, 1 + HASH_BYTES)
  return sha256(pair)
}

// Reused: what is folded here would be hundreds of short-lived buffers for one proof.
const folded = Buffer.alloc(128 * HASH_BYTES)

/** The root of a power of two of hashes, from 2 to 256, one after another. */
export function rootOfPairs(hashes: Buffer): Buffer {
  let level = hashes
  for (let bytes = hashes.length / 2; bytes >= HASH_BYTES; bytes /= 2) {
    for (let at = 0; at < bytes; at += HASH_BYTES) {
      level.copy(pair, 1, 2 * at, 2 * at + 2 * HASH_BYTES)
      folded.write(hash('sha256', pair, 'binary'), at, 'binary')
    }
    level = folded
  }
  return Buffer.from(folded.subarray(0, HASH_BYTES))
}

function needHash(value: Uint8Array): void {
  if (!isHash(value)) throw new RangeError(`A hash has 32 bytes, not ${value.length}`)
}

export const isSize = (value: unknown): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0

function needRange(from: number, to: number): void {
  if (!isSize(from) || !isSize(to)) throw new RangeError(`No leaves: ${from} to ${to}`)
}

/**
 * The fewest complete subtrees that together have the leaves from..to-1, left to right. Error:
 * RangeError unless both are whole numbers from 0 on.
 */
export function nodesBetween(from: number, to: number): readonly Node[] {
  needRange(from, to)
  const nodes: Node[] = []
  for (let at = from; at < to; ) {
    const level = largestAt(at, to)
    nodes.push({ level, index: at / 2 ** level })
    at += 2 ** level
  }
  return nodes
}

function largestAt(at: number, to: number): number {
  let level = 0
  while (at % 2 ** (level + 1) === 0 && at + 2 ** (level + 1) <= to) level += 1
  return level
}

/** The root of what the nodes of nodesBetween(0, size) are the hashes of. Error: RangeError unless all are hashes. */
export function rootOf(hashes: readonly Buffer[]): Buffer {
  for (const each of hashes) needHash(each)
  return hashes.length === 0
    ? EMPTY_ROOT
    : hashes.reduceRight((right, left) => nodeHash(left, right))
}

/** A tree that only grows, as the hashes of its complete subtrees: as many as its size has ones in binary. */
export type GrowingTree = {
  readonly size: number
  /** Error: RangeError unless it is a hash. */
  addLeaf(hash: Buffer): void
  /** A complete subtree of 2^level leaves. Error: RangeError unless the size is a multiple of that. */
  addNode(level: number, hash: Buffer): void
  root(): Buffer
}

export function growingTree(): GrowingTree {
  let size = 0
  const complete: Buffer[] = []

  const add = (from: number, added: Buffer) => {
    let level = from
    let node = added
    let left = complete[level]
    for (let rest = size / 2 ** from; rest % 2 === 1 && left; rest = (rest - 1) / 2) {
      node = nodeHash(left, node)
      level += 1
      left = complete[level]
    }
    complete[level] = node
    size += 2 ** from
  }

  return {
    get size() {
      return size
    },
    addLeaf: (leaf) => {
      needHash(leaf)
      add(0, leaf)
    },
    addNode: (level, node) => {
      needHash(node)
      const fits = isSize(level) && size % 2 ** level === 0 && isSize(size + 2 ** level)
      if (!fits) throw new RangeError(`A tree of ${size} leaves takes no subtree of 2^${level}`)
      add(level, node)
    },
    root: () => rootOf(nodesBetween(0, size).flatMap(({ level }) => complete[level] ?? [])),
  }
}

/** Leaves from..to-1 that are folded into one hash of a proof, and whether they are left of what is proven. */
type Sibling = { readonly from: number; readonly to: number; readonly left: boolean }

/** Where a tree of more than one leaf is split: the largest power of two below its size. */
function half(size: number): number {
  let power = 1
  while (power * 2 < size) power *= 2
  return power
}

/**
 * The way from the leaf before `end` up to the root, from the first subtree on that is `found`: where
 * that begins, and its siblings.
 */
function wayUp(end: number, size: number, found: (from: number, to: number) => boolean) {
  const siblings: Sibling[] = []
  let [from, to] = [0, size]
  while (!found(from, to)) {
    const middle = from + half(to - from)
    const goesLeft = end <= middle
    siblings.push(goesLeft ? { from: middle, to, left: false } : { from, to: middle, left: true })
    if (goesLeft) to = middle
    else from = middle
  }
  return { from, siblings: siblings.reverse() }
}

const wayFromLeaf = (index: number, size: number) =>
  wayUp(index + 1, size, (from, to) => to - from === 1)

/** Sizes: 0 < size < larger. */
const wayFromSize = (size: number, larger: number) => wayUp(size, larger, (_, to) => to === size)

const nodesOf = ({ from, to }: Sibling) => nodesBetween(from, to)

/**
 * For each hash of the proof that a leaf is in a tree (RFC 6962, 2.1.1) the complete subtrees that are
 * folded into it by `rootOf`. Error: RangeError unless the tree has that leaf.
 */
export function inclusionNodes(index: number, size: number): readonly (readonly Node[])[] {
  if (!hasLeaf(size, index)) throw new RangeError(`A tree of ${size} leaves has no leaf ${index}`)
  return wayFromLeaf(index, size).siblings.map(nodesOf)
}

const hasLeaf = (size: number, index: number) => isSize(index) && isSize(size) && index < size

/**
 * For each hash of the proof that a tree extends a smaller one (RFC 6962, 2.1.2) the complete subtrees
 * that are folded into it; none if the smaller one is empty. Error: RangeError unless from <= to.
 */
export function consistencyNodes(from: number, to: number): readonly (readonly Node[])[] {
  if (!isSize(from) || !isSize(to) || from > to) {
    throw new RangeError(`A tree of ${to} leaves does not extend one of ${from}`)
  }
  if (from === 0 || from === to) return []
  const way = wayFromSize(from, to)
  // A smaller tree that is one subtree of the larger one is known by its root.
  const base = way.from === 0 ? [] : [nodesBetween(way.from, from)]
  return [...base, ...way.siblings.map(nodesOf)]
}

const areHashes = (values: readonly Uint8Array[]) => values.every(isHash)

/** The root of the tree that has the leaf there if the proof is right; null: it cannot be the proof of any. */
export function rootOfInclusion(claim: {
  readonly index: number
  readonly size: number
  readonly leaf: Buffer
  readonly proof: readonly Buffer[]
}): Buffer | null {
  const { index, size, leaf, proof } = claim
  if (!hasLeaf(size, index) || !areHashes([leaf, ...proof])) return null
  const { siblings } = wayFromLeaf(index, size)
  if (siblings.length !== proof.length) return null
  return proof.reduce(
    (node, hash, at) => (siblings[at]?.left ? nodeHash(hash, node) : nodeHash(node, hash)),
    leaf,
  )
}

/** Whether the proof shows that the first leaves of a tree are those of a smaller one. Every tree extends the empty one. */
export function isConsistent(claim: {
  readonly from: number
  readonly fromRoot: Buffer
  readonly to: number
  readonly toRoot: Buffer
  readonly proof: readonly Buffer[]
}): boolean {
  const { from, fromRoot, to, toRoot, proof } = claim
  if (!isSize(from) || !isSize(to) || from > to) return false
  if (!areHashes([fromRoot, toRoot, ...proof])) return false
  if (from === 0 && !fromRoot.equals(EMPTY_ROOT)) return false
  if (from === to) return proof.length === 0 && fromRoot.equals(toRoot)
  if (from === 0) return proof.length === 0
  const way = wayFromSize(from, to)
  const [base, ...hashes] = way.from === 0 ? [fromRoot, ...proof] : proof
  if (!base || hashes.length !== way.siblings.length) return false
  return extendsTo(base, way.siblings, hashes, claim)
}

function extendsTo(
  base: Buffer,
  siblings: readonly Sibling[],
  hashes: readonly Buffer[],
  { fromRoot, toRoot }: { readonly fromRoot: Buffer; readonly toRoot: Buffer },
): boolean {
  let [smaller, larger] = [base, base]
  hashes.forEach((hash, at) => {
    const { left } = siblings[at] ?? {}
    larger = left ? nodeHash(hash, larger) : nodeHash(larger, hash)
    if (left) smaller = nodeHash(hash, smaller)
  })
  return smaller.equals(fromRoot) && larger.equals(toRoot)
}
