import type { Query } from '../projections/projection.ts'

const UNLOGGED = {
  name: 'unlogged_seconds',
  text: `
    select coalesce(greatest(extract(epoch from clock_timestamp() - least(
      (select recorded_at from events where position > published_position order by position limit 1),
      (select recorded_at from audit_accesses where id > access_id order by id limit 1),
      (select recorded_at from security_events where id > security_event_id order by id limit 1))), 0), 0)
      ::float8 as seconds
    from log_checkpoint`,
}

/** Age of the first event, access or security event that no published checkpoint covers; 0 if there is none. */
export async function unloggedSeconds(query: Query): Promise<number> {
  const [row] = await query<{ seconds: number }>(UNLOGGED, [])
  return row?.seconds ?? 0
}
