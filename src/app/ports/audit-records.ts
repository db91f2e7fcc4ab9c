/** What is on record besides the events of the log: who looked at the trail, and what happened to accounts. */
export type RecordTable = 'audit_accesses' | 'security_events'

export type AuditRecord = {
  readonly id: number
  /** What the log's hash covers: times with microseconds, and no column that is null. */
  readonly row: Readonly<Record<string, unknown>>
}

/** Selects records; all conditions must hold. */
export type RecordsQuery = {
  readonly id?: number | undefined
  readonly user_id?: number | undefined
  /** Of accesses their kinds. */
  readonly type?: readonly string[] | undefined
  readonly ip?: string | undefined
  readonly request_id?: string | undefined
  /** When recorded, ISO 8601; `from` is inclusive, `to` exclusive. */
  readonly from?: string | undefined
  readonly to?: string | undefined
}

export type RecordsPage = {
  readonly descending: boolean
  readonly limit: number
  /** Id of the last record on the previous page, or where that page had got. */
  readonly after?: number | undefined
}

/** Records as they stand; the oldest go when they have expired. Error of every method: `database_unavailable`. */
export type AuditRecords = {
  /**
   * A page by id. `next`: where the next page begins, if there may be one. A page looks at a bounded number of rows:
   * it may end early, even without any record, and have a next one.
   */
  readonly find: (
    table: RecordTable,
    query: RecordsQuery,
    page: RecordsPage,
  ) => Promise<{ readonly records: readonly AuditRecord[]; readonly next: number | null }>
  /** The greatest id; 0 without one. */
  readonly last: (table: RecordTable) => Promise<number>
  /** All up to this id, oldest first. Fails if some expire and go meanwhile that were not read. */
  readonly read: (
    table: RecordTable,
    query: RecordsQuery,
    upTo: number,
  ) => AsyncIterable<readonly AuditRecord[]>
}
