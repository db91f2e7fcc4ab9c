import { type FieldValues, NO_FIELD_VALUES, trackChanges } from '../domain/task/changes.ts'
import { readTaskEvent, type TaskEvent, undoesOf } from '../domain/task/events.ts'
import { type TaskView, taskIdOf, taskStreamId } from '../domain/task/view.ts'
import type { AuditEvent } from './ports/audit.ts'
import type { EventStore, Recorded, StreamPlace } from './ports/event-store.ts'

/** A page of a task's events, each with the values before it. Reads those and a few more. */
export async function historyPage(
  store: EventStore<TaskEvent, TaskView>,
  id: number,
  place: StreamPlace,
  limit: number,
): Promise<{ readonly events: readonly AuditEvent[]; readonly more: boolean }> {
  const stream_id = taskStreamId(id)
  const { events, more } = await store.page(stream_id, place, limit)
  const isForth = 'after' in place
  const rising = isForth ? events : events.toReversed()
  const first = rising.at(0)?.version ?? 1
  const shown = historyOf(rising, valuesOf(await store.inForce(stream_id, first - 1)))
  return { events: isForth ? shown : shown.toReversed(), more }
}

/** Of the events in force at a version: the values then. */
export const valuesOf = (events: readonly Recorded<TaskEvent>[]): FieldValues | null =>
  events.reduce<FieldValues | null>(
    (values, event) => (isUnknown(values, event) ? null : trackChanges(values, event).values),
    NO_FIELD_VALUES,
  )

/** A task does not exist for this version if a newer one created it in an unknown way. */
const isUnknown = (values: FieldValues | null, event: Recorded<TaskEvent>): boolean =>
  values === null && readTaskEvent(event) === null

/** A task's events from the first on, or from where it had `values`, each with the values before it. */
export function historyOf(
  events: readonly Recorded<TaskEvent>[],
  values = NO_FIELD_VALUES,
): readonly AuditEvent[] {
  let before = values
  return events.flatMap((event) => {
    if (isUnknown(before, event)) return []
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
