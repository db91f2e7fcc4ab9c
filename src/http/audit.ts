import { Readable } from 'node:stream'
import type { Context } from 'koa'
import { z } from 'zod'
import type { AuditExport, ExportAudit } from '../app/audit-export.ts'
import type { AuditCount, AuditFacets, AuditQuery, AuditTrail } from '../app/ports/audit.ts'
import type { Caller } from '../app/ports/authorization.ts'
import type { Clock } from '../app/ports/process.ts'
import { type RecordAccess, visibleUser } from './audit-access.ts'
import { csv, type Format, ndjson } from './audit-formats.ts'
import * as schema from './audit-schemas.ts'
import type { Recheck } from './authenticate.ts'
import { negotiate } from './content-types.ts'
import { readCursor, writeCursor } from './cursors.ts'
import type { Endpoint, routes } from './endpoint.ts'
import { type Fault, HttpError } from './errors.ts'
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
  /** Records that the caller viewed the trail, or exported it. */
  readonly look: RecordAccess
  readonly copy: RecordAccess
  /** How often a user may ask for an export. */
  readonly limit: RateLimit
  readonly clock: Clock
  /** Throws if the caller has lost the right to see the events. */
  readonly recheck: Recheck
  /** How long an export may run before it is cut off. @default an hour */
  readonly longestExportMs?: number
  /** How long a client may read more slowly than required. @default 30 s */
  readonly graceMs?: number
}

const PAGE_SIZE = 50
const EXPORTS_OF_USERS = 2
const EXPORTS_OF_AUDITORS = 2
const EXPORT_WAIT_MS = 1_000
const LONGEST_EXPORT_MS = 3_600_000
const PAGES_AT_ONCE = 6
const PAGE_WAIT_MS = 1_000
/** Bytes a second: a client that reads an export more slowly holds its place for too long. */
const SLOWEST = 32 * 1024
/** Milliseconds in all that it may be slower, or read nothing. */
const GRACE_MS = 30_000

type Query = z.output<z.ZodObject<typeof schema.auditQuery>>

export function auditRoutes(on: ReturnType<typeof routes>, dependencies: AuditRoutes): void {
  const { trail, look, limit, facets: count } = dependencies
  const send = sendExport(dependencies)
  // A query may take as long as the database allows, and few connections serve everybody.
  const enter = places({ all: PAGES_AT_ONCE, ms: PAGE_WAIT_MS, retryAfter: 1 })

  on(findEvents, async ({ query }, ctx, caller) => {
    const exporting = exportType(ctx)
    refuse(faultsIn(query, exporting !== null))
    const { order = 'desc', limit = PAGE_SIZE, cursor, ...conditions } = query
    const wanted = { user_id: visibleUser(caller), ...conditions }
    if (exporting !== null) return send(ctx, caller, exporting, wanted)

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
    refuse(faultsIn(query, false))
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

const EXPORTS = {
  'application/x-ndjson': { extension: 'ndjson', format: ndjson },
  'text/csv': { extension: 'csv', format: csv },
} as const satisfies Record<string, { readonly extension: string; readonly format: Format }>

type ExportType = keyof typeof EXPORTS
const EXPORT_TYPES = Object.keys(EXPORTS) as ExportType[]

/** Null: a page. */
function exportType(ctx: Context): ExportType | null {
  const wanted = negotiate(ctx, ['application/json', ...EXPORT_TYPES])
  return wanted === 'application/json' ? null : wanted
}

function faultsIn(
  { from, to, limit, cursor, order }: Partial<Query>,
  isExport: boolean,
): readonly Fault[] {
  const faults: Fault[] = []
  if (from !== undefined && to !== undefined && from > to) {
    faults.push({ field: 'from', message: 'from must not be later than to' })
  }
  if (!isExport) return faults
  for (const [field, given] of Object.entries({ limit, cursor })) {
    if (given === undefined) continue
    faults.push({ field, message: `${field} is not allowed for an export, which holds all events` })
  }
  if (order === 'desc') {
    faults.push({ field: 'order', message: 'order must be asc for an export' })
  }
  return faults
}

function refuse(faults: readonly Fault[]): void {
  if (faults.length > 0) throw new HttpError('validation_failed', { faults })
}

function sendExport(dependencies: AuditRoutes) {
  const { trail, exportAudit, copy, limit, clock, recheck } = dependencies
  const { longestExportMs = LONGEST_EXPORT_MS, graceMs = GRACE_MS } = dependencies
  const enter = exportPlaces()

  return async (ctx: Context, caller: Caller, type: ExportType, wanted: AuditQuery) => {
    const { extension, format } = EXPORTS[type]
    await limit(ctx, String(caller.user_id))
    const describe = (exported: Reached, exported_at: string) => {
      tellReached(ctx, exported)
      const moment = exported_at.replace(/[-:]|\.\d+/g, '')
      ctx.attachment(`tasktrail-audit-${moment}.${extension}`)
      ctx.status = 200
      ctx.type = type
    }
    // Makes no copy: nothing is read, and nothing is recorded.
    if (ctx.method === 'HEAD') return describe(await trail.read(wanted), clock().toISOString())
    const leave = await enter(caller)
    try {
      await copy(ctx, caller, { ...given(wanted), format: extension })
      const exported = await exportAudit(wanted)
      const exported_at = clock().toISOString()
      const facts = { exported_at, exported_by: caller.user_id, query: given(wanted) }
      const check = () => recheck(ctx, caller)
      const { batches, lines } = exported
      const seen = { batches: checked(batches, check), lines: checked(lines, check) }
      const pieces = format({ ...exported, ...seen }, facts)
      // Reads only as fast as the client does. An error midway breaks the connection, so that it shows.
      const signal = AbortSignal.timeout(longestExportMs)
      const taken = paced(pieces, () => ctx.res.destroy(), graceMs)
      const body = Readable.from(taken, { objectMode: false, signal }).once('close', leave)
      describe(exported, exported_at)
      ctx.body = body
    } catch (error) {
      leave()
      throw error
    }
  }
}

/** One for each user, out of few in all; some are reserved for auditors. */
function exportPlaces() {
  const refusal = new HttpError('export_under_way', { retryAfter: 10 })
  const few = { ms: EXPORT_WAIT_MS, refusal, retryAfter: 5 }
  const users = places({ ...few, all: EXPORTS_OF_USERS })
  const auditors = places({ ...few, all: EXPORTS_OF_AUDITORS })
  return (caller: Caller) => (visibleUser(caller) === null ? auditors : users)(caller.user_id)
}

/** The pieces, while the client reads fast enough; otherwise it is cut off. */
async function* paced(pieces: AsyncIterable<string>, cutOff: () => void, grace: number) {
  let credit = grace
  for await (const piece of pieces) {
    credit = Math.min(grace, credit + (piece.length / SLOWEST) * 1000)
    const began = performance.now()
    const late = setTimeout(cutOff, credit)
    try {
      yield piece
    } finally {
      clearTimeout(late)
    }
    credit -= performance.now() - began
  }
}

/** The same batches; before each one the right to see it is checked again. */
async function* checked<T>(batches: AsyncIterable<T>, check: () => Promise<void>) {
  for await (const batch of batches) {
    await check()
    yield batch
  }
}

type Reached = Pick<AuditExport, 'position' | 'parked'>

/** Says how far the trail had got, and whether it has all events up to there. */
function tellReached(ctx: Context, { position, parked }: Reached) {
  ctx.set('Audit-Position', String(position))
  if (parked.length > 0) ctx.set('Audit-Incomplete', String(parked.length))
}

/** The conditions that are set. */
const given = (query: AuditQuery): object =>
  Object.fromEntries(
    Object.entries(query).filter(([, value]) => value !== undefined && value !== null),
  )
