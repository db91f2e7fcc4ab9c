/**
 * A witness has cosigned what this log does not extend: the log was rolled back or forked, or somebody else signs
 * with its key. Only a person can find out which, so nothing may be signed any more.
 */
export class WitnessContradicts extends Error {
  /** For the log; the message has the details. */
  readonly why = 'a witness knows another log'
  /** As the policy names it. */
  readonly witness: string
  /** How many leaves it says to have cosigned. */
  readonly size: number

  constructor(witness: string, size: number, what: string) {
    super(`the witness ${witness} has cosigned ${size} leaves, ${what}`)
    this.name = 'WitnessContradicts'
    this.witness = witness
    this.size = size
  }
}
