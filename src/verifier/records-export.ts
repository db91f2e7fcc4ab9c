import { isSize } from '../transparency-log/tree.ts'
import type { SignedCheckpoint } from './checkpoints.ts'
import { type Records, recordsEntry } from './entries.ts'
import { proofIn, readExport, requireSigned, type TrailerFacts } from './export.ts'
import { Broken, Unreadable } from './failures.ts'
import { isObject, parse } from './files.ts'
import { followLeaves, type Leaves } from './leaves.ts'
import {
  hashedPart,
  isSamePrevious,
  type Marks,
  type PreviousRecords,
  RECORDS,
  type RecordMark,
  type RecordTable,
  readMarks,
  recordHash,
  recordsDigest,
} from './records.ts'
import type { Trust } from './trust.ts'

export type RecordsTrailer = TrailerFacts & {
  readonly table: RecordTable
  /** Later ones are not in the export. */
  readonly last: number
}

export type RecordsReport = {
  /** Null: nothing proves any of it. */
  readonly log: SignedCheckpoint | null
  readonly roots: Leaves['roots']
  readonly trailer: RecordsTrailer
  /** The last that is shown; 0 without one. */
  readonly id: number
  /** How many of them the log has as they are shown, and the first that it has not. */
  readonly logged: number
  readonly unlogged: number | null
  /** None that the shown leaves cover is missing, but for those that had expired. */
  readonly whole: boolean
  readonly removed: number
  /** The first leaf that does not name the one before it: it may not be the next. */
  readonly unlinked: number | null
  /** The last leaf that is shown, and the time of the last record that it covers. */
  readonly end: { readonly leaf: number; readonly recorded_at: string } | null
}

/** What expires later is in no database any more when somebody removed it; an export takes an hour at most. */
const KEPT_MS = 30 * 86_400_000 - 3_600_000

type Line =
  | { readonly row: Readonly<Record<string, unknown>>; readonly id: number }
  | {
      readonly leaf: number
      readonly before: readonly unknown[]
      readonly records: Records
      readonly marks: Marks
    }

/** Checks an export of accesses or security events, or the proof of one. Error: `Broken`, `Unreadable`. */
export async function verifyRecordsExport(
  file: string,
  trust: Trust,
  kept: readonly SignedCheckpoint[] = [],
): Promise<RecordsReport> {
  const leaves = followLeaves(new Set(kept.map(({ size }) => size)))
  const shown = follow()
  const add = (text: string, number: number) => {
    const { table, line } = readLine(text, number)
    if ('row' in line) shown.addRow(table, line.id, recordHash(table, line.row))
    else {
      leaves.add({ leaf: line.leaf }, line, () => recordsEntry(line.records))
      shown.addLeaf(table, line)
    }
  }
  const trailer = await readExport(file, add, trailerOfRecords)
  const log = requireSigned(trailer, leaves, trust, kept, CHANGED)
  const whole = Object.keys(trailer.query).length === 0
  return { ...shown.report(trailer, whole), log, roots: leaves.roots, trailer, whole }
}

const CHANGED = 'though each digest in it is right: another leaf or hash of the log was changed.'

export function trailerOfRecords(trailer: Readonly<Record<string, unknown>>): RecordsTrailer {
  const { table, count, last, exported_at, exported_by, query, log } = trailer
  const known = RECORDS.find((name) => name === table)
  const facts = { table: known, count, last, exported_at, exported_by, query, log: proofIn(log) }
  return facts as RecordsTrailer
}

function readLine(
  text: string,
  number: number,
): { readonly table: RecordTable; readonly line: Line } {
  const broken = (why: string) => new Broken({ line: number }, why)
  const read = parse(text)
  if (read === undefined) throw new Unreadable(`Line ${number} is not a line of an NDJSON export.`)
  const line = isObject(read) ? read : {}
  const table = RECORDS.find((name) => name === line.table)
  if (table === undefined) throw broken('is of no table of records.')
  const { row, leaf, before, marks: given } = line
  if (isObject(row)) {
    const isRight = isSize(row.id) && JSON.stringify({ table, row: hashedPart(row) }) === text
    if (!isRight) throw broken('is not a record as an export writes it.')
    return { table, line: { row, id: row.id as number } }
  }
  const { audit_accesses, digest, security_events } = isObject(line.records) ? line.records : {}
  const records = { audit_accesses, digest, security_events } as Records
  const bytes = Buffer.from(typeof given === 'string' ? given : '', 'base64')
  const written = { table, leaf, before, records, marks: bytes.toString('base64') }
  const ends = { audit_accesses, security_events } as Records
  const isRight =
    isSize(leaf) && Array.isArray(before) && RECORDS.every((name) => isSize(ends[name]))
  if (!isRight || JSON.stringify(written) !== text) {
    throw broken('is not a leaf of records as an export writes it.')
  }
  const marks = readMarks(bytes)
  if (marks === null || recordsDigest(ends, bytes).toString('hex') !== digest) {
    throw new Broken(
      { leaf: leaf as number },
      'is changed: its marks are not what its digest is of.',
    )
  }
  return { table, line: { leaf: leaf as number, before: before as unknown[], records, marks } }
}

type Covering = {
  readonly leaf: number
  readonly end: number
  /** Those that have not been shown. */
  readonly open: Map<number, RecordMark>
}

/** Compares records with the marks of the leaves before them. */
function follow() {
  const tables = new Set<RecordTable>()
  const missing: (readonly [mark: RecordMark, leaf: number])[] = []
  let covering: Covering | null = null
  let previous: PreviousRecords = null
  /** The first leaf that does not follow the one that is shown before it. */
  let skipped: Broken | null = null
  let unlinked: number | null = null
  let [first, id, count, logged, newest] = [0, 0, 0, 0, '']
  let unlogged: number | null = null

  const close = () => {
    if (covering === null) return
    for (const mark of covering.open.values()) missing.push([mark, covering.leaf])
  }

  return {
    addLeaf(table: RecordTable, { leaf, records, marks }: Exclude<Line, { row: unknown }>) {
      tables.add(table)
      close()
      const named = marks.previous
      if (named === undefined) unlinked ??= leaf
      else if (!isSamePrevious(named, previous)) {
        const lost = named === null ? 'is the first of records' : `follows leaf ${named.leaf}`
        skipped ??= new Broken({ leaf }, `${lost}, which is not the one that is shown before it.`)
      }
      previous = { leaf, digest: records.digest }
      const own = marks.records.filter((mark) => mark.table === table)
      const open = new Map(own.map((mark) => [mark.id, mark]))
      covering = { leaf, end: records[table], open }
      for (const { recorded_at } of marks.records) if (recorded_at > newest) newest = recorded_at
    },

    addRow(table: RecordTable, given: number, hash: string) {
      tables.add(table)
      const broken = (why: string) => new Broken({ table, id: given }, why)
      if (given <= id) throw broken(`comes after ${id}.`)
      id = given
      first ||= given
      count++
      if (covering === null || given > covering.end) {
        unlogged ??= given
        return
      }
      const { leaf, open } = covering
      const mark = open.get(given)
      if (mark === undefined)
        throw broken(`is not covered by leaf ${leaf} of the log, behind which it stands.`)
      if (mark.hash !== hash) throw broken(`is changed since it was logged (leaf ${leaf}).`)
      open.delete(given)
      logged++
    },

    report({ table, count: said, last }: RecordsTrailer, whole: boolean) {
      close()
      if ([...tables].some((name) => name !== table)) {
        throw new Broken({}, `has lines that are not of ${table}, of which its trailer is.`)
      }
      if (said !== count)
        throw new Broken({}, `holds ${count} records; its trailer counts ${said}.`)
      if (id > last)
        throw new Broken({}, `goes beyond ${table} ${last}, where its trailer says it ends.`)
      if (whole && skipped !== null) throw skipped
      if (whole) requireExpired(missing, first, newest)
      const end = previous && { leaf: previous.leaf, recorded_at: newest }
      const removed = whole ? missing.length : 0
      return { id, logged, unlogged, removed, unlinked: whole ? unlinked : null, end }
    },
  }
}

/** The oldest may be missing, if they are older than any that must be there. */
function requireExpired(
  missing: readonly (readonly [mark: RecordMark, leaf: number])[],
  first: number,
  newest: string,
): void {
  const expired = new Date(Date.parse(newest) - KEPT_MS)
  for (const [{ table, id, recorded_at }, leaf] of missing) {
    if ((first === 0 || id < first) && Date.parse(recorded_at) < expired.getTime()) continue
    throw new Broken({ table, id }, `is missing: leaf ${leaf} of the log covers it.`)
  }
}
