/** What somebody says about a log, for verifiers to accept or to refuse. */
export type Claim = CheckpointClaim | InclusionClaim | ConsistencyClaim | TilesClaim

/** The note is a checkpoint that this key signed. */
export type CheckpointClaim = {
  readonly kind: 'checkpoint'
  readonly note: Buffer
  /** A verifier key, of a log or of a witness. */
  readonly key: string
}

/** The tree with that root has the entry there. */
export type InclusionClaim = {
  readonly kind: 'inclusion'
  readonly index: number
  readonly size: number
  readonly root: Buffer
  readonly entry: Buffer
  readonly proof: readonly Buffer[]
}

/** The one tree extends the other. */
export type ConsistencyClaim = {
  readonly kind: 'consistency'
  readonly from: number
  readonly fromRoot: Buffer
  readonly to: number
  readonly toRoot: Buffer
  readonly proof: readonly Buffer[]
}

/** The files of a directory (at the paths of tlog-tiles) are the tiles and entries of that tree. */
export type TilesClaim = {
  readonly kind: 'tiles'
  readonly directory: string
  readonly size: number
  readonly root: Buffer
  /** What stands in place of some files, by path; null: that file is not there. */
  readonly replaced: Readonly<Record<string, Buffer | null>>
}

/** `ok`, of a checkpoint `ok <size> <root in base64>`; `refused: <why>`; null: it has no such check. */
export type Verdict = string | null

export const REFUSED = 'refused: '
export const refused = (why: string): Verdict => REFUSED + why
