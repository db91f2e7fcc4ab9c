import type { TaskEvent, TaskFields } from './events.ts'

/** What an event can change: a field, or whether the task is deleted. */
export type Changed = keyof TaskFields | 'deleted'

/** What was so before an event and what is so since, of each thing that it touched. */
export type Changes = Partial<Record<Changed, { readonly from: unknown; readonly to: unknown }>>

/** What is so of a task. Values are only carried, so texts may stand in it encrypted. */
export type Facts = Readonly<Record<Changed, unknown>> & { readonly user_id: number }

/** Before the first event. */
export const NO_FACTS: Facts | null = null

/**
 * One more event of a task: what it changed, and what is so since. Throws on an event of a task that
 * was never created: a log that holds one is damaged.
 */
export function follow(
  facts: Facts | null,
  event: TaskEvent,
): { readonly changes: Changes; readonly facts: Facts } {
  if (event.type === 'TaskCreated') {
    const { user_id, title, description, status, priority, due_date } = event.data
    const fields = { title, description, status, priority, due_date }
    const changes = Object.entries(fields).map(([name, to]) => [name, { from: null, to }])
    return {
      changes: Object.fromEntries(changes),
      facts: { ...fields, deleted: false, user_id },
    }
  }
  if (facts === null) throw new Error(`${event.type} of a task that was never created`)
  const set = whatIsSo(event)
  const changes = Object.entries(set).map(([name, to]) => {
    return [name, { from: facts[name as Changed], to }]
  })
  return { changes: Object.fromEntries(changes), facts: { ...facts, ...set } }
}

function whatIsSo(event: Exclude<TaskEvent, { type: 'TaskCreated' }>): Partial<Facts> {
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
    case 'TaskRescheduled': {
      const { undoes, ...set } = event.data
      return set
    }
  }
}
