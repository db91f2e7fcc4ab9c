import type { AuditQuery, ParkedStream } from '../../../app/ports/audit.ts'
import type { Database } from '../connection/database.ts'
import { bisect, OUT_OF_ORDER } from '../event-store/by-time.ts'

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

/** `above`, `below`: between which positions the times of the query lie. */
export type AuditBounds = {
  readonly position: number
  readonly parked: readonly ParkedStream[]
  readonly above: number
  readonly below: number | null
}

/** How far the trail has got, and where in it a query looks. */
export const auditBounds =
  (db: Database) =>
  async ({ from, to, user_id, task_id }: AuditQuery): Promise<AuditBounds> => {
    const values = [from ?? null, to ?? null, user_id, task_id ?? null]
    const [bounds] = await db.query<AuditBounds>(BOUNDS, values)
    return bounds ?? { position: 0, parked: [], above: 0, below: null }
  }
