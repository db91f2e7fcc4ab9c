import { writeAddCheckpoint } from '../../src/transparency-log/add-checkpoint.ts'
import { checkpointText } from '../../src/transparency-log/checkpoint.ts'
import { logSigner, type NoteSigner } from '../../src/transparency-log/keys.ts'
import { writeNote } from '../../src/transparency-log/signed-note.ts'
import {
  consistencyNodes,
  growingTree,
  leafHash,
  type Node,
  rootOf,
  sha256,
} from '../../src/transparency-log/tree.ts'

/** A log in memory: its leaves are texts. */
export function testLog(origin = 'tasktrail.test/log', secret = origin) {
  const signer = logSigner(origin, sha256(secret))
  let leaves: readonly string[] = []

  const hashOf = ({ level, index }: Node): Buffer => {
    const tree = growingTree()
    const from = index * 2 ** level
    for (const leaf of leaves.slice(from, from + 2 ** level)) tree.addLeaf(leafHash(leaf))
    return tree.root()
  }
  const root = (size: number) => {
    const tree = growingTree()
    for (const leaf of leaves.slice(0, size)) tree.addLeaf(leafHash(leaf))
    return tree.root()
  }
  const text = (size: number) => checkpointText({ origin, size, root: root(size) })
  const note = async (size: number, signers: readonly NoteSigner[] = [signer]) =>
    writeNote(text(size), await Promise.all(signers.map(({ sign }) => sign(text(size)))))
  const prove = (from: number, to: number): readonly Buffer[] =>
    consistencyNodes(from, to).map((nodes) => rootOf(nodes.map(hashOf)))
  return {
    origin,
    key: signer.key,
    signer,
    /** Replaces the leaves from that size on, or adds them at the end. */
    grow: (count: number, what = 'leaf', from = leaves.length) => {
      const added = Array.from({ length: count }, (_, n) => `${what} ${from + n}`)
      leaves = [...leaves.slice(0, from), ...added]
      return leaves.length
    },
    size: () => leaves.length,
    root,
    text,
    note,
    prove,
    /** What a witness is sent. */
    request: async (old: number, size = leaves.length) =>
      writeAddCheckpoint({
        old,
        proof: old <= size ? prove(old, size) : [],
        note: await note(size),
      }),
  }
}

export type TestLog = ReturnType<typeof testLog>
