/** What a leaf of the log is: an event, or the next accesses and security events. */
export type LeafPlace =
  | { readonly position: number; readonly stream_id: string; readonly version: number }
  | { readonly records: LoggedRecords }

/** How far a leaf goes in both tables, and the digest of what is new in it (lower-case hex). */
export type LoggedRecords = {
  readonly audit_accesses: number
  readonly digest: string
  readonly security_events: number
}

/** A checkpoint that enough witnesses have signed. */
export type PublishedCheckpoint = {
  /** Leaves. */
  readonly size: number
  /** Events up to this position are leaves. */
  readonly position: number
  /** The signed note. */
  readonly note: string
}

/**
 * The log as a Merkle tree, as far as it is published. Hashes have 32 bytes. Error of every method:
 * `database_unavailable`.
 */
export type TransparencyLog = {
  /** Null: nothing has been published yet. */
  readonly checkpoint: () => Promise<PublishedCheckpoint | null>
  /** The same, once it covers the position, or after `ms`. */
  readonly checkpointAt: (position: number, ms: number) => Promise<PublishedCheckpoint | null>
  /** Verifier keys of those who sign for the log, a line each; null before the first checkpoint. */
  readonly verifierKeys: () => Promise<string | null>
  /** The first `width` hashes of a tile, one after another; null if the published tree has no such tile. */
  readonly tile: (tile: {
    readonly level: number
    readonly n: number
    readonly width: number
  }) => Promise<Buffer | null>
  /** An entry bundle; null if the published tree has none that wide. */
  readonly entries: (bundle: {
    readonly n: number
    readonly width: number
  }) => Promise<Buffer | null>
  /** Null unless 0 < from <= to <= the published size. */
  readonly consistency: (from: number, to: number) => Promise<readonly Buffer[] | null>
  /** The leaf of an event, its entry and its inclusion proof in the tree of that size; null: no such leaf. */
  readonly proof: (
    position: number,
    size: number,
  ) => Promise<{
    readonly index: number
    readonly entry: Buffer
    readonly hashes: readonly Buffer[]
  } | null>
  /** Of events in the order of their positions; null where the tree of that size does not reach. */
  readonly leavesOf: (
    positions: readonly number[],
    size: number,
  ) => Promise<readonly (number | null)[]>
  /** The leaves from..to-1 that are accesses and security events, in order. */
  readonly recordsBetween: (
    from: number,
    to: number,
  ) => Promise<readonly { readonly leaf: number; readonly records: LoggedRecords }[]>
  /** For each range of leaves (from..to-1) the hashes of the fewest complete subtrees that cover it. */
  readonly hashesOf: (
    ranges: readonly (readonly [from: number, to: number])[],
  ) => Promise<readonly (readonly Buffer[])[]>
}
