import { z } from 'zod'
import type { ExportAudit } from '../app/audit-export.ts'
import type { AuditCount, AuditFacets, AuditQuery, AuditTrail } from '../app/ports/audit.ts'
import { type RecordAccess, visibleUser } from './audit-access.ts'
import {
  type ExportSource,
  exportType,
  given,
  type SendExport,
  tellReached,
} from './audit-exports.ts'
import { csv, type ExportFacts, ndjson } from './audit-formats.ts'
import { refusePage } from './audit-pages.ts'
import * as schema from './audit-schemas.ts'
import { readCursor, writeCursor } from './cursors.ts'
import type { Endpoint, routes } from './endpoint.ts'
import { checked } from './long-answers.ts'
import { inPlace, places } from './places.ts'
import type { RateLimit } from './rate-limit.ts'

/** How far the trail had got. */
const REACHED = {
  'Audit-Position': 'Events up to this position are in the answer; later ones may be missing',
  'Audit-Incomplete':
    'How many parked streams, of those that the caller may see, lack events up to there; ' +
    'absent if there are none',
}

const findEvents = {
  method: 'get',
  path: '/audit/events',
  summary: 'Who did what when, from what to what',
  description:
    "Events of the caller's own tasks; for the roles auditor and admin, of everybody's. Their " +
    'calls, and all exports, are recorded. A page ends early once its texts fill 1 MiB. The trail ' +
    'is slightly behind the log: Audit-Position says how far it had got. A stream with an event ' +
    'that the trail could not process is parked: its events from there on are missing until it is ' +
    'resumed, and Audit-Incomplete says so.\n\n' +
    'With Accept: application/x-ndjson or text/csv the answer is an export of all matching events, ' +
    'oldest first; limit, cursor and order=desc are not allowed. It is complete only with its last ' +
    'line, the trailer; after an hour it is cut off. A user can run one export at a time on each ' +
    'instance.\n\n' +
    'CSV has a row for each field that an event changed (one row for an event that changed none), ' +
    'in UTF-8 with a byte order mark. An apostrophe precedes whatever a spreadsheet could take for ' +
    'a formula, inside a text too. Near the end is a row "# parked" for each parked stream, with ' +
    'its id and the first missing version. The last row is "# trailer", the number of events, ' +
    'size and root (base64) of the log by its checkpoint, the position up to which the export ' +
    'goes, the time, and the number of parked streams.\n\n' +
    'NDJSON has the events as they are stored, and the keys of their texts, so that it can be ' +
    'verified offline; the trailer names the parked streams, and has a checkpoint of the log. Whoever ' +
    'adds the hashes "before" and the leaf of each line, and "after" of the trailer, to a Merkle tree ' +
    '(RFC 6962) gets the root that the checkpoint signs. An export of everything has a line for each ' +
    'leaf; those that are no events are the digests of accesses and security events. An export ' +
    'waits up to 2 seconds for a checkpoint that covers all of it.',
  access: 'token',
  query: schema.auditQuery,
  answers: {
    200: {
      description: 'A page; next_cursor is null on the last one',
      body: z.strictObject({
        events: z.array(schema.auditEvent),
        next_cursor: z.string().nullable(),
      }),
      others: {
        'application/x-ndjson': schema.exportLine,
        'text/csv': z.string(),
      },
      headers: {
        ...REACHED,
        'Content-Disposition': 'File name of an export',
      },
    },
  },
  errors: ['export_under_way'],
} as const satisfies Endpoint

const facets = {
  method: 'get',
  path: '/audit/facets',
  summary: 'How many events there are, by type and by day',
  description:
    "Of the same events as `/audit/events` with the same conditions: own ones, or everybody's for auditors, whose " +
    'access is recorded.',
  access: 'token',
  query: schema.auditConditions,
  answers: {
    200: {
      description: 'Types by their number, the most frequent first; days in UTC, the latest first',
      body: z.strictObject({
        total: z.int(),
        types: z.array(z.strictObject({ type: z.string(), events: z.int() })),
        days: z.array(z.strictObject({ day: z.iso.date(), events: z.int() })),
      }),
      headers: REACHED,
    },
  },
} as const satisfies Endpoint

export const AUDIT_ENDPOINTS: readonly Endpoint[] = [findEvents, facets] as readonly Endpoint[]

export type AuditRoutes = {
  readonly trail: AuditTrail
  readonly facets: AuditFacets
  readonly exportAudit: ExportAudit
  readonly send: SendExport
  /** How often a user may ask for what is costly. */
  readonly limit: RateLimit
  /** Records that the caller viewed the trail. */
  readonly look: RecordAccess
}

const PAGE_SIZE = 50
const PAGES_AT_ONCE = 6
const PAGE_WAIT_MS = 1_000

export function auditRoutes(on: ReturnType<typeof routes>, dependencies: AuditRoutes): void {
  const { trail, look, limit, send, exportAudit, facets: count } = dependencies
  // A query may take as long as the database allows, and few connections serve everybody.
  const enter = places({ all: PAGES_AT_ONCE, ms: PAGE_WAIT_MS, retryAfter: 1 })

  const source = (wanted: AuditQuery): ExportSource => ({
    name: 'audit',
    of: {},
    query: given(wanted),
    reach: () => trail.read(wanted),
    async open(check) {
      const exported = await exportAudit(wanted)
      const { batches, lines } = exported
      const seen = { batches: checked(batches, check), lines: checked(lines, check) }
      const reading = { ...exported, ...seen }
      const formats = {
        'application/x-ndjson': (facts: ExportFacts) => ndjson(reading, facts),
        'text/csv': (facts: ExportFacts) => csv(reading, facts),
      }
      return { reached: exported, formats }
    },
  })

  on(findEvents, async ({ query }, ctx, caller) => {
    const exporting = exportType(ctx)
    refusePage(query, exporting !== null)
    const { order = 'desc', limit = PAGE_SIZE, cursor, ...conditions } = query
    const wanted = { user_id: visibleUser(caller), ...conditions }
    if (exporting !== null) return send(ctx, caller, exporting, source(wanted))

    const after = readCursor(order, cursor)
    const page = { descending: order === 'desc', limit, after }
    await inPlace(enter, caller.user_id, async () => {
      // Access to one's own events needs no record.
      if (wanted.user_id === null) {
        await look(ctx, caller, { ...given(wanted), order, limit, after })
      }
      const { events, next, ...reached } = await trail.find(wanted, page)
      tellReached(ctx, reached)
      const next_cursor = next === null ? null : writeCursor(order, next)
      ctx.body = { events: events.map(schema.auditEventOf), next_cursor }
    })
  })

  on(facets, async ({ query }, ctx, caller) => {
    refusePage(query, false)
    await limit(ctx, String(caller.user_id))
    const wanted = { user_id: visibleUser(caller), ...query }
    await inPlace(enter, caller.user_id, async () => {
      if (wanted.user_id === null) await look(ctx, caller, { ...given(wanted), facets: true })
      const { counts, ...reached } = await count(wanted)
      tellReached(ctx, reached)
      const events = (some: readonly AuditCount[]) =>
        some.reduce((sum, each) => sum + each.events, 0)
      const by = (key: 'type' | 'day') => [...Map.groupBy(counts, (each) => each[key])]
      const types = by('type').map(([type, some]) => ({ type, events: events(some) }))
      const days = by('day').map(([day, some]) => ({ day, events: events(some) }))
      ctx.body = {
        total: events(counts),
        types: types.toSorted((a, b) => b.events - a.events || (a.type < b.type ? -1 : 1)),
        days: days.toSorted((a, b) => (a.day < b.day ? 1 : -1)),
      }
    })
  })
}
