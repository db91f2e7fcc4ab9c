import type { TaskEvent, TaskFields } from './events.ts'

/** A row of the read table: the task as the API shows it. Times are ISO 8601 UTC with milliseconds. */
export type TaskView = TaskFields & {
  readonly id: number
  readonly user_id: number
  readonly created_at: string
  readonly updated_at: string
  readonly version: number
  readonly deleted_at: string | null
}

/** Where and when an event stands in its stream. */
export type EventEnvelope = {
  readonly stream_id: string
  readonly version: number
  readonly occurred_at: string
}

export const taskStreamId = (id: number): string => `task-${id}`
export const isTaskStreamId = (stream_id: string): boolean => stream_id.startsWith('task-')
export const taskIdOf = (stream_id: string): number => Number(stream_id.slice('task-'.length))

/** The read table's row after one more event. Writing, rebuilding and looking back all use this. */
export function viewTask(row: TaskView | null, event: TaskEvent & EventEnvelope): TaskView | null {
  const { version, occurred_at } = event
  if (event.type === 'TaskCreated') {
    const { user_id, title, description, status, priority, due_date } = event.data
    const fields = { title, description, status, priority, due_date }
    const times = { created_at: occurred_at, updated_at: occurred_at, deleted_at: null }
    return { id: taskIdOf(event.stream_id), user_id, ...fields, ...times, version }
  }
  if (row === null) return null
  const { undoes, ...changes } = event.data
  return { ...row, ...changes, updated_at: occurred_at, deleted_at: deletedAt(row, event), version }
}

function deletedAt(row: TaskView, { type, occurred_at }: TaskEvent & EventEnvelope): string | null {
  switch (type) {
    case 'TaskDeleted':
      return occurred_at
    case 'TaskRestored':
      return null
    default:
      return row.deleted_at
  }
}
