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

/** What is hashed of a row: a null column does not count, so that a new column changes no hash. */
export const hashedPart = (row: object): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null))

/** Covers the whole row. */
export const recordHash = (table: RecordTable, row: object): string =>
  sha256(canonical({ table, row: hashedPart(row) })).toString('hex')

/** What a leaf says of all of them. */
export const recordsDigest = (ends: RecordEnds, marks: Buffer): Buffer =>
  sha256(Buffer.concat([sha256(canonical(ends)), marks]))

/** The leaf of records before one; null: it is the first. */
export type PreviousRecords = { readonly leaf: number; readonly digest: string } | null

export type Marks = {
  /** Undefined: the leaf was written before leaves named the one before. */
  readonly previous: PreviousRecords | undefined
  readonly records: readonly RecordMark[]
}

// Table (1), id (6), recorded_at in ms (6), hash (32). The first one is of another kind: it names the leaf of records
// before this one, so that whoever has the last one knows whether any is missing.
const MARK_BYTES = 45
const PREVIOUS = 255

export function writeMarks(previous: PreviousRecords, records: readonly RecordMark[]): Buffer {
  const marks = Buffer.alloc((1 + records.length) * MARK_BYTES)
  marks.writeUInt8(PREVIOUS)
  if (previous !== null) {
    marks.writeUIntBE(previous.leaf + 1, 1, 6)
    marks.write(previous.digest, 13, 'hex')
  }
  for (const [index, { table, id, recorded_at, hash }] of records.entries()) {
    const start = (1 + index) * MARK_BYTES
    marks.writeUInt8(RECORDS.indexOf(table), start)
    marks.writeUIntBE(id, start + 1, 6)
    marks.writeUIntBE(Date.parse(recorded_at), start + 7, 6)
    marks.write(hash, start + 13, 'hex')
  }
  return marks
}

/** Null: they do not have the form of marks. */
export function readMarks(marks: Buffer): Marks | null {
  if (marks.length % MARK_BYTES !== 0) return null
  const isLinked = marks[0] === PREVIOUS
  const records: RecordMark[] = []
  for (let start = isLinked ? MARK_BYTES : 0; start < marks.length; start += MARK_BYTES) {
    const table = RECORDS[marks.readUInt8(start)]
    if (table === undefined) return null
    records.push({
      table,
      id: marks.readUIntBE(start + 1, 6),
      recorded_at: new Date(marks.readUIntBE(start + 7, 6)).toISOString(),
      hash: marks.toString('hex', start + 13, start + MARK_BYTES),
    })
  }
  return { previous: isLinked ? previousIn(marks) : undefined, records }
}

function previousIn(marks: Buffer): PreviousRecords {
  const leaf = marks.readUIntBE(1, 6) - 1
  return leaf < 0 ? null : { leaf, digest: marks.toString('hex', 13, MARK_BYTES) }
}

export const isSamePrevious = (one: PreviousRecords, other: PreviousRecords): boolean =>
  one?.leaf === other?.leaf && one?.digest === other?.digest
