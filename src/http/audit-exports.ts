import { Readable } from 'node:stream'
import type { Context } from 'koa'
import type { AuditExport, ExportAudit } from '../app/audit-export.ts'
import type { AuditQuery, AuditTrail } from '../app/ports/audit.ts'
import type { Caller } from '../app/ports/authorization.ts'
import type { Clock } from '../app/ports/process.ts'
import type { RecordAccess } from './audit-access.ts'
import { csv, type Format, ndjson } from './audit-formats.ts'
import type { Recheck } from './authenticate.ts'
import { negotiate } from './content-types.ts'
import { checked, exportPlaces, GRACE_MS, LONGEST_EXPORT_MS, paced } from './long-answers.ts'
import type { RateLimit } from './rate-limit.ts'

export type AuditExports = {
  readonly trail: AuditTrail
  readonly exportAudit: ExportAudit
  /** Records that the caller exported the trail. */
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

const EXPORTS = {
  'application/x-ndjson': { extension: 'ndjson', format: ndjson },
  'text/csv': { extension: 'csv', format: csv },
} as const satisfies Record<string, { readonly extension: string; readonly format: Format }>

type ExportType = keyof typeof EXPORTS
const EXPORT_TYPES = Object.keys(EXPORTS) as ExportType[]

/** Null: a page. */
export function exportType(ctx: Context): ExportType | null {
  const wanted = negotiate(ctx, ['application/json', ...EXPORT_TYPES])
  return wanted === 'application/json' ? null : wanted
}

/** Answers with an export; throws `export_under_way` if the user has one. */
export function sendExport(dependencies: AuditExports) {
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

export type Reached = Pick<AuditExport, 'position' | 'parked'>

/** Says how far the trail had got, and whether it has all events up to there. */
export function tellReached(ctx: Context, { position, parked }: Reached) {
  ctx.set('Audit-Position', String(position))
  if (parked.length > 0) ctx.set('Audit-Incomplete', String(parked.length))
}

/** The conditions that are set. */
export const given = (query: AuditQuery): object =>
  Object.fromEntries(
    Object.entries(query).filter(([, value]) => value !== undefined && value !== null),
  )
