import {
  readTaskEvent,
  type StoredTaskEvent,
  type TaskEvent,
  type TaskFields,
  typesThatSet,
} from './events.ts'

/** What an event can change: a field, the photos, or whether the task is deleted. */
export type Changed = keyof TaskFields | 'photos' | 'deleted'

/** The types whose events set each value: the last such event determines it. */
export const SETTERS: Readonly<Record<Changed, readonly TaskEvent['type'][]>> = {
  title: typesThatSet('title'),
  description: typesThatSet('description'),
  status: typesThatSet('status'),
  priority: typesThatSet('priority'),
  due_date: typesThatSet('due_date'),
  photos: ['TaskCreated', ...typesThatSet('photos')],
  deleted: ['TaskCreated', 'TaskDeleted', 'TaskRestored'],
}

/** The values before and after an event, of each field that it touched. */
export type Changes = Partial<Record<Changed, { readonly from: unknown; readonly to: unknown }>>

/** The current values of a task. They are only passed on, so texts may be encrypted in it. */
export type FieldValues = Readonly<Record<Changed, unknown>> & { readonly user_id: number }

/** Before the first event. */
export const NO_FIELD_VALUES: FieldValues | null = null

/**
 * Follows one more event of a task: what it changed, and the values after it. An event written by a newer
 * version counts as no change. Throws on an event of a task that was never created: such a log is damaged.
 */
export function trackChanges(
  values: FieldValues | null,
  stored: StoredTaskEvent,
): { readonly changes: Changes; readonly values: FieldValues } {
  const event = readTaskEvent(stored)
  if (event?.type === 'TaskCreated') {
    const { user_id, title, description, status, priority, due_date } = event.data
    const fields = { title, description, status, priority, due_date }
    const changes = Object.entries(fields).map(([name, to]) => [name, { from: null, to }])
    return {
      changes: Object.fromEntries(changes),
      values: { ...fields, photos: [], deleted: false, user_id },
    }
  }
  if (values === null) throw new Error(`${stored.type} of a task that was never created`)
  if (event === null) return { changes: {}, values }
  const set = valuesSetBy(event)
  const changes = Object.entries(set).map(([name, to]) => {
    // Values that were kept before there were photos have none.
    return [name, { from: values[name as Changed] ?? (name === 'photos' ? [] : null), to }]
  })
  return { changes: Object.fromEntries(changes), values: { ...values, ...set } }
}

function valuesSetBy(event: Exclude<TaskEvent, { type: 'TaskCreated' }>): Partial<FieldValues> {
  switch (event.type) {
    case 'TaskDeleted':
      return { deleted: true }
    case 'TaskRestored':
      return { deleted: false }
    case 'TaskRenamed':
    case 'TaskDescribed':
    case 'TaskStarted':
    case 'TaskCompleted':
    case 'TaskReopened':
    case 'TaskReprioritized':
    case 'TaskRescheduled':
    case 'PhotoAdded':
    case 'PhotoRemoved':
    case 'PhotoRestored': {
      const { undoes, ...set } = event.data
      return set
    }
  }
}
