/** A checkpoint would vouch for a change. */
export abstract class CheckpointRefused extends Error {
  /** For the log; the message has the details. */
  abstract readonly why: string
}

/** The stored log is not the one that was signed. */
export class LogChanged extends CheckpointRefused {
  readonly why = 'the log of checkpoints was changed'
}

/** The next event is not what was appended. */
export class ChainBroken extends CheckpointRefused {
  readonly why = 'an event was changed'
}
