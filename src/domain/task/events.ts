// The names and shapes below are the storage format: rows written years ago have them, the audit trail
// shows them, and every event's hash covers them. Never rename or remove one, or change its meaning. Add a
// new event, or raise `TASK_EVENT_SCHEMA_VERSION` and add an upcaster. One version must be able to read it
// before the next one writes it (ADR 18).

import type { Photo } from './photos.ts'

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

/**
 * The photos of a task after an event, in the order in which they came. The whole list, as any other field: so the
 * last event that has it says all.
 */
export type WithPhotos = { readonly photos: readonly Photo[] }

/** Versions of the stream's own events that a compensating event undoes. */
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
  | { readonly type: 'PhotoAdded'; readonly data: Undoing & WithPhotos }
  | { readonly type: 'PhotoRemoved'; readonly data: Undoing & WithPhotos }
  | { readonly type: 'PhotoRestored'; readonly data: Undoing & WithPhotos }
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
  'PhotoAdded',
  'PhotoRemoved',
  'PhotoRestored',
  'TaskDeleted',
  'TaskRestored',
] as const satisfies TaskEvent['type'][]

/** The fields of each event; any other was written by a newer version. */
const FIELDS: Readonly<Record<TaskEvent['type'], readonly string[]>> = {
  TaskCreated: ['title', 'description', 'status', 'priority', 'due_date', 'user_id'],
  TaskRenamed: ['title', 'undoes'],
  TaskDescribed: ['description', 'undoes'],
  TaskStarted: ['status', 'undoes'],
  TaskCompleted: ['status', 'undoes'],
  TaskReopened: ['status', 'undoes'],
  TaskReprioritized: ['priority', 'undoes'],
  TaskRescheduled: ['due_date', 'undoes'],
  PhotoAdded: ['photos', 'undoes'],
  PhotoRemoved: ['photos', 'undoes'],
  PhotoRestored: ['photos', 'undoes'],
  TaskDeleted: ['undoes'],
  TaskRestored: ['undoes'],
}

/** The types whose events set a field. */
export const typesThatSet = (field: keyof TaskFields | 'photos'): readonly TaskEvent['type'][] =>
  TASK_EVENT_TYPES.filter((type) => FIELDS[type].includes(field))

/** An event as the log has it; a newly decided one has the current schema version. */
export type StoredTaskEvent = {
  readonly type: string
  readonly data: object
  readonly schema_version?: number | undefined
}

/** By schema version: converts an event to the next one. */
type Upcasters = Readonly<Record<number, (event: StoredTaskEvent) => StoredTaskEvent>>
const UPCASTERS: Upcasters = {}

/**
 * What this version knows of a stored event: its own fields, in their current shape. Null if a newer
 * version wrote it, with an unknown type or a higher schema version: to this version it changed nothing.
 */
export function readTaskEvent(
  event: StoredTaskEvent,
  upcasters: Upcasters = UPCASTERS,
): TaskEvent | null {
  const { schema_version = TASK_EVENT_SCHEMA_VERSION } = event
  if (schema_version > TASK_EVENT_SCHEMA_VERSION) return null
  let { type, data } = event
  for (let version = schema_version; version < TASK_EVENT_SCHEMA_VERSION; version++) {
    const upcast = upcasters[version]
    if (upcast === undefined) throw new Error(`nothing reads the schema version ${version}`)
    ;({ type, data } = upcast({ type, data, schema_version: version }))
  }
  if (!isTaskEventType(type)) return null
  const known = FIELDS[type].filter((field) => field in data)
  const values = known.map((field) => [field, Reflect.get(data, field)])
  return { type, data: Object.fromEntries(values) } as TaskEvent
}

const isTaskEventType = (type: string): type is TaskEvent['type'] => type in FIELDS

/** The versions that an event undoes, if this version knows the event. */
export const undoesOf = (event: StoredTaskEvent): readonly number[] | undefined =>
  (readTaskEvent(event)?.data as Undoing | undefined)?.undoes
