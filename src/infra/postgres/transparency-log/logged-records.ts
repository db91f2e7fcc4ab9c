import { Broken } from '../../../verifier/failures.ts'
import {
  isSamePrevious,
  type Marks,
  type PreviousRecords,
  RECORDS,
  type RecordEnds,
  type RecordMark,
  type RecordTable,
  readMarks,
  recordsDigest,
} from '../../../verifier/records.ts'
import type { Query } from '../projections/projection.ts'
import { recordsAfter } from './exact-rows.ts'

export const NO_RECORDS: RecordEnds = { audit_accesses: 0, security_events: 0 }

/** Of each table, in one leaf. */
export const MOST_ROWS = 5_000
const LEAVES_A_PAGE = 10
/** The database prevents the removal of younger rows: db/migrations/…_access_retention.ts. */
const KEPT_DAYS = 30

const SETTLED = {
  name: 'settled_ids',
  text: `
    select settled_id('audit_accesses') as audit_accesses, settled_id('security_events') as security_events`,
}

/** The rows after these ends, as far as no other row can appear among them any more; a few thousand at most. */
export async function recordsToLog(
  query: Query,
  after: RecordEnds,
): Promise<{ readonly ends: RecordEnds; readonly records: readonly RecordMark[] }> {
  const records: RecordMark[] = []
  const ends = { ...NO_RECORDS }
  const [settled] = await query<Record<RecordTable, number | null>>(SETTLED, [])
  for (const table of RECORDS) {
    const upTo = settled?.[table] ?? 0
    const isNew = upTo > after[table]
    const rows = isNew ? await recordsAfter(query, table, after[table], upTo, MOST_ROWS) : []
    ends[table] = rows.at(-1)?.id ?? after[table]
    records.push(...rows)
  }
  return { ends, records }
}

// ---------------------------------------------------------------------------------- verification

export type RecordsReport = Readonly<
  Record<
    RecordTable,
    { readonly logged: number; readonly unlogged: number; readonly removed: number }
  >
>

const READ_RECORDS = {
  name: 'read_records_leaves',
  text: `
    select leaf, access_id as audit_accesses, security_event_id as security_events, marks,
      encode(digest, 'hex') as digest
    from log_records where leaf > $1 order by leaf limit ${LEAVES_A_PAGE}`,
}
const BEFORE = {
  name: 'records_before',
  text: `
    select access_id as audit_accesses, security_event_id as security_events, leaf,
      encode(digest, 'hex') as digest
    from log_records where leaf < $1 order by leaf desc limit 1`,
}
const countAfter = (table: RecordTable) => ({
  name: `count_${table}`,
  text: `select count(*) as rows, count(*) filter (where id > $1) as unlogged from ${table}`,
})

type RecordsLeaf = RecordEnds & {
  readonly leaf: number
  readonly marks: Buffer
  readonly digest: string
}

/**
 * Compares accesses and security events with the leaves from `from` on, which are known to be right. Error:
 * `Broken`, at the first row that is not as it was. One may be missing if it is old enough to be removed and all
 * before it are missing too.
 */
export async function verifyRecords(
  query: Query,
  from = 0,
  now = new Date(),
): Promise<RecordsReport> {
  const expired = new Date(now.getTime() - KEPT_DAYS * 86_400_000).toISOString()
  const found = {
    audit_accesses: { logged: 0, unlogged: 0, removed: 0 },
    security_events: { logged: 0, unlogged: 0, removed: 0 },
  }
  const [before] = await query<RecordEnds & NonNullable<PreviousRecords>>(BEFORE, [from])
  const begin: RecordEnds = before ?? NO_RECORDS
  let [ends, previous]: [RecordEnds, PreviousRecords] = [begin, before ?? null]
  for await (const leaf of leavesOf(query, from)) {
    const { records: marks, previous: named } = marksOf(leaf)
    if (named !== undefined && !isSamePrevious(named, previous)) {
      throw new Broken({ leaf: leaf.leaf }, 'does not name the leaf of records before it.')
    }
    for (const table of RECORDS) {
      const after = ends[table] === 0 ? Number.MIN_SAFE_INTEGER : ends[table]
      const limit = marks.length + 1
      const rows = await recordsAfter(query, table, after, leaf[table], limit)
      const wanted = marks.filter((mark) => mark.table === table)
      const mayGo = (mark: RecordMark) => found[table].logged === 0 && mark.recorded_at < expired
      const onFound = () => found[table].logged++
      for (const missing of compare(leaf.leaf, wanted, rows, mayGo, onFound)) {
        found[missing.table].removed++
      }
    }
    ends = leaf
    previous = leaf
  }
  for (const table of RECORDS) {
    const [counted] = await query<{ rows: number; unlogged: number }>(countAfter(table), [
      ends[table],
    ])
    found[table].unlogged = counted?.unlogged ?? 0
    const lost = (counted?.rows ?? 0) - found[table].unlogged - found[table].logged
    // Those before the beginning are not looked at.
    if (lost !== 0 && begin === NO_RECORDS) {
      throw new Broken({ table }, `has rows that cannot be read in order: ${lost}.`)
    }
  }
  return found
}

async function* leavesOf(query: Query, from: number): AsyncGenerator<RecordsLeaf> {
  for (let after = from - 1; ; ) {
    const leaves = await query<RecordsLeaf>(READ_RECORDS, [after])
    yield* leaves
    const last = leaves.at(-1)
    if (last === undefined) return
    after = last.leaf
  }
}

function marksOf(row: RecordsLeaf): Marks {
  const { leaf, marks, digest, audit_accesses, security_events } = row
  const read = readMarks(marks)
  const made = recordsDigest({ audit_accesses, security_events }, marks).toString('hex')
  if (read === null || made !== digest) {
    throw new Broken({ leaf }, 'is changed: what it covers of accesses and security events.')
  }
  return read
}

/** Compares marks and rows of a table, both ordered by id. Returns the marks of rows that are rightly missing. */
function* compare(
  leaf: number,
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
      if (!mayGo(mark)) throw broken(mark, `is missing: leaf ${leaf} of the log covers it.`)
      yield mark
      continue
    }
    if (row.hash !== mark.hash) throw broken(row, `is changed since it was logged (leaf ${leaf}).`)
    onFound()
    next++
  }
  const extra = rows[next]
  if (extra !== undefined) throw broken(extra, `was not there when leaf ${leaf} was signed.`)
}
