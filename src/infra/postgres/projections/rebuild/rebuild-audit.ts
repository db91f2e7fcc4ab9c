import { auditProjection } from '../../audit/audit-projection.ts'
import type { TimedEvent } from '../../tasks/task-rows-projection.ts'
import type { Drift } from '../drift/drift.ts'
import { LEFT_AT_MOST, note, type Plan, READ, type Run, restAfter, take } from './rebuild-run.ts'

const COMPARED_AT_ONCE = 5_000

const LIVE_POSITION = {
  name: 'live_position',
  text: `select position from projections where name = 'audit'`,
}
/** From here on the worker's batches wait. */
const HOLD_LIVE_POSITION = { name: 'hold_position', text: `${LIVE_POSITION.text} for update` }
const UNEQUAL_EVENTS = {
  name: 'unequal_events',
  text: `
    select position, coalesce(l.version, s.version) as version,
      coalesce('task-' || coalesce(l.task_id, s.task_id),
        'user-' || coalesce(l.user_id, s.user_id)) as stream_id,
      case when l.version is null then 'missing' when s.version is null then 'extra'
        else 'different' end as kind
    from (select * from audit_events where position > $1 and position <= $2) l
      full join (select * from audit_events_rebuild where position > $1 and position <= $2) s
        using (position)
    where l is distinct from s and not exists (
      select from parked_streams where projection in ('audit', 'audit_rebuild')
        and stream_id = coalesce('task-' || coalesce(l.task_id, s.task_id),
          'user-' || coalesce(l.user_id, s.user_id)))
    order by position`,
}
// Both tables are at the same position now.
const UNEQUAL_USAGE = {
  name: 'unequal_usage',
  text: `
    select 'user-' || user_id as stream_id, 'different' as kind, 'usage' as version
    from user_usage l full join user_usage_rebuild s using (user_id)
    where l is distinct from s
      and not exists (select from parked_streams where projection in ('audit', 'audit_rebuild'))
    order by user_id`,
}
// The worker sees that the row has changed, and starts again from it.
const TAKE_OVER = {
  name: 'take_over',
  text: `
    update projections set position = greatest(position, $1), updated_at = clock_timestamp()
    where name = 'audit'`,
}
const UNPARK = { name: 'unpark_all', text: `delete from parked_streams where projection = 'audit'` }
const KEEP_PARKED = {
  name: 'keep_parked',
  text: `update parked_streams set projection = 'audit' where projection = 'audit_rebuild'`,
}

/** The worker updates it from the log: the rebuild ends at its checkpoint. */
export function auditPlan(): Plan {
  const tables = {
    events: 'audit_events_rebuild',
    facts: 'audit_facts_rebuild',
    usage: 'user_usage_rebuild',
  }
  const projection = auditProjection(tables)
  let compared = Number.MIN_SAFE_INTEGER
  const compare = async (run: Run, upTo: number) => {
    while (compared < Math.min(upTo, run.position)) {
      const began = performance.now()
      const end = Math.min(Math.max(compared, 0) + COMPARED_AT_ONCE, upTo, run.position)
      const rows = await run.query<UnequalEvent>(UNEQUAL_EVENTS, [compared, end])
      note(run, rows.map(driftOf))
      compared = end
      await restAfter(run, began)
    }
  }
  return {
    tables: ['audit_events', 'audit_facts', 'user_usage'],
    // Each batch by itself: what a projection keeps in memory would survive a failed batch.
    project: (events, read) => projection.begin(read).project(events),
    parks: true,

    async compare(run) {
      const [live] = await run.query<{ position: number }>(LIVE_POSITION, [])
      await compare(run, live?.position ?? 0)
    },

    async finish(run, lock) {
      await run.sql.query('set local lock_timeout = 1000')
      const [live] = await run.query<{ position: number }>(HOLD_LIVE_POSITION, [])
      if (live === undefined) throw new Error('There is no projection audit in the database.')
      if (live.position > run.position) {
        const values = [run.position, live.position, LEFT_AT_MOST + 1]
        const events = await run.query<TimedEvent>(READ, values)
        if (events.length > LEFT_AT_MOST) return false
        await take(run, events, live.position)
      }
      await compare(run, live.position)
      // Nobody writes now: rows beyond the log belong to no event.
      const beyond = await run.query<UnequalEvent>(UNEQUAL_EVENTS, [
        run.position,
        Number.MAX_SAFE_INTEGER,
      ])
      note(run, beyond.map(driftOf))
      if (live.position === run.position) {
        const usage = await run.query<UnequalEvent>(UNEQUAL_USAGE, [])
        note(run, usage.map(driftOf))
      }
      await lock()
      await run.query(TAKE_OVER, [run.position])
      await run.query(UNPARK, [])
      await run.query(KEEP_PARKED, [])
      return true
    },
  }
}

type UnequalEvent = Pick<Drift, 'kind' | 'stream_id'> & { readonly version: number | 'usage' }

const driftOf = ({ kind, stream_id, version }: UnequalEvent): Drift => ({
  projection: 'audit',
  stream_id,
  kind,
  fields: [String(version)],
})
