import type { EventStore, Quotas } from '../../../app/ports/event-store.ts'
import type { Database } from '../connection/database.ts'
import { appends } from './appends.ts'
import { logReads } from './log-reads.ts'
import { presents } from './present.ts'
import { streamReads } from './stream-reads.ts'

type Shape = { readonly type: string; readonly data: unknown }

/** The event store on PostgreSQL. Events are read from `log`, which shows all that `db` has committed. */
export function postgresEventStore<Event extends Shape, Row extends object>(
  db: Database,
  quotas: Quotas | null = null,
  log = db,
): EventStore<Event, Row> {
  return {
    ...streamReads<Event, Row>(log),
    ...logReads<Event, Row>(log, db),
    present: presents<Row>(db),
    append: appends<Event, Row>(db, quotas),
  }
}
