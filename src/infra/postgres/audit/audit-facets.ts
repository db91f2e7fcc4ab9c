import { LRUCache } from 'lru-cache'
import type { AuditCount, AuditFacets, AuditQuery } from '../../../app/ports/audit.ts'
import type { Database } from '../connection/database.ts'
import { auditBounds } from './audit-bounds.ts'
import { auditCounts } from './audit-query.ts'

/** Positions that one statement counts: a fraction of a second. */
const AT_ONCE = 250_000
/** In all that is kept; each takes about 100 bytes. */
const MOST_COUNTS = 100_000
/** Beside its counts, in counts. */
const OVERHEAD = 10

/** What was counted up to a position; `parked`: whose events below it may still be added. */
type Counted = {
  readonly position: number
  readonly parked: string
  readonly counts: ReadonlyMap<string, AuditCount>
}

/**
 * Events do not change, so neither does what was counted up to a position: it is kept, and only what has come since is
 * counted. Once a parked stream is resumed, all is counted again.
 */
export function postgresAuditFacets(db: Database, atOnce = AT_ONCE): AuditFacets {
  const boundsOf = auditBounds(db)
  const kept = new LRUCache<string, Counted>({
    maxSize: MOST_COUNTS,
    sizeCalculation: ({ counts }) => counts.size + OVERHEAD,
  })
  const running = new Map<string, ReturnType<AuditFacets>>()

  async function count(query: AuditQuery, name: string): ReturnType<AuditFacets> {
    const { position, parked, above, below } = await boundsOf(query)
    const known = kept.get(name)
    const isValid = known?.parked === JSON.stringify(parked)
    const counts = new Map(isValid ? known.counts : [])
    const end = Math.min(position, (below ?? Number.POSITIVE_INFINITY) - 1)
    let at = isValid ? known.position : above
    while (at < end) {
      const next = Math.min(at + atOnce, end)
      const { statement, values } = auditCounts(query, { above: at, below: next + 1 })
      for (const each of await db.query<AuditCount>(statement, values)) add(counts, each)
      at = next
      kept.set(name, { position: at, parked: JSON.stringify(parked), counts: new Map(counts) })
    }
    // A replica may be behind the one that was asked before.
    const reached = isValid ? Math.max(position, known.position) : position
    return { counts: [...counts.values()], position: reached, parked }
  }

  return (query) => {
    const name = JSON.stringify(query)
    const shared = running.get(name)
    if (shared !== undefined) return shared
    const counting = count(query, name).finally(() => running.delete(name))
    running.set(name, counting)
    return counting
  }
}

function add(counts: Map<string, AuditCount>, { type, day, events }: AuditCount): void {
  const name = `${type} ${day}`
  counts.set(name, { type, day, events: events + (counts.get(name)?.events ?? 0) })
}
