import { historyOf } from '../../src/app/history.ts'
import type { AuditEvent } from '../../src/app/ports/audit.ts'
import type { Recorded } from '../../src/app/ports/event-store.ts'
import type { TaskEvent } from '../../src/domain/task/events.ts'

/** The histories of several tasks, each from its first event on; ordered by position. */
export const historiesOf = (events: readonly Recorded<TaskEvent>[]): readonly AuditEvent[] =>
  [...Map.groupBy(events, ({ stream_id }) => stream_id).values()]
    .flatMap((of) => historyOf(of))
    .toSorted((a, b) => a.position - b.position)
