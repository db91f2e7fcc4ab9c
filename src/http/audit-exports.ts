import { Readable } from 'node:stream'
import type { Context } from 'koa'
import type { AuditExport } from '../app/audit-export.ts'
import type { Caller } from '../app/ports/authorization.ts'
import type { Clock } from '../app/ports/process.ts'
import type { RecordAccess } from './audit-access.ts'
import type { ExportFacts } from './audit-formats.ts'
import type { Recheck } from './authenticate.ts'
import { negotiate } from './content-types.ts'
import { exportPlaces, GRACE_MS, LONGEST_EXPORT_MS, paced } from './long-answers.ts'
import type { RateLimit } from './rate-limit.ts'

export type Exports = {
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

const EXTENSIONS = { 'application/x-ndjson': 'ndjson', 'text/csv': 'csv' } as const

export type ExportType = keyof typeof EXTENSIONS
const EXPORT_TYPES = Object.keys(EXTENSIONS) as ExportType[]

/** What is exported. */
export type ExportSource = {
  /** Names the file. */
  readonly name: string
  /** What the record of the access says besides the query. */
  readonly of: object
  /** The conditions that are set, as the trailer has them too. */
  readonly query: object
  /** Of a trail that is behind the log: tells how far it has got, without reading what is exported. */
  readonly reach?: () => Promise<Reached>
  /** Begins to read. `check` is called before each batch. */
  readonly open: (
    check: () => Promise<void>,
  ) => Promise<{ readonly reached?: Reached; readonly formats: Formats }>
}

/** The export as each type, in pieces; one of them is to be read. */
export type Formats = Readonly<Record<ExportType, (facts: ExportFacts) => AsyncIterable<string>>>
export type SendExport = (
  ctx: Context,
  caller: Caller,
  type: ExportType,
  source: ExportSource,
) => Promise<void>

/** Null: a page. */
export function exportType(ctx: Context): ExportType | null {
  const wanted = negotiate(ctx, ['application/json', ...EXPORT_TYPES])
  return wanted === 'application/json' ? null : wanted
}

/** Answers with an export; throws `export_under_way` if the user has one. */
export function sendExport(dependencies: Exports): SendExport {
  const { copy, limit, clock, recheck } = dependencies
  const { longestExportMs = LONGEST_EXPORT_MS, graceMs = GRACE_MS } = dependencies
  const enter = exportPlaces()

  return async (ctx, caller, type, { name, of, query, reach, open }) => {
    const extension = EXTENSIONS[type]
    await limit(ctx, String(caller.user_id))
    const describe = (reached: Reached | undefined, exported_at: string) => {
      if (reached !== undefined) tellReached(ctx, reached)
      const moment = exported_at.replace(/[-:]|\.\d+/g, '')
      ctx.attachment(`tasktrail-${name}-${moment}.${extension}`)
      ctx.status = 200
      ctx.type = type
    }
    // Makes no copy: nothing is read, and nothing is recorded.
    if (ctx.method === 'HEAD') return describe(await reach?.(), clock().toISOString())
    const leave = await enter(caller)
    try {
      await copy(ctx, caller, { ...of, ...query, format: extension })
      const { reached, formats } = await open(() => recheck(ctx, caller))
      const exported_at = clock().toISOString()
      const pieces = formats[type]({ exported_at, exported_by: caller.user_id, query })
      // Reads only as fast as the client does. An error midway breaks the connection, so that it shows.
      const signal = AbortSignal.timeout(longestExportMs)
      const taken = paced(pieces, () => ctx.res.destroy(), graceMs)
      const body = Readable.from(taken, { objectMode: false, signal }).once('close', leave)
      describe(reached, exported_at)
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
export const given = (query: object): object =>
  Object.fromEntries(
    Object.entries(query).filter(([, value]) => value !== undefined && value !== null),
  )
