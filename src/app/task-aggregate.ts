import { readTaskEvent, TASK_EVENT_SCHEMA_VERSION, type TaskEvent } from '../domain/task/events.ts'
import { type TaskCommand, type TaskState, task } from '../domain/task/task.ts'
import { type TaskView, viewTask } from '../domain/task/view.ts'
import type { Aggregate } from './handle-command.ts'

export const taskAggregate: Aggregate<TaskState, TaskCommand, TaskEvent, TaskView> = {
  stream_type: 'task',
  schema_version: TASK_EVENT_SCHEMA_VERSION,
  decider: task,
  view: viewTask,
  knows: (event) => readTaskEvent(event) !== null,
}
