export type Clock = () => Date

/** Accepts structured lines, as pino does. Never pass it a token, a password or a header. */
export type Log = {
  readonly info: (facts: object, message: string) => void
  readonly warn: (facts: object, message: string) => void
  readonly error: (facts: object, message: string) => void
}
