import type { TaskEvent } from '../domain/task/events.ts'
import { isTaskStream, type TaskView } from '../domain/task/view.ts'
import { historiesOf } from './history.ts'
import type { AuditEvent, EventStore } from './ports.ts'

export type TaskChanges = (
  actor_id: number,
  after: number,
  limit: number,
) => Promise<readonly AuditEvent[]>

/**
 * A user's changes in log order after a position; whoever goes on from the last one skips none. Error:
 * `database_unavailable`.
 */
export function taskChanges(store: EventStore<TaskEvent, TaskView>): TaskChanges {
  return async (actor_id, after, limit) => {
    const found = await store.readOfActor(actor_id, after, limit)
    // What happened to the user is no change of a task; nothing of the user's follows it.
    const page = found.filter(({ stream_id }) => isTaskStream(stream_id))
    if (page.length === 0) return []
    const wanted = new Set(page.map(({ position }) => position))
    const events = await store.loadAll([...new Set(page.map(({ stream_id }) => stream_id))])
    return historiesOf(events).filter(({ position }) => wanted.has(position))
  }
}
