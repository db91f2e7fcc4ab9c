import type { EventOutline, EventStore, Recorded } from '../../../app/ports/event-store.ts'
import { SETTERS } from '../../../domain/task/changes.ts'
import { TASK_EVENT_SCHEMA_VERSION } from '../../../domain/task/events.ts'
import type { Database } from '../connection/database.ts'
import { bisect } from './by-time.ts'
import { EVENT_COLUMNS as COLUMNS } from './event-columns.ts'
import { type Measured, unmeasured, withinBytes } from './within-bytes.ts'

const PAGE_BYTES = 1_048_576

// One more than asked for shows whether there are others.
const PAGE_AFTER = {
  name: 'stream_page_after',
  text: withinBytes(PAGE_BYTES, { measured: 'data', order: 'version' })(`
    select ${COLUMNS} from events
    where stream_id = $1 and version > $2 order by version limit $3 + 1`),
}

const PAGE_BEFORE = {
  name: 'stream_page_before',
  text: withinBytes(PAGE_BYTES, { measured: 'data', order: 'version desc' })(`
    select ${COLUMNS} from events
    where stream_id = $1 and version < $2 order by version desc limit $3 + 1`),
}

const OUTLINES = {
  name: 'stream_outlines',
  text: `
    select version, type, schema_version, metadata->>'causation_id' as causation_id,
      data->'undoes' as undoes
    from events where stream_id = $1 and version <= $2 order by version desc limit $3`,
}

const lastVersion = (condition: string) => `(
  select version from events
  where stream_id = $1 and version <= $2 and ${condition} order by version desc limit 1)`

// What a newer version wrote sets nothing that this one knows.
const SET_LAST = Object.values(SETTERS).map((types) =>
  lastVersion(`
    schema_version <= ${TASK_EVENT_SCHEMA_VERSION}
    and type in (${types.map((type) => `'${type}'`).join(', ')})`),
)

const IN_FORCE = {
  name: 'in_force',
  text: `
    select ${COLUMNS} from events
    where stream_id = $1 and version <= $2
      and version in (1, ${[lastVersion('true'), ...SET_LAST].join(', ')})
    order by version`,
}

// Within a stream times never go backwards.
const VERSION_AT = {
  name: 'version_at',
  text: `select ${bisect('low', {
    rows: '(select version as position, recorded_at from events where stream_id = $1) e where true',
    end: '(select coalesce(max(version), 0) + 1 from events where stream_id = $1)',
    time: "$2::timestamptz + interval '1 millisecond'",
  })} as version`,
}

type StreamReads<Event, Row> = Pick<
  EventStore<Event, Row>,
  'page' | 'outlines' | 'inForce' | 'versionAt'
>

/** What the event store reads of one stream. */
export function streamReads<Event, Row>(db: Database): StreamReads<Event, Row> {
  return {
    async page(stream_id, place, limit) {
      const [statement, from] =
        'after' in place ? [PAGE_AFTER, place.after] : [PAGE_BEFORE, place.before]
      const rows = await db.query<Measured<Recorded<Event>>>(statement, [stream_id, from, limit])
      const events = rows.slice(0, limit).map(unmeasured)
      return { events, more: (rows[0]?.found ?? 0) > events.length }
    },

    outlines: (stream_id, upTo, limit) =>
      db.query<EventOutline>(OUTLINES, [stream_id, upTo, limit]),

    inForce: (stream_id, version) => db.query<Recorded<Event>>(IN_FORCE, [stream_id, version]),

    async versionAt(stream_id, time) {
      const [found] = await db.query<{ version: number }>(VERSION_AT, [stream_id, time])
      return found?.version ?? 0
    },
  }
}
