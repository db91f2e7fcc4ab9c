import {
  type AuditTrailer,
  CHECKPOINT_MS,
  gapsOf,
  isWhole,
  type Placed,
  type Proven,
} from './audit-export.ts'
import type { AuditRecord, AuditRecords, RecordsQuery, RecordTable } from './ports/audit-records.ts'
import type {
  MarkedRecords,
  PublishedCheckpoint,
  TransparencyLog,
} from './ports/transparency-log.ts'

type Shown = MarkedRecords | { readonly leaf: null; readonly record: AuditRecord }

/** A leaf that covers records, or a record: after its leaf, or behind all leaves if the checkpoint covers it not yet. */
export type RecordsExportLine = Proven & Shown

export type RecordsExport = {
  readonly table: RecordTable
  /** Up to this id: later records are not in the export. */
  readonly last: number
  /** Null: nothing of the log has been published yet. */
  readonly checkpoint: PublishedCheckpoint | null
  /** One of both is to be read: the records alone, or with the leaves that cover them. */
  readonly batches: AsyncIterable<readonly AuditRecord[]>
  /** In an export without filters also the leaves that cover other records. */
  readonly lines: AsyncIterable<readonly RecordsExportLine[]>
  readonly trailer: AuditTrailer
}

export type ExportRecords = (table: RecordTable, query: RecordsQuery) => Promise<RecordsExport>

/** Leaves whose marks are read together: each has up to half a megabyte. */
const MARKED_AT_ONCE = 20

/** Copies the records that match the query, with what shows that the log has them. */
export const exportRecords =
  (records: AuditRecords, log: TransparencyLog): ExportRecords =>
  async (table, query) => {
    let count = 0
    const there = query.id ?? (await records.last(table))
    const checkpoint = await log.checkpointOfRecord({ table, id: there }, CHECKPOINT_MS)
    const size = checkpoint?.size ?? 0
    // A leaf is shown with all that it covers.
    const last = Math.max(there, (await log.recordsCovered(size))[table])
    async function* counted() {
      for await (const batch of records.read(table, query, last)) {
        count += batch.length
        yield batch
      }
    }
    const gaps = gapsOf(log)
    return {
      table,
      last,
      checkpoint,
      batches: counted(),
      lines: gaps.filled(linesOf(log, table, counted(), size, isWhole(query))),
      trailer: { count: () => count, after: () => gaps.after(size) },
    }
  }

/** The records behind the leaves that cover them; in a whole export with all leaves of records. */
async function* linesOf(
  log: TransparencyLog,
  table: RecordTable,
  batches: AsyncIterable<readonly AuditRecord[]>,
  size: number,
  whole: boolean,
): AsyncGenerator<readonly Placed<Shown>[]> {
  let next = 0
  for await (const batch of batches) {
    const ids = batch.map(({ id }) => id)
    const found = await log.leavesOfRecords(table, ids, size)
    const of = Map.groupBy(batch.entries(), ([at]) => found[at] ?? null)
    const recordsOf = (leaf: number | null) =>
      (of.get(leaf) ?? []).map(([, record]) => ({ leaf: null, record }))
    const covering = [...of.keys()].filter((leaf) => leaf !== null)
    // The last leaf of the batch before may cover more.
    yield covering.filter((leaf) => leaf < next).flatMap(recordsOf)
    const end = Math.max(next, ...covering.map((leaf) => leaf + 1))
    const leaves = covering.filter((leaf) => leaf >= next)
    yield* marked(log, whole ? recordsIn(log, next, end) : [leaves], recordsOf)
    yield recordsOf(null)
    next = end
  }
  if (whole) yield* marked(log, recordsIn(log, next, size), () => [])
}

async function* marked(
  log: TransparencyLog,
  pages: AsyncIterable<readonly number[]> | Iterable<readonly number[]>,
  recordsOf: (leaf: number) => readonly Placed<Shown>[],
): AsyncGenerator<readonly Placed<Shown>[]> {
  for await (const leaves of pages) {
    for (let at = 0; at < leaves.length; at += MARKED_AT_ONCE) {
      const some = await log.markedRecords(leaves.slice(at, at + MARKED_AT_ONCE))
      yield some.flatMap((leaf) => [leaf, ...recordsOf(leaf.leaf)])
    }
  }
}

/** The leaves of records in a range. */
async function* recordsIn(
  log: TransparencyLog,
  from: number,
  to: number,
): AsyncGenerator<readonly number[]> {
  for (let next = from; ; ) {
    const page = (await log.recordsIn([next, to])).map(({ leaf }) => leaf)
    const last = page.at(-1)
    if (last === undefined) return
    yield page
    next = last + 1
  }
}
