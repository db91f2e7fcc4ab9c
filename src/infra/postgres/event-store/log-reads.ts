import type { EventStore, Recorded } from '../../../app/ports/event-store.ts'
import type { Database } from '../connection/database.ts'
import { bisect, OUT_OF_ORDER } from './by-time.ts'
import { EVENT_COLUMNS as COLUMNS, SUMMARY_COLUMNS } from './event-columns.ts'
import { safePosition } from './safe-position.ts'

const READ_ALL = {
  name: 'read_all',
  text: `
    select ${COLUMNS} from events
    where position > $1 and position <= $2 order by position limit $3`,
}

const SUMMARIES_OF_ACTOR = {
  name: 'summaries_of_actor',
  text: `
    select ${SUMMARY_COLUMNS} from events
    where actor_id = $1 and position > $2 and position <= $3 and stream_id like 'task-%'
    order by position limit $4`,
}

const READ_AT = {
  name: 'read_at',
  text: `select ${COLUMNS} from events where position = any ($1) order by position`,
}

// Backwards from a little after the time: it reads few events, whether the time is old or new.
const POSITION_AT = {
  name: 'position_at',
  text: `
    select position from events
    where actor_id = $1 and recorded_at <= $2
      and position < ${bisect('high', {
        rows: 'events where actor_id = $1',
        end: '(select coalesce(max(position), 0) + 1 from events where actor_id = $1)',
        time: `$2::timestamptz + ${OUT_OF_ORDER}`,
      })}
    order by position desc limit 1`,
}

const LAST_POSITION = { name: 'last_position', text: 'select last_position() as position' }

const NOW = {
  name: 'now',
  text: `
    select greatest(date_trunc('milliseconds', clock_timestamp()), (
      select recorded_at from events order by position desc limit 1)) as now`,
}

type LogReads<Event, Row> = Pick<
  EventStore<Event, Row>,
  'end' | 'last' | 'now' | 'readAll' | 'summariesOfActor' | 'readAt' | 'positionAt'
>

/**
 * What the event store reads of the whole log. What only a primary knows, such as what is still being written, is
 * asked of `primary`.
 */
export function logReads<Event, Row>(log: Database, primary = log): LogReads<Event, Row> {
  const end = () => safePosition(primary.query)

  return {
    end,
    async last() {
      const [row] = await primary.query<{ position: number }>(LAST_POSITION, [])
      return row?.position ?? 0
    },
    now: async () => {
      const [row] = await primary.query<{ now: string }>(NOW, [])
      return row?.now ?? ''
    },
    readAll: async (after, limit) =>
      log.query<Recorded<Event>>(READ_ALL, [after, await end(), limit]),
    summariesOfActor: async (actor_id, after, limit, until) =>
      log.query<Recorded<Event>>(SUMMARIES_OF_ACTOR, [
        actor_id,
        after,
        until ?? (await end()),
        limit,
      ]),
    readAt: (positions) => log.query<Recorded<Event>>(READ_AT, [positions]),
    async positionAt(actor_id, time) {
      const [found] = await log.query<{ position: number }>(POSITION_AT, [actor_id, time])
      return found?.position ?? 0
    },
  }
}
