import { base64, decimal, hashes, hashLines, headAndBody, MOST_HASHES } from './lines.ts'

const FIRST_LINE = 'c2sp.org/tlog-proof@v1'
const MOST_CHARACTERS = 2 ** 21

/** That a leaf is in a log (C2SP tlog-proof). `extra`: what goes with it, not proven by itself; null: nothing. */
export type ProofFile = {
  readonly extra: Buffer | null
  readonly index: number
  /** The leaf's sibling first. */
  readonly proof: readonly Buffer[]
  /** A note, as it was written; not checked. */
  readonly checkpoint: string
}

export function writeProofFile(file: {
  readonly extra?: Uint8Array | null
  readonly index: number
  readonly proof: readonly Uint8Array[]
  readonly checkpoint: string
}): string {
  const { extra, index, proof, checkpoint } = file
  const extraLine = extra?.length ? `extra ${Buffer.from(extra).toString('base64')}\n` : ''
  return `${FIRST_LINE}\n${extraLine}index ${index}\n${hashLines(proof)}\n${checkpoint}`
}

/** Null: not a proof file. */
export function readProofFile(text: string): ProofFile | null {
  const parts = text.length > MOST_CHARACTERS ? null : headAndBody(text)
  const [first, ...head] = parts?.head ?? []
  if (!parts || first !== FIRST_LINE || parts.body === '') return null
  const extraLine = head[0]?.startsWith('extra ') ? head.shift() : undefined
  const extra = extraLine === undefined ? null : base64(extraLine.slice('extra '.length))
  if (extraLine !== undefined && !extra?.length) return null
  const [indexLine = '', ...hashTexts] = head
  const index = indexLine.startsWith('index ') ? decimal(indexLine.slice('index '.length)) : null
  const proof = hashTexts.length > MOST_HASHES ? null : hashes(hashTexts)
  return index === null || !proof ? null : { extra, index, proof, checkpoint: parts.body }
}
