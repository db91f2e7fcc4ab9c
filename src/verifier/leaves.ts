import type { Checkpoint } from '../transparency-log/checkpoint.ts'
import { growingTree, leafHash, nodesBetween } from '../transparency-log/tree.ts'
import { Broken, nameOf, type Place } from './failures.ts'

/** The leaves of an export in their order, and the hashes of what lies between them. */
export type Leaves = {
  /** `leaf`: null if the checkpoint does not cover it. `before`: base64. Error: `Broken`. */
  readonly add: (
    of: Place,
    leaf: number | null,
    before: readonly string[],
    entry: () => string,
  ) => void
  /** The first leaf that is missing; only in an export that hides none. */
  readonly gap: () => Broken | null
  /** `after`: what lies between the last leaf and the checkpoint. Error: `Broken`. */
  readonly end: (after: readonly string[]) => Buffer
  /** Roots at the sizes that were asked for, as far as the export has a leaf that ends there. */
  readonly roots: ReadonlyMap<number, Buffer>
}

/** Grows a tree of all leaves. `hides`: leaves may be missing, of which there are hashes. `sizes`: where to keep the root. */
export function followLeaves(
  checkpoint: Checkpoint | null,
  { hides, sizes }: { readonly hides: boolean; readonly sizes: ReadonlySet<number> },
): Leaves {
  const size = checkpoint?.size ?? 0
  const tree = growingTree()
  const roots = new Map<number, Buffer>()
  let gap: Broken | null = null
  let isBehind = false

  const keepRoot = () => {
    if (sizes.has(tree.size)) roots.set(tree.size, tree.root())
  }

  const skipTo = (leaf: number, hashes: readonly string[], place: Place, next: string) => {
    const nodes = nodesBetween(tree.size, leaf)
    if (nodes.length > 0 && !hides) {
      gap = new Broken(
        { leaf: tree.size },
        `is missing, or not in its place, though the export has no filter: ${next}.`,
      )
      return
    }
    if (hashes.length !== nodes.length) {
      const why = `${nodes.length} hashes of what lies before it in the log, but has ${hashes.length}.`
      throw new Broken(place, `needs ${why}`)
    }
    for (const [at, { level }] of nodes.entries()) {
      tree.addNode(level, Buffer.from(hashes[at] ?? '', 'base64'))
      keepRoot()
    }
  }

  keepRoot()
  return {
    roots,
    gap: () => gap,
    add(place, leaf, before, entry) {
      const broken = (why: string) => new Broken(place, why)
      if (gap !== null) return
      if (leaf === null) {
        if (before.length > 0) throw broken('has hashes of the log, but no leaf in it.')
        isBehind = true
        return
      }
      if (isBehind) throw broken(`has leaf ${leaf}, but comes after an event that has none.`)
      if (leaf < tree.size) throw broken(`has leaf ${leaf}, but leaf ${tree.size} is next.`)
      if (leaf >= size) throw broken(`has leaf ${leaf}, but the checkpoint covers ${size}.`)
      skipTo(leaf, before, place, `${nameOf(place)} has leaf ${leaf}`)
      if (gap !== null) return
      tree.addLeaf(leafHash(entry()))
      keepRoot()
    },
    end(after) {
      skipTo(size, after, { thing: 'The trailer' }, `the checkpoint covers ${size} leaves`)
      if (gap !== null) throw gap
      return tree.root()
    },
  }
}
