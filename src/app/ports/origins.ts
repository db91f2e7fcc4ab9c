/** Where a request came from, in words for people. Both are what the client and its network say of themselves. */
export type Origins = {
  /** Such as "Firefox on Windows", "curl" or "an unknown program". */
  readonly device: (user_agent: string | null) => string
  /** Such as "Germany" or "a private network"; null: it is not known. */
  readonly place: (ip: string | null) => string | null
}
