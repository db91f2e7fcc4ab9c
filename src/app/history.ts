import { type FieldValues, NO_FIELD_VALUES, trackChanges } from '../domain/task/changes.ts'
import { readTaskEvent, type TaskEvent, undoesOf } from '../domain/task/events.ts'
import { taskIdOf } from '../domain/task/view.ts'
import type { AuditEvent } from './ports/audit.ts'
import type { Recorded } from './ports/event-store.ts'

/**
 * A task's events from its first one on, each with the values before it. Of a task that a newer version
 * has created in a way that this one does not know it is as if it were not there.
 */
export function historyOf(events: readonly Recorded<TaskEvent>[]): readonly AuditEvent[] {
  let before: FieldValues | null = NO_FIELD_VALUES
  return events.flatMap((event) => {
    if (before === null && readTaskEvent(event) === null) return []
    const { values, changes } = trackChanges(before, event)
    before = values
    const { position, stream_id, version, type, actor_id, occurred_at, recorded_at } = event
    const undoes = undoesOf(event)
    return {
      position,
      task_id: taskIdOf(stream_id),
      user_id: values.user_id,
      version,
      type,
      actor_id,
      occurred_at,
      recorded_at,
      request_id: event.metadata.request_id,
      changes,
      ...(undoes && { undoes }),
      ...(event.erased && { erased: event.erased }),
      ...(event.unreadable && { unreadable: event.unreadable }),
      hash: event.hash,
    }
  })
}

/** The same of several tasks, of each from its first event on; ordered by position. */
export const historiesOf = (events: readonly Recorded<TaskEvent>[]): readonly AuditEvent[] =>
  [...Map.groupBy(events, ({ stream_id }) => stream_id).values()]
    .flatMap(historyOf)
    .toSorted((a, b) => a.position - b.position)
