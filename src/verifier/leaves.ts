import { hashes } from '../transparency-log/lines.ts'
import { growingTree, leafHash, nodesBetween } from '../transparency-log/tree.ts'
import type { Leaf } from './event-line.ts'
import { Broken, nameOf, type Place } from './failures.ts'

/** The leaves of an export in their order, and the hashes of what lies between them. */
export type Leaves = {
  /** Error: `Broken`. */
  readonly add: (of: Place, leaf: Leaf, entry: () => string) => void
  /** `after`: what lies between the last leaf and the end of a log of this size. Error: `Broken`. */
  readonly end: (size: number, after: readonly unknown[]) => Buffer
  /** Says that the first leaf is missing of which there is only a hash; null: all are there. */
  readonly hidden: () => Broken | null
  /** Roots at the sizes that were asked for, as far as a leaf or a hash ends there. */
  readonly roots: ReadonlyMap<number, Buffer>
}

/** Grows the tree of the log. `sizes`: where to keep the root. */
export function followLeaves(sizes: ReadonlySet<number>): Leaves {
  const tree = growingTree()
  const roots = new Map<number, Buffer>()
  let hidden: Broken | null = null
  let isBehind = false

  const keepRoot = () => {
    if (sizes.has(tree.size)) roots.set(tree.size, tree.root())
  }

  const skipTo = (leaf: number, given: readonly unknown[], of: Place, next: string) => {
    const nodes = nodesBetween(tree.size, leaf)
    if (nodes.length > 0 && given.length === 0) {
      throw new Broken({ leaf: tree.size }, `is missing, or not in its place: ${next}.`)
    }
    const found = hashes(given)
    if (found?.length !== nodes.length) {
      throw new Broken(of, `needs ${nodes.length} hashes of what lies before it in the log.`)
    }
    if (nodes.length > 0) {
      hidden ??= new Broken({ leaf: tree.size }, 'is not shown, though the export has no filter.')
    }
    for (const [at, hash] of found.entries()) {
      tree.addNode(nodes[at]?.level ?? 0, hash)
      keepRoot()
    }
  }

  keepRoot()
  return {
    roots,
    hidden: () => hidden,
    add(of, { leaf, before }, entry) {
      const broken = (why: string) => new Broken(of, why)
      if (leaf === null) {
        if (before.length > 0) throw broken('has hashes of the log, but no leaf in it.')
        isBehind = true
        return
      }
      if (isBehind) throw broken(`has leaf ${leaf}, but comes after an event that has none.`)
      if (leaf < tree.size) throw broken(`has leaf ${leaf}, but leaf ${tree.size} is next.`)
      skipTo(leaf, before, of, `${nameOf(of)} has leaf ${leaf}`)
      tree.addLeaf(leafHash(entry()))
      keepRoot()
    },
    end(size, after) {
      if (tree.size > size) {
        throw new Broken({ leaf: size }, `is not in the log: the checkpoint covers ${size} leaves.`)
      }
      skipTo(size, after, { thing: 'The trailer' }, `the checkpoint covers ${size} leaves`)
      return tree.root()
    },
  }
}
