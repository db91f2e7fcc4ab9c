import { LRUCache } from 'lru-cache'
import {
  type Changes,
  type FieldValues,
  NO_FIELD_VALUES,
  trackChanges,
} from '../../../domain/task/changes.ts'
import type { TaskEvent } from '../../../domain/task/events.ts'
import {
  changesOfUser,
  isUserStreamId,
  type UserChanges,
  type UserEvent,
  userId,
} from '../../../domain/user.ts'
import {
  BadEvent,
  type LogEvent,
  type Projection,
  requireKnown,
} from '../projections/projection.ts'

/** The names of its tables: the live ones, or those of a rebuild. */
export type AuditTables = {
  readonly events: string
  readonly facts: string
  readonly usage: string
}

const AUDIT_TABLES: AuditTables = {
  events: 'audit_events',
  facts: 'audit_facts',
  usage: 'user_usage',
}

// Size of the cache of field values, encrypted texts included.
const KEPT_BYTES = 8_000_000
/** Of an entry, besides its values. */
const OVERHEAD = 400

// What the log says of an event is copied inside the database, not sent back and forth.
const addEvents = ({ events }: AuditTables) => ({
  name: `add_to_${events}`,
  text: `
    insert into ${events} (position, task_id, user_id, version, type, actor_id, occurred_at,
        recorded_at, request_id, changes, undoes, hash)
      select e.position,
        case when e.stream_id like 'task-%' then substr(e.stream_id, 6)::bigint end,
        row.user_id, e.version, e.type, e.actor_id, e.occurred_at, e.recorded_at,
        e.metadata->>'request_id', row.changes,
        case when e.data ? 'undoes' then (
          select array_agg(undone::bigint order by n)
          from jsonb_array_elements_text(e.data->'undoes') with ordinality as u (undone, n)) end,
        e.hash
      from jsonb_to_recordset($1) as row (position bigint, user_id bigint, changes jsonb)
        join events e on e.position = row.position`,
})

const setFacts = ({ facts }: AuditTables) => ({
  name: `set_${facts}`,
  text: `
    insert into ${facts} (stream_id, facts)
      select * from jsonb_to_recordset($1) as row (stream_id text, facts jsonb)
      on conflict (stream_id) do update set facts = excluded.facts`,
})

const findFacts = ({ facts }: AuditTables) => ({
  name: `find_${facts}`,
  text: `select stream_id, facts from ${facts} where stream_id = any ($1)`,
})

// An event counts as what it says, and 1 KiB for itself: about what it takes in all tables and indexes when it
// says nothing.
const addUsage = ({ usage }: AuditTables) => ({
  name: `add_to_${usage}`,
  text: `
    insert into ${usage} as so_far (user_id, tasks, bytes)
      select row.user_id,
        count(*) filter (where e.type in ('TaskCreated', 'TaskRestored'))
          - count(*) filter (where e.type = 'TaskDeleted'),
        sum(1024 + octet_length(e.data::text))
      from jsonb_to_recordset($1) as row (position bigint, user_id bigint)
        join events e on e.position = row.position
      group by row.user_id order by row.user_id
      on conflict (user_id) do update set
        tasks = so_far.tasks + excluded.tasks, bytes = so_far.bytes + excluded.bytes`,
})

type Kept = { readonly facts: FieldValues; readonly json: string }

/** One row per event, with the values before it; and how much each user has stored. */
export function auditProjection(tables: AuditTables = AUDIT_TABLES): Projection {
  const [ADD_EVENTS, ADD_USAGE, SET_FACTS, FIND_FACTS] = [
    addEvents(tables),
    addUsage(tables),
    setFacts(tables),
    findFacts(tables),
  ]

  return {
    name: 'audit',
    begin(read) {
      const kept = new LRUCache<string, Kept>({
        maxSize: KEPT_BYTES,
        sizeCalculation: ({ json }) => json.length + OVERHEAD,
      })
      // Of the last batch, which may not be visible yet; the one before it is committed.
      let pending = new Map<string, Kept>()
      const known = (stream_id: string) => pending.get(stream_id) ?? kept.get(stream_id)

      const factsBefore = async (
        events: readonly LogEvent[],
      ): Promise<Map<string, FieldValues>> => {
        const before = new Map<string, FieldValues>()
        const missing = new Set<string>()
        for (const { stream_id, version } of events) {
          if (before.has(stream_id) || isUserStreamId(stream_id) || version === 1) continue
          const found = known(stream_id)
          if (found === undefined) missing.add(stream_id)
          else before.set(stream_id, found.facts)
        }
        if (missing.size === 0) return before
        const rows = await read<{ stream_id: string; facts: FieldValues }>(FIND_FACTS, [
          [...missing],
        ])
        for (const { stream_id, facts } of rows) before.set(stream_id, facts)
        return before
      }

      return {
        async project(events) {
          const { rows, facts } = audit(events, await factsBefore(events))
          for (const [stream_id, value] of pending) kept.set(stream_id, value)
          pending = new Map()
          const lines: string[] = []
          for (const [stream_id, value] of facts) {
            const json = JSON.stringify(value)
            pending.set(stream_id, { facts: value, json })
            lines.push(`{"stream_id":${JSON.stringify(stream_id)},"facts":${json}}`)
          }
          const set = { statement: SET_FACTS, values: [`[${lines.join(',')}]`] }
          const values = [JSON.stringify(rows)]
          const add = [ADD_EVENTS, ADD_USAGE].map((statement) => ({ statement, values }))
          return lines.length === 0 ? add : [...add, set]
        },
      }
    },
  }
}

type NewAuditRow = {
  readonly position: number
  readonly user_id: number
  readonly changes: Changes & UserChanges
}

/** The rows of events in log order, and their streams' values after them. Error: `BadEvent`. */
function audit(
  events: readonly LogEvent[],
  before: ReadonlyMap<string, FieldValues>,
): { readonly rows: readonly NewAuditRow[]; readonly facts: ReadonlyMap<string, FieldValues> } {
  const facts = new Map<string, FieldValues>()
  const rows = events.map((event): NewAuditRow => {
    const { position, stream_id } = event
    try {
      requireKnown(event)
      if (isUserStreamId(stream_id)) {
        const changes = changesOfUser(event as UserEvent)
        return { position, user_id: userId(stream_id), changes }
      }
      const soFar = facts.get(stream_id) ?? before.get(stream_id) ?? NO_FIELD_VALUES
      const next = trackChanges(soFar, event as TaskEvent)
      facts.set(stream_id, next.values)
      return { position, user_id: next.values.user_id, changes: next.changes }
    } catch (error) {
      throw new BadEvent(event, error)
    }
  })
  return { rows, facts }
}
