import { type Options, stringify } from 'csv-stringify/sync'
import type { AuditExport, ExportLine } from '../app/audit-export.ts'
import type { AuditEvent } from '../app/ports/audit.ts'
import { parseCheckpoint } from '../transparency-log/checkpoint.ts'
import { readNote } from '../transparency-log/signed-note.ts'
import { auditEventOf } from './audit-schemas.ts'

/** What the trailer says about the export itself. */
export type ExportFacts = {
  readonly exported_at: string
  readonly exported_by: number
  readonly query: object
}

/** An export in one format, in pieces. Whoever has its last line has all of it. */
export type Format = (exported: AuditExport, facts: ExportFacts) => AsyncGenerator<string>

export async function* ndjson(
  { position, parked, checkpoint, lines, trailer }: AuditExport,
  facts: ExportFacts,
): AsyncGenerator<string> {
  for await (const batch of lines) {
    yield batch.map((line) => `${JSON.stringify(shownLine(line))}\n`).join('')
  }
  const after = (await trailer.after()).map(base64)
  const log = checkpoint && { checkpoint: checkpoint.note, after }
  const last = { count: trailer.count(), position, parked, ...facts, log }
  yield `${JSON.stringify({ trailer: last })}\n`
}

export const base64 = (hash: Buffer): string => hash.toString('base64')

function shownLine(line: ExportLine): object {
  const before = line.before.map(base64)
  const { leaf } = line
  if ('records' in line) return { leaf, before, records: line.records }
  const { event, stored, text_keys } = line
  return { ...auditEventOf(event), leaf, before, stored, text_keys }
}

const COLUMNS = [
  'position',
  'task_id',
  'version',
  'type',
  'actor_id',
  'occurred_at',
  'recorded_at',
  'request_id',
  'field',
  'from',
  'to',
  'erased',
  'unreadable',
] as const

export type Cells = readonly (string | number | null | undefined)[]

const BYTE_ORDER_MARK = '\ufeff'

export async function* csv(
  { position, parked, checkpoint, batches, trailer }: AuditExport,
  { exported_at }: ExportFacts,
): AsyncGenerator<string> {
  yield* head(COLUMNS)
  for await (const batch of batches) yield table(batch.flatMap(({ event }) => rowsOf(event)))
  const counts = [trailer.count(), ...checkpointCells(checkpoint), position, exported_at]
  const missing = parked.map((stream) => ['# parked', ...stream])
  yield table([...missing, ['# trailer', ...counts, parked.length]])
}

/** Without the byte order mark, Excel does not recognise UTF-8. */
export function* head(columns: readonly string[]): Generator<string> {
  yield BYTE_ORDER_MARK + table([columns], columns.length)
}

/** Size and root. */
export function checkpointCells(checkpoint: AuditExport['checkpoint']): Cells {
  const note = checkpoint && readNote(checkpoint.note)
  const { size, root } = (note && parseCheckpoint(note.text)) ?? {}
  return [size, root && base64(root)]
}

/** One row for each change of the event, or one without a change if it changed nothing. */
function rowsOf(event: AuditEvent): readonly Cells[] {
  const { position, task_id, version, type, actor_id, occurred_at, recorded_at } = event
  const begin = [position, task_id, version, type, actor_id, occurred_at, recorded_at]
  const flags = [event.erased, event.unreadable].map((is) => (is ? 'true' : null))
  const changes = Object.entries(event.changes)
  const fields = changes.map(([field, { from, to }]) => [field, cell(from), cell(to)])
  const shown = fields.length === 0 ? [[null, null, null]] : fields
  return shown.map((field) => [...begin, event.request_id, ...field, ...flags])
}

const cell = (value: unknown): string | null => (value === null ? null : String(value))

// What a spreadsheet may take for a formula beyond what escape_formulas covers (=, +, -, @ and their
// full-width forms, tab, carriage return): the same after blanks, and a line feed.
const FORMULA = /^(?:\n|\s+[=+\-@\uff1d\uff0b\uff0d\uff20])/

// Where the list separator is a semicolon, a program ignores the quotes of a line that does not begin with
// one: it starts new cells at semicolons and line ends inside texts; others do so at tabs. What looks like
// a quote there is gone by the time the cell is read. Also takes blanks that no sign follows: looking back
// over them from each place would take a second for a long run.
const FORMULA_WITHIN = /([;\t\r\n][\s"]*)([=+\-@\uff1d\uff0b\uff0d\uff20])?/g

const defused = (text: string): string => {
  const safe = text.replace(FORMULA_WITHIN, (all, gap, sign) => (sign ? `${gap}'${sign}` : all))
  return FORMULA.test(text) ? `'${safe}` : safe
}

const OPTIONS: Options = {
  record_delimiter: '\r\n',
  quote_record_delimiter: true,
  escape_formulas: true,
  cast: { string: defused },
}

export const table = (rows: readonly Cells[], width: number = COLUMNS.length): string =>
  stringify(
    rows.map((row) => Array.from({ length: width }, (_, index) => row[index])),
    OPTIONS,
  )
