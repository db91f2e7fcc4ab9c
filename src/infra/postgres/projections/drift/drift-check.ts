import { AppError } from '../../../../app/errors.ts'
import type { Log } from '../../../../app/ports/process.ts'
import { isTaskStreamId, taskIdOf } from '../../../../domain/task/view.ts'
import type { Statement } from '../../connection/database.ts'
import { type Drift, type DriftPorts, driftOfAudit, driftOfKeys, driftOfTasks } from './drift.ts'

export type DriftCheckOptions = DriftPorts & {
  readonly log: Log
  readonly tasksARound?: number
  /** Of event data. If there is more, the tasks with the most are left out. */
  readonly bytesARound?: number
  readonly onChecked?: (tasks: number) => void
  readonly onDrift?: (drift: Drift) => void
}

type Check = (stream_ids: readonly string[]) => Promise<readonly Drift[]>

export type DriftCheck = {
  /** Checks some streams; the choice moves on from call to call. Error: `database_unavailable`. */
  readonly round: () => Promise<readonly Drift[]>
}

// A task with more events would cost more than all others of a round.
const EVENTS_AT_MOST = 2_000
/** The part of the log searched for first events in one round. */
const SPAN = 1_000

const OURS = `stream_id ~ '^(task|user)-[0-9]{1,18}$'`

// Each as [stream_id, place to continue from]. First what has just been written; then, in turn, the streams (a
// row may be missing), the rows of both tables (an event may be), and the destroyed keys.
const NEWEST = {
  name: 'newest_streams',
  text: `
    select stream_id, max(position) as place from (
      select stream_id, position from events
      where position > $1 and ${OURS} order by position desc limit $2) e
    group by stream_id`,
}
const STREAMS = {
  name: 'next_streams',
  text: `
    select stream_id, position as place from events
    where position > $1 and position <= $1 + ${SPAN} and version = 1 and ${OURS}
    order by position limit $2`,
}
const TASKS = {
  name: 'next_tasks',
  text: `select 'task-' || id as stream_id, id as place from tasks where id > $1 order by id limit $2`,
}
const AUDIT = {
  name: 'next_audit_rows',
  text: `
    select coalesce('task-' || task_id, 'user-' || user_id) as stream_id, position as place
    from audit_events where position > $1 order by position limit $2`,
}
const KEYS = {
  name: 'next_destroyed_keys',
  text: `
    select 'user-' || user_id as stream_id, user_id as place from user_keys
    where destroyed_at is not null and user_id > $1 order by user_id limit $2`,
}
const TOO_MUCH = {
  name: 'too_much_for_a_round',
  text: `
    select stream_id from (
      select stream_id, version, sum(bytes) over (order by bytes, stream_id) as total
      from streams s
        cross join lateral (
          select sum(pg_column_size(data)) as bytes from events e
          where e.stream_id = s.stream_id and s.version <= ${EVENTS_AT_MOST}) sized
      where stream_id = any ($1)) measured
    where version > ${EVENTS_AT_MOST} or total > $2`,
}
const END = { name: 'end_of_log', text: 'select max(position) as position from events' }

/** Those checked in turn, from the lowest possible place on. */
const AROUND = { tasks: TASKS, audit: AUDIT, keys: KEYS } as const
const BEFORE_ALL = Number.MIN_SAFE_INTEGER

/** Compares tasks, audit and keys with the log continuously, as a small and steady load. */
export function driftCheck(options: DriftCheckOptions): DriftCheck {
  const { db, log, tasksARound = 20, bytesARound = 8_000_000, onChecked, onDrift } = options
  const share = Math.max(1, Math.floor(tasksARound / 4))
  const place = { newest: 0, streams: 0, tasks: BEFORE_ALL, audit: BEFORE_ALL, keys: BEFORE_ALL }

  const after = async (statement: Statement, from: number) => {
    const rows = await db.query<{ stream_id: string; place: number }>(statement, [from, share])
    return {
      ids: rows.map(({ stream_id }) => stream_id),
      last: Math.max(from, ...rows.map(({ place }) => place)),
    }
  }
  const pick = async (): Promise<readonly string[]> => {
    const newest = await after(NEWEST, place.newest)
    const streams = await after(STREAMS, place.streams)
    const [end] = await db.query<{ position: number | null }>(END, [])
    const next = streams.ids.length < share ? place.streams + SPAN : streams.last
    place.newest = newest.last
    place.streams = next >= (end?.position ?? 0) ? 0 : next
    const ids = new Set([...newest.ids, ...streams.ids])
    for (const what of ['tasks', 'audit', 'keys'] as const) {
      const rows = await after(AROUND[what], place[what])
      place[what] = rows.ids.length < share ? BEFORE_ALL : rows.last
      for (const id of rows.ids) ids.add(id)
    }
    const values = [[...ids], bytesARound]
    const skipped = await db.query<{ stream_id: string }>(TOO_MUCH, values)
    for (const { stream_id } of skipped) ids.delete(stream_id)
    return [...ids]
  }

  const checks: readonly Check[] = [
    (ids) => driftOfTasks(options, ids.filter(isTaskStreamId).map(taskIdOf)),
    (ids) => driftOfAudit(options, ids),
    (ids) => driftOfKeys(options, ids),
  ]
  /** A task whose events cannot be folded must not hide what is wrong with the others. */
  const oneByOne = async (check: Check, ids: readonly string[]) => {
    const drifts: Drift[] = []
    for (const id of ids) {
      try {
        drifts.push(...(await check([id])))
      } catch (error) {
        if (error instanceof AppError) throw error
        const { message } = error as Error
        log.error({ stream_id: id, err: message }, 'cannot check a task for drift')
      }
    }
    return drifts
  }

  const round = async () => {
    const ids = await pick()
    const drifts: Drift[] = []
    for (const check of checks) {
      drifts.push(...(await check(ids).catch(() => oneByOne(check, ids))))
    }
    onChecked?.(ids.length)
    for (const drift of drifts) {
      log.error(drift, 'drift found')
      onDrift?.(drift)
    }
    return drifts
  }

  return { round }
}
