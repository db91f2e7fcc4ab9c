import { type TaskEvent, undoesOf } from '../domain/task/events.ts'
import { nextSteps, task } from '../domain/task/task.ts'
import { type TaskView, taskStreamId } from '../domain/task/view.ts'
import type { EventStore } from './ports/event-store.ts'

/** Where an undo or redo has led: the versions that it took back, and what is next. */
export type UndoSteps = ReturnType<typeof nextSteps> & {
  /** The version that was taken back. */
  readonly undone: number
  /** Of a redo, the version whose undo was taken back: it is in force again. */
  readonly redone: number | null
}

/**
 * Read from the log up to the version that the undo or redo led to, so that a replayed answer says
 * what the first one said. Error: `database_unavailable`.
 */
export const undoSteps =
  (store: EventStore<TaskEvent, TaskView>) =>
  async ({ id, version }: TaskView): Promise<UndoSteps> => {
    const events = (await store.load(taskStreamId(id))).events.slice(0, version)
    const undone = undoneBy(events.at(-1))
    if (undone === null) throw new Error(`version ${version} of task ${id} takes nothing back`)
    const redone = undoneBy(events[undone - 1])
    return { undone, redone, ...nextSteps(events.reduce(task.evolve, task.initialState)) }
  }

const undoneBy = (event: TaskEvent | undefined): number | null =>
  (event && undoesOf(event)?.at(-1)) ?? null
