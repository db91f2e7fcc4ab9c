import type { Decider } from '../decider.ts'
import { DomainError } from '../errors.ts'
import type { TaskEvent, TaskFields, TaskStatus } from './events.ts'

/** A deleted task keeps its fields, so that it can come back as it was. */
export type TaskState =
  | { readonly existence: 'absent' }
  | {
      readonly existence: 'live' | 'deleted'
      readonly user_id: number
      readonly fields: TaskFields
    }

export type TaskCommand =
  | { readonly type: 'CreateTask'; readonly actor_id: number; readonly fields: TaskFields }
  | {
      readonly type: 'ChangeTask'
      readonly actor_id: number
      readonly changes: Partial<TaskFields>
    }
  | { readonly type: 'DeleteTask'; readonly actor_id: number }

export const task: Decider<TaskState, TaskCommand, TaskEvent> = {
  initialState: { existence: 'absent' },

  decide(command, state) {
    switch (command.type) {
      case 'CreateTask':
        return create(command.actor_id, command.fields, state)
      case 'ChangeTask':
        return change(command.changes, ownTask(command.actor_id, state))
      case 'DeleteTask':
        ownTask(command.actor_id, state)
        return [{ type: 'TaskDeleted', data: {} }]
    }
  },

  evolve(state, event) {
    switch (event.type) {
      case 'TaskCreated': {
        const { user_id, ...fields } = event.data
        return { existence: 'live', user_id, fields }
      }
      case 'TaskRenamed':
      case 'TaskDescribed':
      case 'TaskStarted':
      case 'TaskCompleted':
      case 'TaskReopened':
      case 'TaskReprioritized':
      case 'TaskRescheduled':
        return state.existence === 'absent'
          ? state
          : { ...state, fields: { ...state.fields, ...event.data } }
      case 'TaskDeleted':
        return state.existence === 'absent' ? state : { ...state, existence: 'deleted' }
    }
  },
}

/** The fields of a task that is there and belongs to the actor; a deleted task is not there. */
function ownTask(actor_id: number, state: TaskState): TaskFields {
  if (state.existence !== 'live') throw new DomainError('task_not_found')
  if (state.user_id !== actor_id) throw new DomainError('task_forbidden')
  return state.fields
}

function create(user_id: number, fields: TaskFields, state: TaskState): readonly TaskEvent[] {
  if (state.existence !== 'absent') throw new DomainError('task_exists')
  return [{ type: 'TaskCreated', data: { ...fields, user_id } }]
}

/** One event for each field that differs: a repeated request yields none, so a client may retry. */
function change(changes: Partial<TaskFields>, now: TaskFields): readonly TaskEvent[] {
  const { title, description, status, priority, due_date } = { ...now, ...changes }
  const events: TaskEvent[] = []
  if (title !== now.title) events.push({ type: 'TaskRenamed', data: { title } })
  if (description !== now.description) events.push({ type: 'TaskDescribed', data: { description } })
  if (status !== now.status) events.push(moved(status))
  if (priority !== now.priority) events.push({ type: 'TaskReprioritized', data: { priority } })
  if (due_date !== now.due_date) events.push({ type: 'TaskRescheduled', data: { due_date } })
  return events
}

function moved(status: TaskStatus): TaskEvent {
  switch (status) {
    case 'pending':
      return { type: 'TaskReopened', data: { status } }
    case 'in_progress':
      return { type: 'TaskStarted', data: { status } }
    case 'completed':
      return { type: 'TaskCompleted', data: { status } }
  }
}
