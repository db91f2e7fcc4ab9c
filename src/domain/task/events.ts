// The names and shapes below are the storage format: rows written years ago carry them, the audit
// trail shows them, and every event's hash covers them. Never rename, remove or change the meaning of
// one. Add a new event, or raise `TASK_EVENT_SCHEMA_VERSION` and keep reading the old shape.

export const TASK_EVENT_SCHEMA_VERSION = 1

export const TASK_STATUSES = ['pending', 'in_progress', 'completed'] as const
export type TaskStatus = (typeof TASK_STATUSES)[number]

export const TASK_PRIORITIES = ['low', 'medium', 'high'] as const
export type TaskPriority = (typeof TASK_PRIORITIES)[number]

/** What a person can set on a task. `due_date` is ISO 8601 UTC with milliseconds. */
export type TaskFields = {
  readonly title: string
  readonly description: string | null
  readonly status: TaskStatus
  readonly priority: TaskPriority
  readonly due_date: string | null
}

/** Versions of the stream's own events that a compensating event takes back. */
export type Undoing = { readonly undoes?: readonly number[] }

/** Each event carries the new values; the old ones follow from the events before it. */
export type TaskEvent =
  | { readonly type: 'TaskCreated'; readonly data: TaskFields & { readonly user_id: number } }
  | { readonly type: 'TaskRenamed'; readonly data: Undoing & { readonly title: string } }
  | {
      readonly type: 'TaskDescribed'
      readonly data: Undoing & { readonly description: string | null }
    }
  | { readonly type: 'TaskStarted'; readonly data: Undoing & { readonly status: 'in_progress' } }
  | { readonly type: 'TaskCompleted'; readonly data: Undoing & { readonly status: 'completed' } }
  | { readonly type: 'TaskReopened'; readonly data: Undoing & { readonly status: 'pending' } }
  | {
      readonly type: 'TaskReprioritized'
      readonly data: Undoing & { readonly priority: TaskPriority }
    }
  | {
      readonly type: 'TaskRescheduled'
      readonly data: Undoing & { readonly due_date: string | null }
    }
  | { readonly type: 'TaskDeleted'; readonly data: Undoing }
  | { readonly type: 'TaskRestored'; readonly data: Undoing }

export const TASK_EVENT_TYPES = [
  'TaskCreated',
  'TaskRenamed',
  'TaskDescribed',
  'TaskStarted',
  'TaskCompleted',
  'TaskReopened',
  'TaskReprioritized',
  'TaskRescheduled',
  'TaskDeleted',
  'TaskRestored',
] as const satisfies TaskEvent['type'][]
