import {
  readTaskEvent,
  type StoredTaskEvent,
  type TaskEvent,
  type TaskFields,
  type WithPhotos,
} from './events.ts'

/** A row of the read table: the task as the API shows it. Times are ISO 8601 UTC with milliseconds. */
export type TaskView = TaskFields &
  WithPhotos & {
    readonly id: number
    readonly user_id: number
    readonly created_at: string
    readonly updated_at: string
    readonly version: number
    readonly deleted_at: string | null
  }

/** An event's place and time in its stream. */
export type EventEnvelope = {
  readonly stream_id: string
  readonly version: number
  readonly occurred_at: string
}

export const taskStreamId = (id: number): string => `task-${id}`
export const isTaskStreamId = (stream_id: string): boolean => stream_id.startsWith('task-')
export const taskIdOf = (stream_id: string): number => Number(stream_id.slice('task-'.length))

/**
 * The read table's row after one more event. Writing, rebuilding and time travel all use this. An event
 * written by a newer version changes only version and time.
 */
export function viewTask(
  row: TaskView | null,
  { stream_id, version, occurred_at, ...stored }: StoredTaskEvent & EventEnvelope,
): TaskView | null {
  const event = readTaskEvent(stored)
  if (event?.type === 'TaskCreated') {
    const times = { created_at: occurred_at, updated_at: occurred_at, deleted_at: null }
    return { id: taskIdOf(stream_id), ...event.data, photos: [], ...times, version }
  }
  if (row === null) return null
  const after = { ...row, updated_at: occurred_at, version }
  if (event === null) return after
  const { undoes, ...changes } = event.data
  return { ...after, ...changes, deleted_at: deletedAt(row, event, occurred_at) }
}

function deletedAt(row: TaskView, { type }: TaskEvent, occurred_at: string): string | null {
  switch (type) {
    case 'TaskDeleted':
      return occurred_at
    case 'TaskRestored':
      return null
    default:
      return row.deleted_at
  }
}
