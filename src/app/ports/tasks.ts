import type { TaskPriority, TaskStatus } from '../../domain/task/events.ts'
import type { TaskView } from '../../domain/task/view.ts'

export type TaskSort = 'created_at' | 'updated_at' | 'due_date' | 'priority'

export type TaskQuery = {
  readonly user_id: number
  readonly status?: readonly TaskStatus[] | undefined
  readonly priority?: readonly TaskPriority[] | undefined
  /** ISO 8601; `due_from` is inclusive, `due_before` exclusive. */
  readonly due_from?: string | undefined
  readonly due_before?: string | undefined
  readonly has_due_date?: boolean | undefined
  /** Contained in title or description, see `searchFor`. */
  readonly q?: string | undefined
  readonly sort: TaskSort
  readonly descending: boolean
  readonly limit: number
  /** The page also ends once its texts fill this many bytes. @default 8 MiB */
  readonly bytes?: number
  /** The last row of the previous page. */
  readonly after?: TaskCursor | undefined
}

/** A place in a sorted list: the sorted value (null: no due date) and the id. */
export type TaskCursor = { readonly value: string | null; readonly id: number }

export type TaskPage = { readonly tasks: readonly TaskView[]; readonly next: TaskCursor | null }

/** `isErased`: the owner's account is erased, and with it the texts of all their tasks. */
export type Ownership = { readonly owner_id: number; readonly isErased: boolean }

/** The read table. Error of every method: `database_unavailable`. */
export type TaskList = {
  /** An id that no task has had. */
  readonly nextId: () => Promise<number>
  /** Deleted tasks are not found. */
  readonly find: (id: number) => Promise<TaskView | null>
  /** The owner of a task, even of a deleted one; null: it never existed. Reads no text. */
  readonly ownerOf: (id: number) => Promise<Ownership | null>
  /** Live tasks in order, and where the next page begins, if there is one. */
  readonly list: (query: TaskQuery) => Promise<TaskPage>
  /** The same page, if all of it was read lately and is still as it was: that takes hardly any memory. */
  readonly recent: (query: TaskQuery) => Promise<TaskPage | null>
}
