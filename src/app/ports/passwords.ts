/** How hard a password is to guess for somebody who knows what its owner is called. */
export type Strength = {
  /** 0 to 4; from 3 on it withstands somebody who has stolen the hashes for a while. */
  readonly score: number
  /** How many guesses it takes, about. */
  readonly guesses: number
  /** What makes it weak, and what would make it stronger, in words. */
  readonly warning: string | null
  readonly suggestions: readonly string[]
  /** Easily guessed by whoever knows one of the texts that were given with it. */
  readonly isOwn: boolean
}

/**
 * Looks at the first characters only: its work grows with the square of the length. Error: `hashing_busy` when too many
 * wait.
 */
export type PasswordStrength = (password: string, own: readonly string[]) => Promise<Strength>

/** Whether a password is one of the most common ones. */
export type CommonPasswords = (password: string) => boolean

/** Whether a password is known from a breach of some other service. */
export type BreachedPasswords = (password: string) => Promise<boolean>

/** Hashes of earlier passwords of those who may not use them again. */
export type FormerPasswords = {
  /** Of the last ones before the present one, the newest first. Error: `database_unavailable`. */
  readonly of: (user_id: number, atMost: number) => Promise<readonly string[]>
}
