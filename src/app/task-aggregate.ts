import { readTaskEvent, TASK_EVENT_SCHEMA_VERSION, type TaskEvent } from '../domain/task/events.ts'
import {
  stateOfRow,
  type TaskCommand,
  type TaskState,
  task,
  type UndoCommand,
} from '../domain/task/task.ts'
import { type TaskView, viewTask } from '../domain/task/view.ts'
import type { Aggregate } from './handle-command.ts'
import { reverted } from './undo.ts'

/** What clients ask for. */
export type TaskRequest = Exclude<TaskCommand, { type: 'RevertChange' }> | UndoCommand

export const taskAggregate: Aggregate<TaskState, TaskRequest, TaskCommand, TaskEvent, TaskView> = {
  stream_type: 'task',
  schema_version: TASK_EVENT_SCHEMA_VERSION,
  decider: task,
  view: viewTask,
  stateOf: stateOfRow,
  begins: ({ type }) => type === 'CreateTask',
  commandOf: (store, stream_id, request, state, versions) => {
    switch (request.type) {
      case 'UndoTask':
      case 'RedoTask':
        return reverted(store, stream_id, request, state, versions)
      default:
        return request
    }
  },
  knows: (event) => readTaskEvent({ ...event, data: {} }) !== null,
}
