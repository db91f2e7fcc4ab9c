/** How far a leaf goes in the tables of records, by id. */
export type RecordsCovered = { readonly audit_accesses: number; readonly security_events: number }

/** What a leaf covers that is not an event: how far it goes, and the digest of what is new in it. */
export type LoggedRecords = RecordsCovered & {
  /** Lower-case hex. */
  readonly digest: string
}

/** A leaf of records, with its marks: what the digest is of, byte by byte (src/verifier/records.ts). */
export type MarkedRecords = {
  readonly leaf: number
  readonly records: LoggedRecords
  readonly marks: Buffer
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

/** The leaf of an event, and a checkpoint that covers it. */
export type LoggedEvent = {
  readonly index: number
  /** What the leaf is the hash of. */
  readonly entry: string
  readonly checkpoint: PublishedCheckpoint
}

/** From..to-1. */
export type LeafRange = readonly [from: number, to: number]

/**
 * The log as a Merkle tree, as far as it is published. Hashes have 32 bytes. Error of every method:
 * `database_unavailable`.
 */
export type TransparencyLog = {
  /** Null: nothing has been published yet. */
  readonly checkpoint: () => Promise<PublishedCheckpoint | null>
  /** The same, as soon as it covers the position, or after `ms`; at once if nothing has been published yet. */
  readonly checkpointAt: (position: number, ms: number) => Promise<PublishedCheckpoint | null>
  /** The same, as soon as it covers a row of a table of records; id 0: any does. */
  readonly checkpointOfRecord: (
    record: { readonly table: keyof RecordsCovered; readonly id: number },
    ms: number,
  ) => Promise<PublishedCheckpoint | null>
  /** Verifier keys of those who sign for the log, a line each; null before the first checkpoint. */
  readonly verifierKeys: () => Promise<string | null>
  /** The first `width` hashes of a tile, one after another; null if the published tree has no tile that wide. */
  readonly tile: (tile: {
    readonly level: number
    readonly n: number
    readonly width: number
  }) => Promise<Buffer | null>
  /** The first `width` entries of a bundle; null if the published tree has none that wide. */
  readonly entries: (bundle: {
    readonly n: number
    readonly width: number
  }) => Promise<readonly string[] | null>
  /** That the tree of `to` leaves extends that of `from`; null if the published tree has fewer. 0 <= from <= to. */
  readonly consistency: (from: number, to: number) => Promise<readonly Buffer[] | null>
  /**
   * Whose event it is (the task's owner, or the user), and its leaf, null if nothing published covers it. Null: there is
   * no event at that position, or nobody whose it is.
   */
  readonly eventAt: (
    position: number,
  ) => Promise<{ readonly owner_id: number; readonly logged: LoggedEvent | null } | null>
  /** That a leaf is in the tree of that size, which has it: its sibling first. */
  readonly inclusion: (index: number, size: number) => Promise<readonly Buffer[]>
  /** For each event its leaf; null if the tree of that size has none for it. */
  readonly leavesOf: (
    positions: readonly number[],
    size: number,
  ) => Promise<readonly (number | null)[]>
  /** The first leaves in the range that cover accesses and security events, in order; none: there are none. */
  readonly recordsIn: (
    range: LeafRange,
  ) => Promise<readonly { readonly leaf: number; readonly records: LoggedRecords }[]>
  /** For each row of a table its leaf; null if the tree of that size covers none such. */
  readonly leavesOfRecords: (
    table: keyof RecordsCovered,
    ids: readonly number[],
    size: number,
  ) => Promise<readonly (number | null)[]>
  /** These leaves of records, in order. */
  readonly markedRecords: (leaves: readonly number[]) => Promise<readonly MarkedRecords[]>
  /** How far the tree of that size goes. */
  readonly recordsCovered: (size: number) => Promise<RecordsCovered>
  /** For each range of leaves the hashes of the fewest complete subtrees that it consists of. Ranges in order. */
  readonly hashesOf: (ranges: readonly LeafRange[]) => Promise<readonly (readonly Buffer[])[]>
}
