import type { Query } from './projection.ts'

/** How far a projection has got. */
export type ProjectionStatus = {
  readonly name: string
  readonly state: 'live' | 'rebuilding' | 'parked'
  /** It has processed the log up to here. */
  readonly position: number
  /** The last event's position. */
  readonly head: number
  readonly lag_positions: number
  /** Since the first event that it has not processed; 0 if it has all. */
  readonly lag_seconds: number
  readonly parked_streams: number
  /** The first 100 of them. */
  readonly parked: readonly ParkedStreamStatus[]
}

export type ParkedStreamStatus = {
  readonly stream_id: string
  /** Of the event at which it is parked; if parked by hand, how far the projection had got. */
  readonly position: number
  readonly version: number
  readonly error: string
  readonly parked_at: string
}

const SHOWN = 100

const STATUS = {
  name: 'projection_status',
  text: `
    select name, state, p.position, greatest(head, p.position) as head,
      greatest(head - p.position, 0) as lag_positions,
      coalesce(greatest(extract(epoch from clock_timestamp() - (
        select recorded_at from events e where e.position > p.position
        order by e.position limit 1)), 0), 0)::float8 as lag_seconds,
      (select count(*) from parked_streams where projection = name) as parked_streams,
      coalesce((
        select jsonb_agg(jsonb_build_object('stream_id', stream_id, 'position', position,
          'version', version, 'error', error, 'parked_at', to_char(parked_at,
          'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')) order by position)
        from (select * from parked_streams where projection = name order by position limit ${SHOWN})
          shown), '[]') as parked
    from projections p, coalesce((select max(position) from events), 0) head
    order by name`,
}

/** Every projection's, by name. */
export const projectionStatus = (query: Query): Promise<readonly ProjectionStatus[]> =>
  query<ProjectionStatus>(STATUS, [])
