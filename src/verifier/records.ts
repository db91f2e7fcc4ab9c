import { sha256 } from '../transparency-log/tree.ts'
import { canonical } from './formats.ts'

/** Tables that the log covers besides events, in the order of their marks; rows are only added. */
export const RECORDS = ['audit_accesses', 'security_events'] as const
export type RecordTable = (typeof RECORDS)[number]

/** What the log holds of a row. */
export type RecordMark = {
  readonly table: RecordTable
  readonly id: number
  readonly recorded_at: string
  readonly hash: string
}

/** The id up to which a leaf covers each table. */
export type RecordEnds = Readonly<Record<RecordTable, number>>

/** Covers the whole row. A null column does not count, so that a new column changes no hash. */
export const recordHash = (table: RecordTable, row: object): string =>
  sha256(
    canonical({
      table,
      row: Object.fromEntries(Object.entries(row).filter(([, v]) => v !== null)),
    }),
  ).toString('hex')

/** What a leaf says of all of them. */
export const recordsDigest = (ends: RecordEnds, marks: Buffer): Buffer =>
  sha256(Buffer.concat([sha256(canonical(ends)), marks]))

// Table (1), id (6), recorded_at in ms (6), hash (32).
const MARK_BYTES = 45

export function writeRecordMarks(records: readonly RecordMark[]): Buffer {
  const marks = Buffer.alloc(records.length * MARK_BYTES)
  for (const [index, { table, id, recorded_at, hash }] of records.entries()) {
    const start = index * MARK_BYTES
    marks.writeUInt8(RECORDS.indexOf(table), start)
    marks.writeUIntBE(id, start + 1, 6)
    marks.writeUIntBE(Date.parse(recorded_at), start + 7, 6)
    marks.write(hash, start + 13, 'hex')
  }
  return marks
}

/** Null: they do not have the form of marks. */
export function readRecordMarks(marks: Buffer): readonly RecordMark[] | null {
  const count = marks.length / MARK_BYTES
  if (!Number.isInteger(count)) return null
  const read: RecordMark[] = []
  for (let start = 0; start < marks.length; start += MARK_BYTES) {
    const table = RECORDS[marks.readUInt8(start)]
    if (table === undefined) return null
    read.push({
      table,
      id: marks.readUIntBE(start + 1, 6),
      recorded_at: new Date(marks.readUIntBE(start + 7, 6)).toISOString(),
      hash: marks.toString('hex', start + 13, start + MARK_BYTES),
    })
  }
  return read
}
