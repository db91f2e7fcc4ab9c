import type { Decider } from '../decider.ts'
import { DomainError, type DomainErrorCode } from '../errors.ts'
import type { FieldValues } from './changes.ts'
import type { TaskEvent, TaskFields, TaskStatus } from './events.ts'
import { isIn, MOST_PHOTOS, type Photo, photosTo } from './photos.ts'
import type { Walk } from './steps.ts'
import { type Taken, undoHistory } from './undo.ts'
import type { TaskView } from './view.ts'

/** A deleted task keeps its fields, so that it can come back as it was. */
export type TaskState =
  | { readonly existence: 'absent' }
  | {
      readonly existence: 'live' | 'deleted'
      readonly user_id: number
      readonly fields: TaskFields
      readonly photos: readonly Photo[]
    }

export type TaskCommand =
  | { readonly type: 'CreateTask'; readonly actor_id: number; readonly fields: TaskFields }
  | {
      readonly type: 'ChangeTask'
      readonly actor_id: number
      readonly changes: Partial<TaskFields>
    }
  /** The bytes are there, and are what was promised. */
  | { readonly type: 'AddPhoto'; readonly actor_id: number; readonly photo: Photo }
  | { readonly type: 'RemovePhoto'; readonly actor_id: number; readonly id: string }
  /** One that was added before. */
  | { readonly type: 'RestorePhoto'; readonly actor_id: number; readonly photo: Photo }
  | { readonly type: 'DeleteTask'; readonly actor_id: number }
  | { readonly type: 'RestoreTask'; readonly actor_id: number }
  /** An undo or redo: sets these values, which undoes these versions. */
  | {
      readonly type: 'RevertChange'
      readonly actor_id: number
      readonly undoes: readonly number[]
      readonly values: Partial<FieldValues>
    }

/** What the stream's history makes a `RevertChange` of. */
export type UndoCommand =
  /**
   * Undoes what was decided together with the event of this version. Without a version: the latest change
   * that is not undone, as the command loaded it, whatever others have written since.
   */
  | { readonly type: 'UndoTask'; readonly actor_id: number; readonly version: number | undefined }
  /** Reverts the latest undo that no change has followed, as the command loaded it. */
  | { readonly type: 'RedoTask'; readonly actor_id: number }

const DELETED: TaskEvent = { type: 'TaskDeleted', data: {} }
const RESTORED: TaskEvent = { type: 'TaskRestored', data: {} }

export const task: Decider<TaskState, TaskCommand, TaskEvent> = {
  initialState: { existence: 'absent' },

  decide(command, state) {
    switch (command.type) {
      case 'CreateTask':
        return create(command.actor_id, command.fields, state)
      case 'ChangeTask':
        return change(command.changes, ownTask(command.actor_id, state).fields)
      case 'AddPhoto':
        return withPhoto('PhotoAdded', command.photo, ownTask(command.actor_id, state).photos)
      case 'RestorePhoto':
        return withPhoto('PhotoRestored', command.photo, ownTask(command.actor_id, state).photos)
      case 'RemovePhoto':
        return withoutPhoto(command.id, ownTask(command.actor_id, state).photos)
      case 'DeleteTask':
        ownTask(command.actor_id, state)
        return [DELETED]
      case 'RestoreTask':
        return ownStream(command.actor_id, state).existence === 'live' ? [] : [RESTORED]
      case 'RevertChange':
        return revert(command.undoes, command.values, ownStream(command.actor_id, state))
    }
  },
}

/** The state that the read table's row tells. */
export function stateOfRow(row: TaskView | null): TaskState {
  if (row === null) return task.initialState
  const { user_id, title, description, status, priority, due_date, photos } = row
  return {
    existence: row.deleted_at === null ? 'live' : 'deleted',
    user_id,
    fields: { title, description, status, priority, due_date },
    photos,
  }
}

/** What an undo or redo takes back, decided first on version `loaded` and now on version `end`. */
export function* takenBy(
  command: UndoCommand,
  state: TaskState,
  { loaded, end }: { readonly loaded: number; readonly end: number },
): Walk<Taken> {
  ownStream(command.actor_id, state)
  return yield* undoHistory(end).take(yield* versionMeant(command, loaded))
}

function* versionMeant(command: UndoCommand, loaded: number): Walk<number> {
  const { nextUndo, nextRedo } = undoHistory(loaded)
  switch (command.type) {
    case 'UndoTask':
      return command.version ?? (yield* nextUndo()) ?? refuse('nothing_to_undo')
    case 'RedoTask':
      return (yield* nextRedo()) ?? refuse('nothing_to_redo')
  }
}

function refuse(code: DomainErrorCode): never {
  throw new DomainError(code)
}

type Existing = Exclude<TaskState, { existence: 'absent' }>

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

/** A repeated request yields none. */
function withPhoto(
  type: 'PhotoAdded' | 'PhotoRestored',
  photo: Photo,
  now: readonly Photo[],
): readonly TaskEvent[] {
  if (isIn(now, photo.id)) return []
  if (now.length >= MOST_PHOTOS) throw new DomainError('too_many_photos')
  return [{ type, data: { photos: [...now, photo] } }]
}

function withoutPhoto(id: string, now: readonly Photo[]): readonly TaskEvent[] {
  if (!isIn(now, id)) throw new DomainError('photo_not_found')
  return [{ type: 'PhotoRemoved', data: { photos: now.filter((photo) => photo.id !== id) } }]
}

function revert(
  undoes: readonly number[],
  { deleted, photos, ...fields }: Partial<FieldValues>,
  state: Existing,
): readonly TaskEvent[] {
  const events = [
    ...(deleted === false ? [RESTORED] : []),
    ...change(fields as Partial<TaskFields>, state.fields),
    ...(photos === undefined ? [] : photosTo(state.photos, photos as readonly Photo[])),
    ...(deleted === true ? [DELETED] : []),
  ]
  return events.map((event) => ({ ...event, data: { ...event.data, undoes } }) as TaskEvent)
}
