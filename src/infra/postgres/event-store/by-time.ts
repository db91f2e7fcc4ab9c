// Times of events rise with their positions, except for events recorded at the same moment or after a clock
// was set back. None is out of order by more than this.
export const OUT_OF_ORDER = "interval '10 seconds'"

/** Rows with `position` and `recorded_at`, by an index on the position. */
export type ByTime = {
  /** The rows after `from`, with all conditions but those on the position. */
  readonly rows: string
  /** The first position that is not searched. */
  readonly end: string
  /** An SQL expression, like all of these. */
  readonly time: string
}

/** `low`: the last position with a time before `time`; `high`: where times from `time` on begin. */
export const bisect = (column: 'low' | 'high', { rows, end, time }: ByTime): string => `(
  with recursive search (low, high) as (
    select 0::bigint, ${end}
    union all
    select case when e.recorded_at < ${time} then e.position else low end,
      case when e.recorded_at < ${time} then high else middle end
    from search
      cross join lateral (select (low + high) / 2 as middle) halves
      left join lateral (
        select position, recorded_at from ${rows}
          and position >= middle and position < high order by position limit 1) e on true
    where high - low > 1
  )
  select ${column} from search order by high - low limit 1)`
