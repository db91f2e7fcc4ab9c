import type { Decider } from '../decider.ts'
import { DomainError } from '../errors.ts'
import { type Changes, type FieldValues, NO_FIELD_VALUES, trackChanges } from './changes.ts'
import type { TaskEvent, TaskFields, TaskStatus } from './events.ts'

/** A deleted task keeps its fields, so that it can come back as it was. */
export type TaskState =
  | { readonly existence: 'absent' }
  | {
      readonly existence: 'live' | 'deleted'
      readonly user_id: number
      readonly fields: TaskFields
      readonly last: Step
    }

/** Tells which events were decided together, for one command. */
export type Causation = { readonly metadata: { readonly causation_id: string } }

/** One event as undo needs to know it; a list that runs from the newest to the oldest. */
type Step = {
  readonly version: number
  readonly causation_id: string | undefined
  readonly changes: Changes
  readonly before: Step | null
}

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
   * Takes back what was decided together with the event of this version; without one, the last that
   * the command loaded: not what others have done since.
   */
  | { readonly type: 'UndoTask'; readonly actor_id: number; readonly version: number | undefined }

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
          command.version ?? ownStream(command.actor_id, loaded).last.version,
          ownStream(command.actor_id, state),
        )
    }
  },

  evolve(state, event) {
    const { values, changes } = trackChanges(valuesOf(state), event)
    const { user_id, deleted, ...fields } = values
    const before = state.existence === 'absent' ? null : state.last
    const version = (before?.version ?? 0) + 1
    return {
      existence: deleted === true ? 'deleted' : 'live',
      user_id,
      fields: fields as TaskFields,
      last: { version, causation_id: event.metadata?.causation_id, changes, before },
    }
  },
}

const valuesOf = (state: TaskState): FieldValues | null =>
  state.existence === 'absent'
    ? NO_FIELD_VALUES
    : { ...state.fields, user_id: state.user_id, deleted: state.existence === 'deleted' }

type Existing = Exclude<TaskState, { existence: 'absent' }>

/** A task that was created once and belongs to the actor. */
function ownStream(actor_id: number, state: TaskState): Existing {
  if (state.existence === 'absent') throw new DomainError('task_not_found')
  if (state.user_id !== actor_id) throw new DomainError('task_forbidden')
  return state
}

/** A task that is there and belongs to the actor; a deleted task is not there, for anyone. */
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

/**
 * The events that put back what one command changed. What has been changed again since stays as it
 * is: then nothing is undone. To undo the creation is to delete the task.
 */
function undo(version: number, state: Existing): readonly TaskEvent[] {
  const target = find(version, state.last)
  const changes: Changes = {}
  const undoes: number[] = []
  const others = new Set<string>()
  for (let step: Step | null = state.last; step !== null; step = step.before) {
    const names = Object.keys(step.changes)
    if (isTogether(step, target)) {
      if (names.some((name) => others.has(name))) throw new DomainError('undo_conflict')
      undoes.unshift(step.version)
      Object.assign(changes, step.changes)
    } else {
      for (const name of names) others.add(name)
    }
  }
  const events = undoes[0] === 1 ? uncreate(others) : putBack(changes, state)
  return events.map((event) => ({ ...event, data: { ...event.data, undoes } }) as TaskEvent)
}

function uncreate(others: ReadonlySet<string>): readonly TaskEvent[] {
  if (others.size > 0) throw new DomainError('undo_conflict')
  return [DELETED]
}

function putBack({ deleted, ...fields }: Changes, state: Existing): readonly TaskEvent[] {
  const isDeleted = state.existence === 'deleted'
  const wasDeleted = deleted === undefined ? isDeleted : deleted.from === true
  const before = Object.entries(fields).map(([name, { from }]) => [name, from])
  // A deleted task is not there to be changed: it has to come back first.
  if (isDeleted && wasDeleted && before.length > 0) throw new DomainError('undo_conflict')
  return [
    ...(isDeleted && !wasDeleted ? [RESTORED] : []),
    ...change(Object.fromEntries(before), state.fields),
    ...(wasDeleted && !isDeleted ? [DELETED] : []),
  ]
}

function find(version: number, last: Step): Step {
  for (let step: Step | null = last; step !== null; step = step.before) {
    if (step.version === version) return step
  }
  throw new DomainError('change_not_found')
}

const isTogether = ({ causation_id, ...step }: Step, target: Step): boolean =>
  step.version === target.version ||
  (causation_id !== undefined && causation_id === target.causation_id)
