export type Clock = () => Date

/** Anything that takes structured lines; pino does. Never give it a token, a password or a header. */
export type Log = {
  readonly info: (facts: object, message: string) => void
  readonly warn: (facts: object, message: string) => void
  readonly error: (facts: object, message: string) => void
}
