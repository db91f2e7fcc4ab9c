import { readTaskEvent, TASK_EVENT_SCHEMA_VERSION, type TaskEvent } from '../domain/task/events.ts'
import { stateOfRow, type TaskCommand, type TaskState, task } from '../domain/task/task.ts'
import { type TaskView, viewTask } from '../domain/task/view.ts'
import type { Aggregate } from './handle-command.ts'

export const taskAggregate: Aggregate<TaskState, TaskCommand, TaskEvent, TaskView> = {
  stream_type: 'task',
  schema_version: TASK_EVENT_SCHEMA_VERSION,
  decider: task,
  view: viewTask,
  stateOf: stateOfRow,
  needs: ({ type }) => {
    switch (type) {
      case 'CreateTask':
        return 'nothing'
      case 'ChangeTask':
      case 'DeleteTask':
      case 'RestoreTask':
        return 'row'
      case 'UndoTask':
      case 'RedoTask':
        return 'history'
    }
  },
  knows: (event) => readTaskEvent({ ...event, data: {} }) !== null,
}
