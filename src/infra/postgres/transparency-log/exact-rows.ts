import type { TrailEvent } from '../../../verifier/formats.ts'
import { type RecordMark, type RecordTable, recordHash } from '../../../verifier/records.ts'
import type { Query } from '../projections/projection.ts'

const timeOf = (column: string, fraction: 'MS' | 'US', exact: string) => `
  replace(to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.${fraction}"Z"BC'),
    '${exact}', 'Z')`
/** A time to the microsecond, and with the era: one that our events cannot have must not hash like ours. */
export const instant = (column: string, fraction: 'MS' | 'US', exact: string) =>
  `${timeOf(column, fraction, exact)} as ${column}`

// JSON as text: pg would parse it and round numbers.
const READ = {
  name: 'read_events_exactly',
  text: `
    select position, stream_id, version, event_id, type, schema_version, data::text, actor_id,
      metadata::text, ${instant('occurred_at', 'US', '000ZAD')},
      ${instant('recorded_at', 'MS', 'ZAD')},
      encode(prev_hash, 'hex') as prev_hash, encode(hash, 'hex') as hash
    from events where position > $1 and position <= $2 order by position limit $3`,
}

/** Events as stored, for hashing. */
export async function eventsAfter(
  query: Query,
  after: number,
  upTo: number,
  limit: number,
): Promise<readonly TrailEvent[]> {
  type Row = TrailEvent & { readonly data: string; readonly metadata: string }
  const rows = await query<Row>(READ, [after, upTo, limit])
  return rows.map(({ data, metadata, ...row }) => {
    return { ...row, data: exactly(data), metadata: exactly(metadata) }
  })
}

const RECORD_TIMES = {
  audit_accesses: ['accessed_at', 'recorded_at'],
  security_events: ['occurred_at', 'recorded_at'],
} as const satisfies Record<RecordTable, readonly string[]>

/** What is selected of a row that is named `r`, as it is hashed: times to the microsecond, numbers as they stand. */
export const exactRecord = (table: RecordTable) => `
  id, ${instant('recorded_at', 'MS', 'ZAD')},
  (to_jsonb(r) || jsonb_build_object(${RECORD_TIMES[table]
    .map((name) => `'${name}', ${timeOf(name, 'US', 'ZAD')}`)
    .join(', ')}))::text as row`

export type ExactRecord = Pick<RecordMark, 'id' | 'recorded_at'> & { readonly row: string }

const readRecords = (table: RecordTable) => ({
  name: `read_${table}_exactly`,
  text: `
    select ${exactRecord(table)} from ${table} r where id > $1 and id <= $2 order by id limit $3`,
})

/** Rows of a table of records, hashed as stored. */
export async function recordsAfter(
  query: Query,
  table: RecordTable,
  after: number,
  upTo: number,
  limit: number,
): Promise<readonly RecordMark[]> {
  const rows = await query<ExactRecord>(readRecords(table), [after, upTo, limit])
  return rows.map(({ id, recorded_at, row }) => {
    return { table, id, recorded_at, hash: recordHash(table, exactly(row) as object) }
  })
}

/**
 * Turns numbers that JSON.parse would round, or that we would write differently, into a value that no JSON
 * in the database can have.
 */
export function exactly(json: string): unknown {
  if (!/[:[ ]-?(\d{16}|\d+\.)/.test(json)) return JSON.parse(json)
  return JSON.parse(json, (_, value, context?: { source?: string }) =>
    typeof value === 'number' && String(value) !== context?.source
      ? `\u0000${context?.source}`
      : value,
  )
}
