import type { AuditQuery, AuditTrail, ExportedEvent, ParkedStream } from './ports/audit.ts'
import type {
  LoggedRecords,
  PublishedCheckpoint,
  TransparencyLog,
} from './ports/transparency-log.ts'

/** Where in the log what is shown is. */
export type Proven = {
  /** Null: the checkpoint does not cover it yet. */
  readonly leaf: number | null
  /** Hashes of the complete subtrees between the leaf that is shown before this one, and this one. */
  readonly before: readonly Buffer[]
}

export type ExportLine = Proven & (ExportedEvent | { readonly records: LoggedRecords })

export type AuditExport = {
  /** How far the audit trail had got: later events are not in the export. */
  readonly position: number
  /** Streams that may lack earlier events too. */
  readonly parked: readonly ParkedStream[]
  /** Null: nothing of the log has been published yet. */
  readonly checkpoint: PublishedCheckpoint | null
  /** One of both is to be read: the events alone, or with their places in the log. */
  readonly batches: AsyncIterable<readonly ExportedEvent[]>
  /** In an export without filters also each leaf that covers accesses and security events. */
  readonly lines: AsyncIterable<readonly ExportLine[]>
  /** Tells whether all of them were read; to be read after them. */
  readonly trailer: AuditTrailer
}

export type AuditTrailer = {
  readonly count: () => number
  /** Hashes of the complete subtrees between the last leaf that is shown and the end of the tree. */
  readonly after: () => Promise<readonly Buffer[]>
}

export type ExportAudit = (query: AuditQuery) => Promise<AuditExport>

/** How long an export waits for a checkpoint that covers all of it. */
export const CHECKPOINT_MS = 2_000
const AGAIN_MS = 20

/**
 * Copies the query's results from the audit trail, with hashes of what lies between them in the log: whoever reads
 * the leaves from top to bottom gets the root of the checkpoint's tree.
 */
export const exportAudit =
  (trail: AuditTrail, log: TransparencyLog): ExportAudit =>
  async (query) => {
    let count = 0
    const { position, parked, batches, checkpoint } = await readTogether(trail, log, query)
    async function* counted() {
      for await (const batch of batches) {
        count += batch.length
        yield batch
      }
    }
    const size = checkpoint?.size ?? 0
    const gaps = gapsOf(log)
    return {
      position,
      parked,
      checkpoint,
      batches: counted(),
      lines: gaps.filled(linesOf(log, counted(), size, isWhole(query))),
      trailer: {
        count: () => count,
        after: () => gaps.after(size),
      },
    }
  }

/**
 * The trail and a checkpoint of the log that covers it. The log may be ahead of the trail, and whoever shows all events
 * has to show each leaf: then the trail is read again, until it is where the checkpoint is.
 */
async function readTogether(trail: AuditTrail, log: TransparencyLog, query: AuditQuery) {
  const first = await trail.read(query)
  const checkpoint = await log.checkpointAt(first.position, CHECKPOINT_MS)
  const deadline = performance.now() + CHECKPOINT_MS
  let read = first
  while (checkpoint !== null && read.position < checkpoint.position) {
    if (performance.now() >= deadline) break
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS))
    read = await trail.read(query)
  }
  return { ...read, checkpoint }
}

export const isWhole = (query: object): boolean =>
  Object.values(query).every((condition) => condition === null || condition === undefined)

type Place = Pick<Proven, 'leaf'>
export type Placed<T> = T & Place
type Records = { readonly records: LoggedRecords }

/** The events with their leaves, and in a whole export what else is a leaf, all in the order of the leaves. */
async function* linesOf(
  log: TransparencyLog,
  batches: AsyncIterable<readonly ExportedEvent[]>,
  size: number,
  isWhole: boolean,
): AsyncGenerator<readonly Placed<ExportedEvent | Records>[]> {
  let next = 0
  for await (const batch of batches) {
    const leaves = await log.leavesOf(
      batch.map(({ event }) => event.position),
      size,
    )
    const placed = batch.map((event, at) => ({ ...event, leaf: leaves[at] ?? null }))
    const end = leaves.findLast((leaf) => leaf !== null) ?? next - 1
    if (isWhole) yield* withRecords(log, next, end + 1, placed)
    else yield placed
    next = end + 1
  }
  if (isWhole) yield* withRecords(log, next, size, [])
}

/** `events`: those among the leaves from..to-1, and behind them those that are no leaves yet. */
async function* withRecords(
  log: TransparencyLog,
  from: number,
  to: number,
  events: readonly Placed<ExportedEvent>[],
): AsyncGenerator<readonly Placed<ExportedEvent | Records>[]> {
  let rest = events
  for (let next = from; ; ) {
    const page = await log.recordsIn([next, to])
    const last = page.at(-1)?.leaf
    if (last === undefined) break
    const isBehind = ({ leaf }: Place) => leaf === null || leaf > last
    const found = rest.findIndex(isBehind)
    const end = found === -1 ? rest.length : found
    yield [...rest.slice(0, end), ...page].sort((a, b) => (a.leaf ?? 0) - (b.leaf ?? 0))
    rest = rest.slice(end)
    next = last + 1
  }
  if (rest.length > 0) yield rest
}

/** What lies in the log between the leaves that are shown. */
export function gapsOf(log: TransparencyLog) {
  let next = 0
  return {
    async *filled<T>(lines: AsyncIterable<readonly Placed<T>[]>) {
      for await (const batch of lines) {
        const ranges = batch.flatMap(({ leaf }) => {
          if (leaf === null) return []
          const from = next
          next = leaf + 1
          return [[from, leaf] as const]
        })
        const hashes = (await log.hashesOf(ranges)).values()
        yield batch.map((line) => ({
          ...line,
          before: line.leaf === null ? [] : (hashes.next().value ?? []),
        }))
      }
    },
    async after(size: number) {
      const [hashes = []] = await log.hashesOf([[next, size]])
      return hashes
    },
  }
}
