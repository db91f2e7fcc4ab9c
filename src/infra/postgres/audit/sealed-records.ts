import { Broken } from '../../../verifier/failures.ts'
import {
  RECORDS,
  type RecordEnds,
  type RecordMark,
  type RecordTable,
  readRecordMarks,
  recordsDigest,
} from '../../../verifier/records.ts'
import type { Query } from '../projections/projection.ts'
import { recordsAfter } from './exact-rows.ts'

export const NO_RECORDS: RecordEnds = { audit_accesses: 0, security_events: 0 }

const LIMIT = 5_000
const SEALS_A_PAGE = 10
/** The database prevents the removal of younger rows: db/migrations/…_access_retention.ts. */
const KEPT_DAYS = 30

const SETTLED = { name: 'settled_id', text: 'select settled_id($1::regclass) as id' }

/** The rows after these ends, as far as no other row can appear among them any more; a few thousand at most. */
export async function recordsToSeal(
  query: Query,
  after: RecordEnds,
): Promise<{ readonly ends: RecordEnds; readonly records: readonly RecordMark[] }> {
  const records: RecordMark[] = []
  const ends = { ...NO_RECORDS }
  for (const table of RECORDS) {
    const [settled] = await query<{ id: number | null }>(SETTLED, [table])
    const rows = await recordsAfter(query, table, after[table], settled?.id ?? 0, LIMIT)
    ends[table] = rows.at(-1)?.id ?? after[table]
    records.push(...rows)
  }
  return { ends, records }
}

// ---------------------------------------------------------------------------------- verification

export type RecordsReport = Readonly<
  Record<
    RecordTable,
    { readonly sealed: number; readonly unsealed: number; readonly removed: number }
  >
>

const READ_SEALS = {
  name: 'read_seals_of_records',
  text: `
    select number, access_id as audit_accesses, security_event_id as security_events,
      records_marks as marks, encode(records_digest, 'hex') as digest
    from seals where number > $1 order by number limit ${SEALS_A_PAGE}`,
}
const countAfter = (table: RecordTable) => ({
  name: `count_${table}`,
  text: `select count(*) as rows, count(*) filter (where id > $1) as unsealed from ${table}`,
})

type RecordSeal = RecordEnds & {
  readonly number: number
  readonly marks: Buffer
  readonly digest: string
}

/**
 * Compares accesses and security events with the seals, whose signatures have been checked. Error: `Broken`, at
 * the first row that is not as it was. One may be missing if it is old enough to be removed and all
 * before it are missing too.
 */
export async function verifyRecords(query: Query, now = new Date()): Promise<RecordsReport> {
  const expired = new Date(now.getTime() - KEPT_DAYS * 86_400_000).toISOString()
  const found = {
    audit_accesses: { sealed: 0, unsealed: 0, removed: 0 },
    security_events: { sealed: 0, unsealed: 0, removed: 0 },
  }
  let ends: RecordEnds = NO_RECORDS
  for await (const seal of sealsOf(query)) {
    const marks = marksOf(seal)
    for (const table of RECORDS) {
      const after = ends[table] === 0 ? Number.MIN_SAFE_INTEGER : ends[table]
      const limit = marks.length + 1
      const rows = await recordsAfter(query, table, after, seal[table], limit)
      const wanted = marks.filter((mark) => mark.table === table)
      const mayGo = (mark: RecordMark) => found[table].sealed === 0 && mark.recorded_at < expired
      for (const missing of compare(
        seal.number,
        wanted,
        rows,
        mayGo,
        () => found[table].sealed++,
      )) {
        found[missing.table].removed++
      }
    }
    ends = seal
  }
  for (const table of RECORDS) {
    const [counted] = await query<{ rows: number; unsealed: number }>(countAfter(table), [
      ends[table],
    ])
    found[table].unsealed = counted?.unsealed ?? 0
    const lost = (counted?.rows ?? 0) - found[table].unsealed - found[table].sealed
    if (lost !== 0) throw new Broken({ table }, `has rows that cannot be read in order: ${lost}.`)
  }
  return found
}

async function* sealsOf(query: Query): AsyncGenerator<RecordSeal> {
  for (let after = 0; ; ) {
    const seals = await query<RecordSeal>(READ_SEALS, [after])
    yield* seals
    const last = seals.at(-1)
    if (last === undefined) return
    after = last.number
  }
}

function marksOf({ number, marks, digest, audit_accesses, security_events }: RecordSeal) {
  const read = readRecordMarks(marks)
  const made = recordsDigest({ audit_accesses, security_events }, marks).toString('hex')
  if (read === null || made !== digest) {
    throw new Broken(
      { seal: number },
      'is changed: what it covers of accesses and security events.',
    )
  }
  return read
}

/** Compares marks and rows of a table, both ordered by id. Returns the marks of rows that are rightly missing. */
function* compare(
  seal: number,
  marks: readonly RecordMark[],
  rows: readonly RecordMark[],
  mayGo: (mark: RecordMark) => boolean,
  onFound: () => void,
): Generator<RecordMark> {
  const broken = ({ table, id }: RecordMark, why: string) => new Broken({ table, id }, why)
  let next = 0
  for (const mark of marks) {
    const row = rows[next]
    if (row !== undefined && row.id < mark.id) break
    if (row === undefined || row.id > mark.id) {
      if (!mayGo(mark)) throw broken(mark, `is missing: seal ${seal} covers it.`)
      yield mark
      continue
    }
    if (row.hash !== mark.hash) throw broken(row, `is changed since seal ${seal} was made.`)
    onFound()
    next++
  }
  const extra = rows[next]
  if (extra !== undefined) throw broken(extra, `was not there when seal ${seal} was made.`)
}
