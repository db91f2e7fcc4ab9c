import { AppError } from '../../../../app/errors.ts'
import type { Log } from '../../../../app/ports/process.ts'
import { taskStreamId } from '../../../../domain/task/view.ts'
import { type Drift, type DriftPorts, driftOfAudit, driftOfTasks } from './drift.ts'

export type DriftCheckOptions = DriftPorts & {
  readonly log: Log
  readonly tasksARound?: number
  /** Of event data. The tasks with the most are left out when there is more. */
  readonly bytesARound?: number
  readonly onChecked?: (tasks: number) => void
  readonly onDrift?: (drift: Drift) => void
}

export type DriftCheck = {
  /** Checks some tasks; which, moves on from call to call. Error: `database_unavailable`. */
  readonly round: () => Promise<readonly Drift[]>
}

// A task with more events than that would cost more than all others of a round.
const EVENTS_AT_MOST = 2_000
/** Of the log, searched for first events in one round. */
const SPAN = 1_000

// Each as [id, place to go on from]. What has just been written; then, round and round, the streams
// (a row may be missing) and the rows (an event may).
const NEWEST = {
  name: 'newest_tasks',
  text: `
    select substr(stream_id, 6)::bigint as id, max(position) as place from (
      select stream_id, position from events
      where position > $1 and stream_id like 'task-%' order by position desc limit $2) e
    group by stream_id`,
}
const STREAMS = {
  name: 'next_streams',
  text: `
    select substr(stream_id, 6)::bigint as id, position as place from events
    where position > $1 and position <= $1 + ${SPAN} and version = 1 and stream_id like 'task-%'
    order by position limit $2`,
}
const ROWS = {
  name: 'next_rows',
  text: 'select id, id as place from tasks where id > $1 order by id limit $2',
}
const TOO_MUCH = {
  name: 'too_much_for_a_round',
  text: `
    select substr(stream_id, 6)::bigint as id from (
      select stream_id, version, sum(bytes) over (order by bytes, stream_id) as total
      from streams s
        cross join lateral (
          select sum(pg_column_size(data)) as bytes from events e
          where e.stream_id = s.stream_id and s.version <= ${EVENTS_AT_MOST}) sized
      where stream_id = any ($1)) measured
    where version > ${EVENTS_AT_MOST} or total > $2`,
}
const END = { name: 'end_of_log', text: 'select max(position) as position from events' }

/** Compares tasks with the log all the time, as a small and steady load. */
export function driftCheck(options: DriftCheckOptions): DriftCheck {
  const { db, log, tasksARound = 20, bytesARound = 8_000_000, onChecked, onDrift } = options
  const share = Math.max(1, Math.floor(tasksARound / 3))
  const place = { newest: 0, streams: 0, rows: 0 }

  const after = async (statement: typeof ROWS, from: number) => {
    const rows = await db.query<{ id: number; place: number }>(statement, [from, share])
    return {
      ids: rows.map(({ id }) => id),
      last: Math.max(from, ...rows.map(({ place }) => place)),
    }
  }
  const pick = async (): Promise<readonly number[]> => {
    const newest = await after(NEWEST, place.newest)
    const streams = await after(STREAMS, place.streams)
    const rows = await after(ROWS, place.rows)
    const [end] = await db.query<{ position: number | null }>(END, [])
    const next = streams.ids.length < share ? place.streams + SPAN : streams.last
    place.newest = newest.last
    place.streams = next >= (end?.position ?? 0) ? 0 : next
    place.rows = rows.ids.length < share ? 0 : rows.last
    const ids = [...new Set([...newest.ids, ...streams.ids, ...rows.ids])]
    const skipped = await db.query<{ id: number }>(TOO_MUCH, [ids.map(taskStreamId), bytesARound])
    const tooMuch = new Set(skipped.map(({ id }) => id))
    return ids.filter((id) => !tooMuch.has(id))
  }

  const check = async (ids: readonly number[]) => [
    ...(await driftOfTasks(options, ids)),
    ...(await driftOfAudit(options, ids)),
  ]
  /** A task whose events cannot be folded does not hide what is wrong with the others. */
  const oneByOne = async (ids: readonly number[]) => {
    const drifts: Drift[] = []
    for (const id of ids) {
      try {
        drifts.push(...(await check([id])))
      } catch (error) {
        if (error instanceof AppError) throw error
        const { message } = error as Error
        log.error({ stream_id: taskStreamId(id), err: message }, 'cannot check a task for drift')
      }
    }
    return drifts
  }

  const round = async () => {
    const ids = await pick()
    const drifts = await check(ids).catch(() => oneByOne(ids))
    onChecked?.(ids.length)
    for (const drift of drifts) {
      log.error(drift, 'drift found')
      onDrift?.(drift)
    }
    return drifts
  }

  return { round }
}
