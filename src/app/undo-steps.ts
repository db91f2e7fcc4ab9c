import { type TaskEvent, undoesOf } from '../domain/task/events.ts'
import { nextSteps, task } from '../domain/task/task.ts'
import { type TaskView, taskStreamId } from '../domain/task/view.ts'
import type { EventStore } from './ports/event-store.ts'

/** What an undo or redo did, and what comes next. */
export type UndoSteps = ReturnType<typeof nextSteps> & {
  /** The version that was undone. */
  readonly undone: number
  /** For a redo: the version whose undo was reverted. It is in effect again. */
  readonly redone: number | null
}

/**
 * Read from the log up to the version that the undo or redo produced, so that a replayed answer equals the
 * first one. Error: `database_unavailable`.
 */
export const undoSteps =
  (store: EventStore<TaskEvent, TaskView>) =>
  async ({ id, version }: TaskView): Promise<UndoSteps> => {
    const { events } = await store.load(taskStreamId(id), 0, version)
    const undone = undoneBy(events.at(-1))
    if (undone === null) throw new Error(`version ${version} of task ${id} undoes nothing`)
    const redone = undoneBy(events[undone - 1])
    return { undone, redone, ...nextSteps(events.reduce(task.evolve, task.initialState)) }
  }

const undoneBy = (event: TaskEvent | undefined): number | null =>
  (event && undoesOf(event)?.at(-1)) ?? null
