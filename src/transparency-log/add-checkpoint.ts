import { decimal, hashes, hashLines, headAndBody, MOST_HASHES } from './lines.ts'

/** What a log asks a witness to sign (C2SP tlog-witness). */
export type AddCheckpoint = {
  /** The size that the log believes the witness to know; 0: none. */
  readonly old: number
  /** That the checkpoint extends that size. */
  readonly proof: readonly Buffer[]
  /** The checkpoint; not checked. */
  readonly note: string
}

export const writeAddCheckpoint = ({ old, proof, note }: AddCheckpoint): string =>
  `old ${old}\n${hashLines(proof)}\n${note}`

/** Null: not such a request. */
export function readAddCheckpoint(text: string): AddCheckpoint | null {
  const parts = headAndBody(text)
  const [oldLine = '', ...hashTexts] = parts?.head ?? []
  const old = oldLine.startsWith('old ') ? decimal(oldLine.slice('old '.length)) : null
  if (!parts || old === null || hashTexts.length > MOST_HASHES || parts.body === '') return null
  const proof = hashes(hashTexts)
  return proof ? { old, proof, note: parts.body } : null
}
