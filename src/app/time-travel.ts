import type { TaskEvent } from '../domain/task/events.ts'
import { type TaskView, taskStreamId, viewTask } from '../domain/task/view.ts'
import { AppError } from './errors.ts'
import { chunks, fullTexts } from './full-texts.ts'
import type { EventStore } from './ports/event-store.ts'
import type { TaskCursor, TaskPage, TaskQuery } from './ports/tasks.ts'
import { type Candidates, cursorBy, fillPage } from './task-pages.ts'

/** A version of a task; or a time, with everything up to that millisecond; or now. */
export type Moment = 'now' | { readonly version: number } | { readonly as_of: string }

/** Why a task did not exist. */
type Absence = 'task_not_found' | 'version_not_found' | 'task_not_there_then'

type Events = EventStore<TaskEvent, TaskView>

const PAGE = 1_000
const TEXTS_AT_ONCE = 100

/**
 * Reads the past. Errors: `database_unavailable` of every method; `session_ended` of a list whose user is
 * erased meanwhile; `texts_unavailable` of tasks whose texts are damaged.
 */
export function timeTravel(store: Events) {
  return {
    /** A task as it is or was, or why it did not exist. Reads a few of its events. */
    async taskAt(id: number, moment: Moment): Promise<TaskView | Absence> {
      const stream_id = taskStreamId(id)
      const version = await versionAt(store, stream_id, moment)
      const events = await store.inForce(stream_id, version)
      if (events.some(({ erased }) => erased)) return 'task_not_found'
      if (events.some(({ unreadable }) => unreadable)) throw new AppError('texts_unavailable')
      const row = events.reduce(viewTask, null)
      if (moment !== 'now' && 'version' in moment && moment.version > (row?.version ?? 0)) {
        return 'version_not_found'
      }
      return shown(row) ?? (moment === 'now' ? 'task_not_found' : 'task_not_there_then')
    },

    /**
     * The list as it was, with the filters, order and pages of the current list. Goes through all of the
     * user's tasks, but without their texts, which are read only for the page or for `q`. Stops when the
     * client is `gone`: nobody is waiting for the answer.
     */
    async listAt(query: TaskQuery, as_of: string, gone: AbortSignal): Promise<TaskPage> {
      const summaries = await outlinesAt(store, query.user_id, as_of, gone)
      return fillPage(query, withTexts(store, inOrder(summaries, query), query, gone))
    },
  }
}

export type TimeTravel = ReturnType<typeof timeTravel>

async function versionAt(store: Events, stream_id: string, moment: Moment): Promise<number> {
  if (moment === 'now') return Number.MAX_SAFE_INTEGER
  return 'version' in moment ? moment.version : store.versionAt(stream_id, moment.as_of)
}

const shown = (row: TaskView | null): TaskView | null => (row?.deleted_at === null ? row : null)
const isThere = (row: TaskView | null): row is TaskView => row !== null

/** Rows without their texts, as `EventSummary` has them. */
async function outlinesAt(
  store: Events,
  user_id: number,
  as_of: string,
  gone: AbortSignal,
): Promise<readonly TaskView[]> {
  const until = await store.positionAt(user_id, as_of)
  const rows = new Map<string, TaskView | null>()
  for (let after = 0; after < until && !gone.aborted; ) {
    const events = await store.summariesOfActor(user_id, after, PAGE, until)
    for (const event of events) {
      const { stream_id, occurred_at } = event
      if (occurred_at > as_of) continue
      rows.set(stream_id, viewTask(rows.get(stream_id) ?? null, event))
    }
    after = events.at(-1)?.position ?? until
  }
  return [...rows.values()].map(shown).filter(isThere)
}

/** The rows after the previous page, texts aside. */
function inOrder(rows: readonly TaskView[], query: TaskQuery): readonly TaskView[] {
  const { after, descending } = query
  const compare = (a: TaskCursor, b: TaskCursor): number =>
    (descending ? -1 : 1) * (byValue(query, a.value, b.value) || a.id - b.id)
  const cursor = cursorBy(query)
  return rows
    .filter((row) => matches(row, query))
    .toSorted((a, b) => compare(cursor(a), cursor(b)))
    .filter((row) => after === undefined || compare(cursor(row), after) > 0)
}

/** Reads only as many texts as the page needs. */
async function* withTexts(
  store: Events,
  summaries: readonly TaskView[],
  { q, limit }: TaskQuery,
  gone: AbortSignal,
): AsyncGenerator<Candidates> {
  const size = q === undefined ? Math.min(limit + 1, TEXTS_AT_ONCE) : TEXTS_AT_ONCE
  for (const some of chunks(summaries, size)) {
    if (gone.aborted) return
    const places = some.flatMap(({ title, description }) => [title, description])
    const { text, isUnreadable } = await fullTexts(store, places)
    if (places.some(isUnreadable)) throw new AppError('texts_unavailable')
    const tasks = some.map((summary) => {
      const title = text('title', summary.title)
      // The caller's own task: its key was destroyed after the token was validated.
      if (title === null) throw new AppError('session_ended')
      return { ...summary, title, description: text('description', summary.description) }
    })
    yield { tasks, more: some.at(-1) !== summaries.at(-1) }
  }
}

function matches({ status, priority, due_date }: TaskView, query: TaskQuery): boolean {
  const { due_from, due_before, has_due_date } = query
  return (
    (query.status === undefined || query.status.includes(status)) &&
    (query.priority === undefined || query.priority.includes(priority)) &&
    (due_from === undefined || (due_date !== null && due_date >= due_from)) &&
    (due_before === undefined || (due_date !== null && due_date < due_before)) &&
    (has_due_date === undefined || (due_date !== null) === has_due_date)
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
