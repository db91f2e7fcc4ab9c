import { LRUCache } from 'lru-cache'
import type { AuditQuery, AuditTrail } from '../../../app/ports/audit.ts'
import type { Log } from '../../../app/ports/process.ts'
import type { KeysToRead } from '../../encryption/user-keys.ts'
import type { Database } from '../connection/database.ts'
import { type Measured, unmeasured, withinBytes } from '../event-store/within-bytes.ts'
import { type AuditBounds, auditBounds } from './audit-bounds.ts'
import { auditQuery } from './audit-query.ts'
import {
  type AuditRow,
  type NoteUnreadable,
  readAuditRows,
  readStoredEvents,
  type StoredRow,
} from './audit-rows.ts'

const STORED = {
  name: 'stored_events',
  text: `
    select position, stream_id, event_id, schema_version, data, metadata,
      encode(prev_hash, 'hex') as prev_hash
    from events where position = any ($1)`,
}

const BATCH = 1_000
const BATCH_BYTES = 500_000
const PAGE_BYTES = 1_048_576

const filling = (bytes: number, order: 'position' | 'position desc') =>
  withinBytes(bytes, { measured: 'changes', order })

/** What the audit projection has, with texts in the clear. On connections that read `INDEX_ORDER_SETTINGS`. */
export function postgresAuditTrail(db: Database, keys: KeysToRead, log: Log): AuditTrail {
  const note = noteOnce(log)
  const boundsOf = auditBounds(db)

  async function* batches(query: AuditQuery, { position, above, below }: AuditBounds) {
    const end = Math.min(below ?? Number.POSITIVE_INFINITY, position + 1)
    for (let after = above; ; ) {
      const range = { above: after, below: end, descending: false, limit: BATCH }
      const { statement, values } = auditQuery(query, range, filling(BATCH_BYTES, 'position'))
      const rows = await db.query<AuditRow>(statement, values)
      const last = rows.at(-1)
      if (last === undefined) return
      after = last.position
      const positions = rows.map((row) => row.position)
      const stored = await db.query<StoredRow>(STORED, [positions])
      yield await readStoredEvents(rows, stored, keys, note)
    }
  }

  return {
    async find(query, { descending, limit, after }) {
      const { position, parked, ...bounds } = await boundsOf(query)
      const below = bounds.below ?? Number.MAX_SAFE_INTEGER
      const range = descending
        ? { above: bounds.above, below: Math.min(below, after ?? below) }
        : { above: Math.max(bounds.above, after ?? 0), below }
      const { statement, values } = auditQuery(
        query,
        { ...range, descending, limit: limit + 1 },
        filling(PAGE_BYTES, descending ? 'position desc' : 'position'),
      )
      const rows = await db.query<Measured<AuditRow>>(statement, values)
      const shown = rows.slice(0, limit).map(unmeasured)
      const isLast = (rows[0]?.found ?? 0) <= shown.length
      const next = isLast ? null : (shown.at(-1)?.position ?? null)
      return { events: await readAuditRows(shown, keys, note), next, position, parked }
    },

    async read(query) {
      const bounds = await boundsOf(query)
      const { position, parked } = bounds
      return { position, parked, batches: batches(query, bounds) }
    },
  }
}

/** Logs each unreadable text once, as far back as it remembers. */
function noteOnce(log: Log): NoteUnreadable {
  const said = new LRUCache<string, true>({ max: 10_000 })
  return ({ position, field, error: { message: err } }) => {
    if (said.has(`${position} ${field}`)) return
    said.set(`${position} ${field}`, true)
    log.error({ position, field, err }, 'a text in the audit trail cannot be read')
  }
}
