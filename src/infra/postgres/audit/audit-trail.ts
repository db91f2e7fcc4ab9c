import { LRUCache } from 'lru-cache'
import type { AuditQuery, AuditTrail, ParkedStream } from '../../../app/ports/audit.ts'
import type { Log } from '../../../app/ports/process.ts'
import type { KeysToRead } from '../../encryption/user-keys.ts'
import type { Database } from '../connection/database.ts'
import { bisect, OUT_OF_ORDER } from '../event-store/by-time.ts'
import { type Measured, unmeasured, withinBytes } from '../event-store/within-bytes.ts'
import { auditQuery } from './audit-query.ts'
import {
  type AuditRow,
  type NoteUnreadable,
  readAuditRows,
  readStoredEvents,
  type StoredRow,
} from './audit-rows.ts'

const OF_AUDIT = {
  rows: 'audit_events where true',
  end: '(select coalesce(max(position), 0) + 1 from audit_events)',
}

// Only those that have already lost an event. One `lateral` probe each, whatever the planner believes of a
// table that is nearly always empty. A stream may be parked because its id has an unknown form.
const PARKED = `(
  select coalesce(jsonb_agg(jsonb_build_array(s.stream_id, s.version)), '[]')
  from parked_streams s
    cross join lateral (
      select from events e where e.stream_id = s.stream_id and e.version = s.version
        and e.position <= projections.position
        and ($2::timestamptz is null or e.recorded_at < $2::timestamptz + ${OUT_OF_ORDER})
      limit 1) missing
  where s.projection = 'audit'
    and ($3::bigint is null or $3 = case
      when s.stream_id ~ '^user-[0-9]{1,18}$' then substr(s.stream_id, 6)::bigint
      when s.stream_id ~ '^task-[0-9]{1,18}$'
        then (select user_id from tasks where id = substr(s.stream_id, 6)::bigint) end)
    and ($4::bigint is null or s.stream_id = 'task-' || $4))`

// In one snapshot: everything up to \`position\` is visible to a statement that begins later.
const BOUNDS = {
  name: 'audit_bounds',
  text: `
    select position, ${PARKED} as parked,
      case when $1::timestamptz is null then 0
        else ${bisect('low', { ...OF_AUDIT, time: `$1::timestamptz - ${OUT_OF_ORDER}` })} end as above,
      case when $2::timestamptz is not null
        then ${bisect('high', { ...OF_AUDIT, time: `$2::timestamptz + ${OUT_OF_ORDER}` })} end as below
    from projections where name = 'audit'`,
}

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

type Bounds = {
  readonly position: number
  readonly parked: readonly ParkedStream[]
  readonly above: number
  readonly below: number | null
}

/** What the audit projection has, with texts in the clear. On connections that read `INDEX_ORDER_SETTINGS`. */
export function postgresAuditTrail(db: Database, keys: KeysToRead, log: Log): AuditTrail {
  const note = noteOnce(log)
  const boundsOf = async ({ from, to, user_id, task_id }: AuditQuery): Promise<Bounds> => {
    const values = [from ?? null, to ?? null, user_id, task_id ?? null]
    const [bounds] = await db.query<Bounds>(BOUNDS, values)
    return bounds ?? { position: 0, parked: [], above: 0, below: null }
  }

  async function* batches(query: AuditQuery, { position, above, below }: Bounds) {
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
