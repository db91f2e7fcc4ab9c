import type { Decider } from '../decider.ts'
import { DomainError } from '../errors.ts'
import { type FieldValues, NO_FIELD_VALUES, trackChanges } from './changes.ts'
import { type TaskEvent, type TaskFields, type TaskStatus, undoesOf } from './events.ts'
import { lastChangeOf, type NextSteps, type Step, undoHistory } from './undo.ts'
import type { TaskView } from './view.ts'

/** A deleted task keeps its fields, so that it can come back as it was. */
export type TaskState =
  | { readonly existence: 'absent' }
  | {
      readonly existence: 'live' | 'deleted'
      readonly user_id: number
      readonly fields: TaskFields
      /** What undo and redo are decided on; null in a state of which only the row is known. */
      readonly last: Step | null
    }

/** Tells which events were decided together, for one command. */
export type Causation = { readonly metadata: { readonly causation_id: string } }

export type TaskCommand =
  | { readonly type: 'CreateTask'; readonly actor_id: number; readonly fields: TaskFields }
  | {
      readonly type: 'ChangeTask'
      readonly actor_id: number
      readonly changes: Partial<TaskFields>
    }
  | { readonly type: 'DeleteTask'; readonly actor_id: number }
  | { readonly type: 'RestoreTask'; readonly actor_id: number }
  /**
   * Undoes what was decided together with the event of this version. Without a version: the latest change
   * that is not undone, as the command loaded it, whatever others have written since.
   */
  | { readonly type: 'UndoTask'; readonly actor_id: number; readonly version: number | undefined }
  /** Reverts the latest undo that no change has followed, as the command loaded it. */
  | { readonly type: 'RedoTask'; readonly actor_id: number }

const DELETED: TaskEvent = { type: 'TaskDeleted', data: {} }
const RESTORED: TaskEvent = { type: 'TaskRestored', data: {} }

export const task: Decider<TaskState, TaskCommand, TaskEvent, Causation> = {
  initialState: { existence: 'absent' },

  decide(command, state, loaded = state) {
    switch (command.type) {
      case 'CreateTask':
        return create(command.actor_id, command.fields, state)
      case 'ChangeTask':
        return change(command.changes, ownTask(command.actor_id, state).fields)
      case 'DeleteTask':
        ownTask(command.actor_id, state)
        return [DELETED]
      case 'RestoreTask':
        return ownStream(command.actor_id, state).existence === 'live' ? [] : [RESTORED]
      case 'UndoTask':
        return undo(
          command.version ?? undoHistory(lastOf(ownStream(command.actor_id, loaded))).next_undo,
          ownStream(command.actor_id, state),
        )
      case 'RedoTask':
        return redo(
          undoHistory(lastOf(ownStream(command.actor_id, loaded))).next_redo,
          ownStream(command.actor_id, state),
        )
    }
  },

  evolve(state, event) {
    const { values, changes } = trackChanges(valuesOf(state), event)
    const { user_id, deleted, ...fields } = values
    const before = state.existence === 'absent' ? null : state.last
    const version = (before?.version ?? 0) + 1
    const undoes = undoesOf(event)
    return {
      existence: deleted === true ? 'deleted' : 'live',
      user_id,
      fields: fields as TaskFields,
      last: { version, causation_id: event.metadata?.causation_id, undoes, changes, before },
    }
  },
}

/** The state as the read table's row tells it: all but what undo and redo go by. */
export function stateOfRow(row: TaskView | null): TaskState {
  if (row === null) return task.initialState
  const { user_id, title, description, status, priority, due_date } = row
  return {
    existence: row.deleted_at === null ? 'live' : 'deleted',
    user_id,
    fields: { title, description, status, priority, due_date },
    last: null,
  }
}

const valuesOf = (state: TaskState): FieldValues | null =>
  state.existence === 'absent'
    ? NO_FIELD_VALUES
    : { ...state.fields, user_id: state.user_id, deleted: state.existence === 'deleted' }

type Existing = Exclude<TaskState, { existence: 'absent' }>

function lastOf({ last }: Existing): Step {
  if (last === null) throw new Error('undo and redo are decided on the history')
  return last
}

/** A task that was created once and belongs to the actor. */
function ownStream(actor_id: number, state: TaskState): Existing {
  if (state.existence === 'absent') throw new DomainError('task_not_found')
  if (state.user_id !== actor_id) throw new DomainError('task_forbidden')
  return state
}

/** An existing task that belongs to the actor; a deleted task does not exist, for anyone. */
function ownTask(actor_id: number, state: TaskState): Existing {
  if (state.existence === 'deleted') throw new DomainError('task_not_found')
  return ownStream(actor_id, state)
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

/** The events that restore what one command changed, or an error if any of it was changed again. */
function undo(version: number | null, state: Existing): readonly TaskEvent[] {
  if (version === null) throw new DomainError('nothing_to_undo')
  const { undoes, values } = undoHistory(lastOf(state)).take(version)
  return put(values, state).map(
    (event) => ({ ...event, data: { ...event.data, undoes } }) as TaskEvent,
  )
}

function redo(version: number | null, state: Existing): readonly TaskEvent[] {
  if (version === null) throw new DomainError('nothing_to_redo')
  return undo(version, state)
}

/** What undo and redo would act on in this state. */
export function nextSteps(state: TaskState): NextSteps {
  if (state.existence === 'absent') return { next_undo: null, next_redo: null }
  const { next_undo, next_redo } = undoHistory(lastOf(state))
  return { next_undo, next_redo }
}

function put({ deleted, ...fields }: Partial<FieldValues>, state: Existing): readonly TaskEvent[] {
  const isDeleted = state.existence === 'deleted'
  const becomesDeleted = deleted === undefined ? isDeleted : deleted === true
  // A deleted task cannot change: it has to be restored first.
  if (isDeleted && becomesDeleted) {
    const version = lastChangeOf('deleted', lastOf(state))
    throw new DomainError('undo_conflict', [{ field: 'deleted', version }])
  }
  return [
    ...(isDeleted ? [RESTORED] : []),
    ...change(fields as Partial<TaskFields>, state.fields),
    ...(becomesDeleted ? [DELETED] : []),
  ]
}
