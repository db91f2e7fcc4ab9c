import type { Context } from 'koa'
import { z } from 'zod'
import type {
  AuditRecord,
  AuditRecords,
  RecordsQuery,
  RecordTable,
} from '../app/ports/audit-records.ts'
import type { Caller } from '../app/ports/authorization.ts'
import type { Clock } from '../app/ports/process.ts'
import type { ExportRecords } from '../app/records-export.ts'
import { type RecordAccess, visibleUser } from './audit-access.ts'
import { type ExportSource, exportType, given, type SendExport } from './audit-exports.ts'
import type { ExportFacts } from './audit-formats.ts'
import { type PageQuery, refusePage } from './audit-pages.ts'
import { readCursor, writeCursor } from './cursors.ts'
import type { Endpoint, routes } from './endpoint.ts'
import { HttpError } from './errors.ts'
import { id } from './fields.ts'
import { checked } from './long-answers.ts'
import { inPlace, places } from './places.ts'
import { recordsCsv, recordsNdjson } from './record-formats.ts'
import * as schema from './record-schemas.ts'

const EXPORT =
  '\n\nWith Accept: application/x-ndjson or text/csv the answer is an export of all that match, oldest first, as ' +
  'for `/audit/events`, and under the same limits. NDJSON can be verified offline: each record stands behind ' +
  'the leaf of the log that covers it, with the marks of all that this leaf covers. An export without filters ' +
  'has all leaves of records, which name each other: so it shows that none is missing.'
const PAGES =
  'For auditors, whose access is recorded. By id, as they were recorded. A page looks at 10,000 records at most: it may ' +
  'end early, and only the one without next_cursor is the last. What has expired is not there any more.'

const others = { 'application/x-ndjson': schema.recordsLine, 'text/csv': z.string() }
const next_cursor = z.string().nullable()

const findSecurityEvents = {
  method: 'get',
  path: '/audit/security-events',
  summary: 'What happened to accounts: who signed in, failed to, or was given a role, and by whom',
  description: `${PAGES}${EXPORT}`,
  access: 'token',
  query: schema.securityEventsQuery,
  answers: {
    200: {
      description: 'A page; next_cursor is null on the last one',
      body: z.strictObject({ security_events: z.array(schema.securityEvent), next_cursor }),
      others,
      headers: { 'Content-Disposition': 'File name of an export' },
    },
  },
  errors: ['auditors_only', 'export_under_way'],
} as const satisfies Endpoint

const findAccesses = {
  method: 'get',
  path: '/audit/accesses',
  summary: 'Who looked at what of others, and who exported what',
  description: `${PAGES} The caller’s own access is among them.${EXPORT}`,
  access: 'token',
  query: schema.accessesQuery,
  answers: {
    200: {
      description: 'A page; next_cursor is null on the last one',
      body: z.strictObject({ accesses: z.array(schema.access), next_cursor }),
      others,
      headers: { 'Content-Disposition': 'File name of an export' },
    },
  },
  errors: ['auditors_only', 'export_under_way'],
} as const satisfies Endpoint

const proofOf = <const Path extends string>(path: Path, summary: string) =>
  ({
    method: 'get',
    path,
    summary,
    description:
      'For the user whose it is, and for auditors, whose access is recorded. A file that can be checked without this ' +
      'service: an export of the one record. Just after it was recorded it waits up to 2 seconds for a checkpoint ' +
      'that covers it.',
    access: 'token',
    params: { id },
    answers: {
      200: {
        description: 'The record, the leaf that covers it, and the signed checkpoint',
        type: 'application/x-ndjson',
        body: schema.recordsLine,
        headers: { 'Content-Disposition': 'File name' },
      },
    },
    errors: ['record_not_found', 'proof_not_ready'],
  }) as const satisfies Endpoint

const securityEventProof = proofOf(
  '/audit/security-events/:id/proof',
  'That a security event is in the log',
)
const accessProof = proofOf('/audit/accesses/:id/proof', 'That an access is in the log')

export const AUDIT_RECORD_ENDPOINTS: readonly Endpoint[] = [
  findSecurityEvents,
  findAccesses,
  securityEventProof,
  accessProof,
] as readonly Endpoint[]

export type AuditRecordRoutes = {
  readonly records: AuditRecords
  readonly exportRecords: ExportRecords
  readonly send: SendExport
  /** Records that the caller looked. */
  readonly look: RecordAccess
  readonly clock: Clock
}

const PAGE_SIZE = 50
const PAGES_AT_ONCE = { all: 6, ms: 1_000, retryAfter: 1 }
/** They mostly wait, as those of events do. */
const PROVING = { all: 64, each: 4, waiting: 20, ms: 5_000, retryAfter: 1 }

const NAMES = { security_events: 'security-events', audit_accesses: 'accesses' } as const

/** Who did what with accounts, and who looked at what. */
export function auditRecordRoutes(
  on: ReturnType<typeof routes>,
  dependencies: AuditRecordRoutes,
): void {
  const { records, exportRecords, send, look, clock } = dependencies
  const enter = places(PAGES_AT_ONCE)
  const proving = places(PROVING)

  const source = (table: RecordTable, wanted: RecordsQuery, query: object): ExportSource => ({
    name: NAMES[table],
    of: { records: NAMES[table] },
    query: given(query),
    async open(check) {
      const exported = await exportRecords(table, wanted)
      const { batches, lines } = exported
      const seen = { batches: checked(batches, check), lines: checked(lines, check) }
      const reading = { ...exported, ...seen }
      return {
        formats: {
          'application/x-ndjson': (facts: ExportFacts) => recordsNdjson(reading, facts),
          'text/csv': (facts: ExportFacts) => recordsCsv(reading, facts),
        },
      }
    },
  })

  /** `query`: as it was asked, for the record. */
  async function answer(
    ctx: Context,
    caller: Caller,
    table: RecordTable,
    wanted: RecordsQuery,
    { order = 'desc', limit = PAGE_SIZE, cursor, ...query }: PageQuery,
    show: (records: readonly AuditRecord[]) => object,
  ): Promise<void> {
    if (visibleUser(caller) !== null) throw new HttpError('auditors_only')
    const exporting = exportType(ctx)
    if (exporting !== null) return send(ctx, caller, exporting, source(table, wanted, query))
    const asked = { records: NAMES[table], ...query }
    const after = readCursor(`${table} ${order}`, cursor)
    const page = { descending: order === 'desc', limit, after }
    await inPlace(enter, caller.user_id, async () => {
      await look(ctx, caller, { ...given(asked), order, limit, after })
      const found = await records.find(table, wanted, page)
      const next_cursor = found.next === null ? null : writeCursor(`${table} ${order}`, found.next)
      ctx.body = { ...show(found.records), next_cursor }
    })
  }

  on(findSecurityEvents, async ({ query }, ctx, caller) => {
    refusePage(query, exportType(ctx) !== null)
    const { order, limit, cursor, ...wanted } = query
    await answer(ctx, caller, 'security_events', wanted, query, (found) => {
      return { security_events: found.map(schema.securityEventOf) }
    })
  })

  on(findAccesses, async ({ query }, ctx, caller) => {
    refusePage(query, exportType(ctx) !== null)
    const { order, limit, cursor, kind, ...others } = query
    const wanted = { ...others, type: kind && [kind] }
    await answer(ctx, caller, 'audit_accesses', wanted, query, (found) => {
      return { accesses: found.map(schema.accessOf) }
    })
  })

  /** Error: `proof_not_ready`, if no checkpoint covers it yet. */
  async function prove(table: RecordTable, id: number, caller: Caller): Promise<string> {
    const exported = await exportRecords(table, { id })
    const lines = (await Array.fromAsync(exported.lines)).flat()
    if (lines.every(({ leaf }) => leaf === null)) {
      throw new HttpError('proof_not_ready', { retryAfter: 1 })
    }
    const exported_at = clock().toISOString()
    const facts = { exported_at, exported_by: caller.user_id, query: { id } }
    const pieces = await Array.fromAsync(recordsNdjson({ ...exported, lines: once(lines) }, facts))
    return pieces.join('')
  }

  async function answerProof(ctx: Context, caller: Caller, table: RecordTable, id: number) {
    const page = { descending: false, limit: 1 }
    const [found] = (await records.find(table, { id }, page)).records
    const visible = visibleUser(caller)
    if (found === undefined || (visible !== null && visible !== found.row.user_id)) {
      throw new HttpError('record_not_found')
    }
    const isOwn = found.row.user_id === caller.user_id
    const [file] = await Promise.all([
      inPlace(proving, caller.user_id, () => prove(table, id, caller)),
      isOwn ? null : look(ctx, caller, { records: NAMES[table], id, proof: true }),
    ])
    ctx.attachment(`tasktrail-${NAMES[table]}-${id}.ndjson`)
    ctx.type = 'application/x-ndjson'
    ctx.body = file
  }

  on(securityEventProof, ({ params }, ctx, caller) =>
    answerProof(ctx, caller, 'security_events', params.id),
  )
  on(accessProof, ({ params }, ctx, caller) =>
    answerProof(ctx, caller, 'audit_accesses', params.id),
  )
}

async function* once<T>(value: T): AsyncGenerator<T> {
  yield value
}
