/** Something that is kept of an account; `record` says what: `profile`, `session`, `factor`, `security_event`, … */
export type AccountRecord = { readonly record: string } & Readonly<Record<string, unknown>>

export type AccountRecordPage = {
  readonly records: readonly AccountRecord[]
  /** Where the page after it begins; null: it is the last. */
  readonly next: string | null
}

/** Everything that is kept of an account, but for what proves who somebody is. Error: `database_unavailable`. */
export type AccountRecords = (user_id: number, after: string | null) => Promise<AccountRecordPage>

/**
 * The same, of whoever holds the token. Errors: `token_invalid`, `token_expired`, `session_ended`,
 * `auth_service_unavailable`.
 */
export type OwnAccountRecords = (
  token: string,
  after: string | null,
  request_id: string,
) => Promise<AccountRecordPage>
