import type { AuditRecord, RecordTable } from '../app/ports/audit-records.ts'
import type { RecordsExport, RecordsExportLine } from '../app/records-export.ts'
import {
  base64,
  type Cells,
  checkpointCells,
  type ExportFacts,
  head,
  table,
} from './audit-formats.ts'

/** Each line names its table: what is in it besides is read by that. */
export async function* recordsNdjson(
  { table, last, checkpoint, lines, trailer }: RecordsExport,
  facts: ExportFacts,
): AsyncGenerator<string> {
  for await (const batch of lines) {
    yield batch.map((line) => `${JSON.stringify(shownLine(table, line))}\n`).join('')
  }
  const after = (await trailer.after()).map(base64)
  const log = checkpoint && { checkpoint: checkpoint.note, after }
  yield `${JSON.stringify({ trailer: { table, count: trailer.count(), last, ...facts, log } })}\n`
}

function shownLine(table: RecordTable, line: RecordsExportLine): object {
  if ('record' in line) return { table, row: line.record.row }
  const { leaf, before, records, marks } = line
  return { table, leaf, before: before.map(base64), records, marks: base64(marks) }
}

/** Column by column, in this order; what later versions add is in NDJSON alone. */
const COLUMNS: Readonly<Record<RecordTable, readonly string[]>> = {
  security_events: [
    ...['id', 'type', 'user_id', 'username', 'session_id', 'ip', 'user_agent', 'request_id'],
    ...['details', 'occurred_at', 'recorded_at'],
  ],
  audit_accesses: [
    ...['id', 'kind', 'user_id', 'role', 'session_id', 'ip', 'request_id', 'query'],
    ...['accessed_at', 'recorded_at'],
  ],
}

export async function* recordsCsv(
  { table: of, last, checkpoint, batches, trailer }: RecordsExport,
  { exported_at }: ExportFacts,
): AsyncGenerator<string> {
  const columns = COLUMNS[of]
  yield* head(columns)
  for await (const batch of batches) yield table(batch.map(cells(columns)), columns.length)
  const counts = [trailer.count(), ...checkpointCells(checkpoint), last, exported_at]
  yield table([['# trailer', ...counts]], columns.length)
}

const cells =
  (columns: readonly string[]) =>
  ({ row }: AuditRecord): Cells =>
    columns.map((name) => {
      const value = row[name]
      if (value === undefined || typeof value === 'string' || typeof value === 'number')
        return value
      return JSON.stringify(value)
    })
