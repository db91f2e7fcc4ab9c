import { searchFor } from '../domain/task/search.ts'
import type { TaskView } from '../domain/task/view.ts'
import { PAGE_BYTES } from './full-texts.ts'
import type { TaskCursor, TaskPage, TaskQuery } from './ports/tasks.ts'

/** Tasks in list order; with `q`, some of them may not contain it. */
export type Candidates = { readonly tasks: readonly TaskView[]; readonly more: boolean }

/**
 * One page of a list, now or in the past. It ends with `limit` tasks, or once the texts read for it fill
 * `bytes`; a search then continues on the next page, even if this one has few tasks.
 */
export async function fillPage(
  query: TaskQuery,
  candidates: AsyncIterable<Candidates> | Iterable<Candidates>,
): Promise<TaskPage> {
  const { q, limit, bytes = PAGE_BYTES } = query
  const isFound = q === undefined ? () => true : searchFor(q)
  const cursor = cursorBy(query)
  const tasks: TaskView[] = []
  let last: TaskView | undefined
  let read = 0
  for await (const { tasks: some, more } of candidates) {
    for (const task of some) {
      if (last && read >= bytes) return { tasks, next: cursor(last) }
      if (isFound(task.title, task.description)) {
        const end = tasks.at(-1)
        if (end && tasks.length === limit) return { tasks, next: cursor(end) }
        tasks.push(task)
      }
      read += bytesOf(task)
      last = task
    }
    if (last && more && read >= bytes) return { tasks, next: cursor(last) }
  }
  return { tasks, next: null }
}

export const cursorBy =
  ({ sort }: Pick<TaskQuery, 'sort'>) =>
  (task: TaskView): TaskCursor => ({ value: task[sort], id: task.id })

const bytesOf = ({ title, description }: TaskView): number =>
  Buffer.byteLength(title) + Buffer.byteLength(description ?? '')
