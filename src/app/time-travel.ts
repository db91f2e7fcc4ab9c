import type { TaskEvent } from '../domain/task/events.ts'
import { type TaskView, taskStream, viewTask } from '../domain/task/view.ts'
import type { EventStore, Recorded, TaskCursor, TaskQuery } from './ports.ts'

/** A version of a task, or a time: the greatest position recorded by then. */
export type Moment = { readonly version: number } | { readonly as_of: string }

/** Whose a task is, and how it was. */
export type PastTask = { readonly owner_id: number; readonly task: TaskView | null }

type Events = EventStore<TaskEvent, TaskView>

const PAGE = 1_000

/** What was so. Error of every method: `database_unavailable`. */
export function timeTravel(store: Events) {
  return {
    /** The task as it was; in it null when there was none then, or it was deleted. */
    async taskAt(id: number, moment: Moment): Promise<PastTask | null> {
      const { events } = await store.load(taskStream(id))
      const now = events.reduce(viewTask, null)
      if (now === null || events.some(({ erased }) => erased)) return null
      return { owner_id: now.user_id, task: shown(until(events, moment).reduce(viewTask, null)) }
    },

    /** The list as it was, with the filters, order and pages of the list as it is. */
    async listAt(
      query: TaskQuery,
      as_of: string,
    ): Promise<{ readonly tasks: readonly TaskView[]; readonly next: TaskCursor | null }> {
      const rows = new Map<string, TaskView | null>()
      for (let after = 0; ; ) {
        const events = await store.readAsOf(query.user_id, as_of, after, PAGE)
        for (const event of events) {
          const { stream_id } = event
          rows.set(stream_id, viewTask(rows.get(stream_id) ?? null, event))
        }
        if (events.length < PAGE) break
        after = events.at(-1)?.position ?? after
      }
      return select([...rows.values()].map(shown).filter(isThere), query)
    },
  }
}

export type TimeTravel = ReturnType<typeof timeTravel>

function until(
  events: readonly Recorded<TaskEvent>[],
  moment: Moment,
): readonly Recorded<TaskEvent>[] {
  if ('version' in moment) {
    return events.some(({ version }) => version === moment.version)
      ? events.slice(0, moment.version)
      : []
  }
  return events.slice(0, events.findLastIndex((event) => event.recorded_at <= moment.as_of) + 1)
}

const shown = (row: TaskView | null): TaskView | null => (row?.deleted_at === null ? row : null)
const isThere = (row: TaskView | null): row is TaskView => row !== null

/** What the read table answers to a query, from rows at hand. */
export function select(
  rows: readonly TaskView[],
  query: TaskQuery,
): { readonly tasks: readonly TaskView[]; readonly next: TaskCursor | null } {
  const { sort, after, limit } = query
  const direction = query.descending ? -1 : 1
  const compare = (a: TaskCursor, b: TaskCursor): number =>
    direction * (byValue(query, a.value, b.value) || a.id - b.id)
  const cursor = (row: TaskView): TaskCursor => ({ value: row[sort], id: row.id })
  const found = rows
    .filter((row) => matches(row, query))
    .toSorted((a, b) => compare(cursor(a), cursor(b)))
    .filter((row) => after === undefined || compare(cursor(row), after) > 0)
  const tasks = found.slice(0, limit)
  const last = tasks.at(-1)
  return { tasks, next: last !== undefined && found.length > limit ? cursor(last) : null }
}

function matches(row: TaskView, query: TaskQuery): boolean {
  const { status, priority, due_before, due_after, has_due_date, q } = query
  const { due_date } = row
  const word = q?.toLowerCase()
  const texts = [row.title, row.description ?? '']
  return (
    row.user_id === query.user_id &&
    (status === undefined || status.includes(row.status)) &&
    (priority === undefined || priority.includes(row.priority)) &&
    (due_before === undefined || (due_date !== null && due_date < due_before)) &&
    (due_after === undefined || (due_date !== null && due_date > due_after)) &&
    (has_due_date === undefined || (due_date !== null) === has_due_date) &&
    (word === undefined || texts.some((text) => text.toLowerCase().includes(word)))
  )
}

const RANKS: readonly (string | null)[] = ['low', 'medium', 'high']

/** Ascending; a task without a due date comes last in both directions. */
function byValue({ sort, descending }: TaskQuery, a: string | null, b: string | null): number {
  if (a === b) return 0
  if (sort === 'priority') return RANKS.indexOf(a) - RANKS.indexOf(b)
  if (a === null || b === null) return (a === null) === descending ? -1 : 1
  return a < b ? -1 : 1
}
