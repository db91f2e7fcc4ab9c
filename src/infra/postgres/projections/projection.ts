import type pg from 'pg'
import { readTaskEvent, type TaskEvent } from '../../../domain/task/events.ts'
import { type EventEnvelope, isTaskStreamId } from '../../../domain/task/view.ts'
import { isKnownUserEvent, type UserEvent } from '../../../domain/user.ts'
import type { Statement } from '../connection/database.ts'

/** One statement in its own transaction, or in the one that its connection has open. */
export type Query = <Row extends pg.QueryResultRow>(
  statement: Statement,
  values: readonly unknown[],
) => Promise<Row[]>

/** What a projection reads of an event, its texts encrypted. It can take the rest from the log. */
export type LogEvent = (TaskEvent | UserEvent) &
  Pick<EventEnvelope, 'stream_id' | 'version'> & {
    readonly position: number
    readonly schema_version: number
  }

export type Write = { readonly statement: Statement; readonly values: readonly unknown[] }

/** A view that the worker updates from the log. */
export type Projection = {
  /** Its row in `projections`. */
  readonly name: string
  /** Begins at the checkpoint, with nothing in memory. `read` sees what has been committed. */
  readonly begin: (read: Query) => Projecting
}

export type Projecting = {
  /**
   * The next events as statements for one transaction. Called for a batch while the one before it is still
   * being written, but never further ahead. Error: `BadEvent`, for the first event that it cannot process;
   * then the call has had no effect, and can be repeated for the others.
   */
  readonly project: (events: readonly LogEvent[]) => Promise<readonly Write[]>
}

/** An event that a projection cannot process, however often it is tried. */
export class BadEvent extends Error {
  readonly place: EventLocation
  constructor({ position, stream_id, version }: EventLocation, cause: unknown) {
    const why = cause instanceof Error ? cause.message : String(cause)
    super(`event ${version} of ${stream_id} (position ${position}): ${why}`, { cause })
    this.place = { position, stream_id, version }
  }
}

/** An event's place; none of its contents. */
export type EventLocation = Pick<LogEvent, 'position' | 'stream_id' | 'version'>

export type TypedEvent = Pick<LogEvent, 'stream_id' | 'type' | 'schema_version'>

/** Whether this version knows the event; if not, a newer version wrote it. */
export const isKnown = (event: TypedEvent): boolean =>
  isTaskStreamId(event.stream_id)
    ? readTaskEvent({ ...event, data: {} }) !== null
    : isKnownUserEvent(event)

/** Parks a stream only until a version comes that knows its event. */
export const NOT_KNOWN = 'this version does not know'

export function requireKnown(event: TypedEvent): void {
  const { type, schema_version } = event
  if (!isKnown(event)) throw new Error(`${NOT_KNOWN} ${type} of schema version ${schema_version}`)
}
