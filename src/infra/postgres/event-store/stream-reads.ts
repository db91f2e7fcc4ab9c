import type {
  EventOutline,
  EventStore,
  Recorded,
  SummaryInForce,
} from '../../../app/ports/event-store.ts'
import { SETTERS } from '../../../domain/task/changes.ts'
import { TASK_EVENT_SCHEMA_VERSION, TASK_EVENT_TYPES } from '../../../domain/task/events.ts'
import type { Database } from '../connection/database.ts'
import { bisect } from './by-time.ts'
import { EVENT_COLUMNS as COLUMNS, SUMMARY_COLUMNS } from './event-columns.ts'
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

const literals = (rows: readonly (readonly string[])[]): string =>
  rows.map((row) => `(${row.map((value) => `'${value}'`).join(', ')})`).join(', ')

const SETTER_ROWS = Object.entries(SETTERS).flatMap(([field, types]) =>
  types.map((type) => [field, type]),
)

// A field that was set long ago is found by the index events_set_late (db/migrations/…_events.ts), which has
// the versions above 200; the others are few. What a newer version wrote sets nothing that this one knows.
const versionsInForce = (stream_id: string, version: string): string => `array(
  with set_last (type, version) as (
    select type, max(version) from events
      where stream_id = ${stream_id} and version <= least(${version}, 200)
        and schema_version <= ${TASK_EVENT_SCHEMA_VERSION}
      group by type
    union all
    select type, (
        select max(version) from events
          where stream_id = ${stream_id} and type = late.type and version > 200 and version <= ${version}
            and schema_version <= ${TASK_EVENT_SCHEMA_VERSION})
      from (values ${literals(TASK_EVENT_TYPES.map((type) => [type]))}) late (type))
  select max(set_last.version) from set_last
    join (values ${literals(SETTER_ROWS)}) setters (field, type) using (type) group by field
  union select 1
  union select max(version) from events where stream_id = ${stream_id} and version <= ${version})`

const IN_FORCE = {
  name: 'in_force',
  text: `
    select ${COLUMNS} from events
    where stream_id = $1 and version <= $2 and version = any (${versionsInForce('$1', '$2')})
    order by version`,
}

const SUMMARIES_IN_FORCE = {
  name: 'summaries_in_force',
  text: `
    select events.*, as_of
    from unnest($1::text[], $2::bigint[]) wanted (stream_id, as_of),
      lateral (select ${versionsInForce('wanted.stream_id', 'as_of')} as versions) in_force,
      lateral (
        select ${SUMMARY_COLUMNS} from events
          where stream_id = wanted.stream_id and version = any (versions)) events
    order by position`,
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
  'page' | 'outlines' | 'inForce' | 'summariesInForce' | 'versionAt'
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

    summariesInForce: (places) =>
      db.query<SummaryInForce<Event>>(SUMMARIES_IN_FORCE, [
        places.map(({ stream_id }) => stream_id),
        places.map(({ version }) => version),
      ]),

    inForce: (stream_id, version) => db.query<Recorded<Event>>(IN_FORCE, [stream_id, version]),

    async versionAt(stream_id, time) {
      const [found] = await db.query<{ version: number }>(VERSION_AT, [stream_id, time])
      return found?.version ?? 0
    },
  }
}
