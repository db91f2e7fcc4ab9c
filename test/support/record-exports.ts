import { growingTree, leafHash, type Node, nodesBetween } from '../../src/transparency-log/tree.ts'
import { recordsEntry } from '../../src/verifier/entries.ts'
import {
  hashedPart,
  type PreviousRecords,
  type RecordMark,
  type RecordTable,
  recordHash,
  recordsDigest,
  writeMarks,
} from '../../src/verifier/records.ts'
import { signed } from './exports.ts'

export type Row = { id: number; recorded_at: string; [name: string]: unknown }
type Leaf = {
  readonly entry: string
  readonly records?: { audit_accesses: number; digest: string; security_events: number }
  readonly marks?: Buffer
  readonly rows: readonly (readonly [RecordTable, Row])[]
}
export type RecordLines = { lines: Record<string, unknown>[]; trailer: Record<string, unknown> }

const DAY = 86_400_000
const BEGIN = Date.parse('2026-10-01T00:00:00.000Z')

/** A log in memory with records among its leaves, and what the services would export of it. */
export function recordsLog() {
  const leaves: Leaf[] = []
  const ends = { audit_accesses: 0, security_events: 0 }
  let previous: PreviousRecords = null
  let rows = 0

  const rowOf = (table: RecordTable, day: number): Row => {
    rows++
    const recorded_at = new Date(BEGIN + day * DAY + rows).toISOString().replace('Z', '456Z')
    ends[table] += 1 + (rows % 2)
    const who = {
      user_id: rows % 3,
      ip: '192.0.2.1',
      request_id: `r-${rows}`,
      details: { n: rows },
    }
    return { id: ends[table], type: 'login_failed', session_id: null, ...who, recorded_at }
  }
  const hashOf = ({ level, index }: Node): Buffer => {
    const tree = growingTree()
    for (const { entry } of leaves.slice(index * 2 ** level, (index + 1) * 2 ** level)) {
      tree.addLeaf(leafHash(entry))
    }
    return tree.root()
  }
  const between = (from: number, to: number) =>
    nodesBetween(from, to).map((node) => hashOf(node).toString('base64'))

  return {
    ends,
    event: () => void leaves.push({ entry: `event ${leaves.length}`, rows: [] }),
    /** A leaf of so many new rows of each table; `linked`: whether it names the one before it. */
    records(counts: Partial<Record<RecordTable, number>>, day = 0, linked = true) {
      const of = (table: RecordTable) =>
        Array.from({ length: counts[table] ?? 0 }, () => [table, rowOf(table, day)] as const)
      const own = [...of('audit_accesses'), ...of('security_events')]
      const marked = own.map(([table, row]): RecordMark => {
        const recorded_at = `${row.recorded_at.slice(0, 23)}Z`
        return { table, id: row.id, recorded_at, hash: recordHash(table, row) }
      })
      const written = writeMarks(previous, marked)
      const marks = linked ? written : written.subarray(45)
      const digest = recordsDigest({ ...ends }, marks).toString('hex')
      const records = {
        audit_accesses: ends.audit_accesses,
        digest,
        security_events: ends.security_events,
      }
      previous = { leaf: leaves.length, digest }
      leaves.push({ entry: recordsEntry(records), records, marks, rows: own })
    },
    /** Rows that no leaf covers yet. */
    unlogged: (table: RecordTable) => rowOf(table, 0),

    async export(
      table: RecordTable,
      query: Record<string, unknown> = {},
      isAsked: (row: Row) => boolean = () => true,
      unlogged: readonly Row[] = [],
    ): Promise<RecordLines> {
      const whole = Object.keys(query).length === 0
      const lines: Record<string, unknown>[] = []
      let next = 0
      for (const [leaf, { records, marks, rows }] of leaves.entries()) {
        const shown = rows.filter(([of, row]) => of === table && isAsked(row))
        if (records === undefined || (!whole && shown.length === 0)) continue
        const before = between(next, leaf)
        lines.push({ table, leaf, before, records, marks: marks?.toString('base64') })
        lines.push(...shown.map(([, row]) => ({ table, row: hashedPart(row) })))
        next = leaf + 1
      }
      lines.push(...unlogged.map((row) => ({ table, row: hashedPart(row) })))
      const size = leaves.length
      const tree = growingTree()
      for (const { entry } of leaves) tree.addLeaf(leafHash(entry))
      const checkpoint = await signed({ size, root: tree.root() })
      const trailer = {
        table,
        count: lines.filter((line) => 'row' in line).length,
        last: ends[table],
        exported_at: '2026-11-24T12:00:00.000Z',
        exported_by: 1,
        query,
        log: { checkpoint, after: between(next, size) },
      }
      return structuredClone({ lines, trailer })
    },
  }
}

export const recordsText = ({ lines, trailer }: RecordLines): string =>
  [...lines, { trailer }].map((line) => `${JSON.stringify(line)}\n`).join('')
