import { taskStreamId } from '../domain/task/view.ts'
import { userStreamId } from '../domain/user.ts'
import type {
  AuditEvent,
  AuditQuery,
  AuditTrail,
  ExportedEvent,
  ExportedSeal,
  ParkedStream,
  StreamHead,
} from './ports/audit.ts'
import { type StreamIds, streamIds } from './stream-ids.ts'

export type AuditExport = {
  /** How far the audit trail had got: later events are not in the export. */
  readonly position: number
  /** Streams that may lack earlier events too. */
  readonly parked: readonly ParkedStream[]
  readonly batches: AsyncIterable<readonly ExportedEvent[]>
  /** Tells whether the batches are complete; to be read after them, in this order. */
  readonly trailer: AuditTrailer
}

export type AuditTrailer = {
  readonly count: () => number
  readonly heads: AsyncIterable<readonly StreamHead[]>
  /** Those that cover an exported event; in an export without filters, all. */
  readonly seals: AsyncIterable<readonly ExportedSeal[]>
}

export type ExportAudit = (query: AuditQuery) => Promise<AuditExport>

const SEALS_AT_ONCE = 100

/** Copies the query's results from the audit trail. Keeps only stream ids and seal numbers in memory. */
export const exportAudit =
  (trail: AuditTrail): ExportAudit =>
  async (query) => {
    const streams = streamIds()
    const numbers = isWhole(query) ? null : new Set<number>()
    let count = 0
    // With filters only the seals that exist now: of those made meanwhile some would be missing.
    const { position, parked, sealed, batches } = await trail.read(query)
    async function* counted() {
      for await (const batch of batches) {
        for (const { event } of batch) streams.add(streamOf(event))
        if (numbers !== null) {
          const positions = batch.map(({ event }) => event.position)
          for (const number of await trail.sealsOf(positions, sealed)) numbers.add(number)
        }
        count += batch.length
        yield batch
      }
    }
    return {
      position,
      parked,
      batches: counted(),
      trailer: {
        count: () => count,
        heads: headsOf(trail, streams, position),
        seals:
          numbers === null
            ? sealPages(trail, streams, position)
            : sealsOf(trail, streams, sealed, numbers),
      },
    }
  }

const isWhole = (query: AuditQuery): boolean =>
  Object.values(query).every((condition) => condition === null || condition === undefined)

const streamOf = ({ task_id, user_id }: AuditEvent): string =>
  task_id === null ? userStreamId(user_id) : taskStreamId(task_id)

async function* headsOf(trail: AuditTrail, streams: StreamIds, position: number) {
  for (const ids of streams.inOrder()) yield await trail.heads(ids, position)
}

async function* sealPages(
  trail: AuditTrail,
  streams: StreamIds,
  position: number,
  only: readonly number[] | null = null,
) {
  for (let after = 0; ; ) {
    const seals = await trail.seals({ after, position, only }, streams.has)
    const last = seals.at(-1)
    if (last === undefined) return
    after = last.number
    yield seals
  }
}

async function* sealsOf(
  trail: AuditTrail,
  streams: StreamIds,
  position: number,
  numbers: ReadonlySet<number>,
) {
  const sorted = [...numbers].sort((a, b) => a - b)
  for (let from = 0; from < sorted.length; from += SEALS_AT_ONCE) {
    yield* sealPages(trail, streams, position, sorted.slice(from, from + SEALS_AT_ONCE))
  }
}
