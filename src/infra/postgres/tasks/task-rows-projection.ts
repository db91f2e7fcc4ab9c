import { isTaskStreamId, type TaskView, taskIdOf, taskStreamId } from '../../../domain/task/view.ts'
import type { UserKeys } from '../../encryption/user-keys.ts'
import { BadEvent, type LogEvent, type Query, type Write } from '../projections/projection.ts'
import { TASK_COLUMNS } from './task-page.ts'
import { foldRows, keyOwners, type StoredTaskEvent, type TaskRow } from './task-rows.ts'

const findRows = (table: string) => ({
  name: `find_${table}`,
  text: `select ${TASK_COLUMNS} from ${table} where id = any ($1)`,
})

const setRows = (table: string) => ({
  name: `set_${table}`,
  text: `
    insert into ${table} select * from jsonb_populate_recordset(null::${table}, $1)
      on conflict (id) do update set
        title = excluded.title, description = excluded.description, status = excluded.status,
        priority = excluded.priority, due_date = excluded.due_date,
        photos = excluded.photos, updated_at = excluded.updated_at, version = excluded.version,
        deleted_at = excluded.deleted_at, ngrams = excluded.ngrams`,
})

/** An event as the log has it, with the time that a row shows. */
export type TimedEvent = LogEvent & { readonly occurred_at: string }

type TimedTaskEvent = TimedEvent & StoredTaskEvent

/** Computes a table's rows from the events that follow. Errors: `BadEvent`, and those of the keys. */
export function taskRowsProjection(table: string, keys: UserKeys) {
  const [FIND, SET] = [findRows(table), setRows(table)]
  return async (all: readonly TimedEvent[], read: Query): Promise<readonly Write[]> => {
    const events = all.filter((event): event is TimedTaskEvent => isTaskStreamId(event.stream_id))
    const ids = new Set(events.map(({ stream_id }) => taskIdOf(stream_id)))
    const rows = await read<TaskView>(FIND, [[...ids]])
    const before = new Map(rows.map((row) => [taskStreamId(row.id), row]))
    const known = await keys.find(keyOwners(events, rows))
    const after = fold(before, events, known).filter((row) => row !== null)
    return after.length === 0 ? [] : [{ statement: SET, values: [JSON.stringify(after)] }]
  }
}

function fold(
  before: ReadonlyMap<string, TaskView>,
  events: readonly TimedTaskEvent[],
  keys: ReadonlyMap<number, Buffer>,
): (TaskRow | null)[] {
  const [event] = events
  try {
    return [...foldRows(before, events, keys).values()]
  } catch (error) {
    throw event === undefined ? error : new BadEvent(event, error)
  }
}
