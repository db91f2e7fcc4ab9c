/** What a witness says to a checkpoint that a log sent it (C2SP tlog-witness). */
export type WitnessAnswer =
  /** Signature lines, each with its newline. */
  | { readonly outcome: 'cosigned'; readonly signatures: string }
  /** It has cosigned another size than the log believes, or this size with another root. */
  | { readonly outcome: 'conflict'; readonly size: number }
  | { readonly outcome: WitnessRefusal }

/**
 * Not such a request, or one whose old size is above the new one; of a log that it does not know; without a valid
 * signature of that log; not shown to extend what it has cosigned.
 */
export type WitnessRefusal = 'malformed' | 'unknown_log' | 'not_signed' | 'not_consistent'

export type Witness = {
  /**
   * Cosigns a checkpoint that extends the last one of its log, and stores it before it answers. Any other error
   * is the store's: then nothing was cosigned.
   */
  readonly addCheckpoint: (request: Uint8Array) => Promise<WitnessAnswer>
  /** What others verify its signatures with: the current one first, then that which it replaces. */
  readonly keys: readonly string[]
  /** How far each log is that it knows: 0, if it has cosigned nothing of it yet. */
  readonly logs: () => readonly { readonly origin: string; readonly size: number }[]
}
