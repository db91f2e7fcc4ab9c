import { Broken } from '../../../verifier/failures.ts'
import type { Report, StreamState, Trail } from '../../../verifier/trail.ts'
import type { Query } from '../projections/projection.ts'

const STREAMS_A_PAGE = 5_000

const READ_STREAMS = {
  name: 'read_streams_to_verify',
  text: `
    select stream_id, stream_type, version, encode(head_hash, 'hex') as head_hash from streams
    where $1::text is null or stream_id > $1 order by stream_id limit ${STREAMS_A_PAGE}`,
}

const READ_SOME_STREAMS = {
  name: 'read_some_streams_to_verify',
  text: `
    select stream_id, stream_type, version, encode(head_hash, 'hex') as head_hash from streams
    where stream_id = any ($1)`,
}

const COUNT = {
  name: 'count_to_verify',
  text: `
    select (select count(*) from events) as events, (select count(*) from streams) as streams`,
}

type StreamRow = {
  readonly stream_id: string
  readonly stream_type: string
  readonly version: number
  readonly head_hash: string
}

/**
 * Checks that the heads for the next events are the ends of the chains: of all streams, or only of those that have
 * been followed.
 */
export async function requireStreams(
  query: Query,
  streams: Trail['streams'],
  onlyThese: boolean,
): Promise<void> {
  if (onlyThese) {
    const ids = [...streams.keys()]
    for (let at = 0; at < ids.length; at += STREAMS_A_PAGE) {
      const some = ids.slice(at, at + STREAMS_A_PAGE)
      const rows = await query<StreamRow>(READ_SOME_STREAMS, [some])
      for (const row of rows) requireStream(row, streams.get(row.stream_id))
      requireRows(some, rows)
    }
    return
  }
  const found = new Set<string>()
  for (let after: string | null = null; ; ) {
    const rows: readonly StreamRow[] = await query<StreamRow>(READ_STREAMS, [after])
    for (const row of rows) requireStream(row, streams.get(row.stream_id))
    for (const { stream_id } of rows) found.add(stream_id)
    const last = rows.at(-1)
    if (last === undefined) break
    after = last.stream_id
  }
  if (found.size === streams.size) return
  requireRows(
    [...streams.keys()],
    [...found].map((stream_id) => ({ stream_id })),
  )
}

function requireRows(
  ids: readonly string[],
  rows: readonly { readonly stream_id: string }[],
): void {
  const known = new Set(rows.map(({ stream_id }) => stream_id))
  const lost = ids.find((id) => !known.has(id))
  if (lost !== undefined)
    throw new Broken({ stream_id: lost }, 'has events, but no row in streams.')
}

/**
 * Detects rows without a key of their own, or with one that the log never gives: other programs read them.
 */
export async function requireAllRead(query: Query, report: Report): Promise<void> {
  const [rows] = await query<Record<'events' | 'streams', number>>(COUNT, [])
  for (const table of ['events', 'streams'] as const) {
    const lost = (rows?.[table] ?? 0) - report[table]
    if (lost !== 0) throw new Broken({ table }, `has rows that cannot be read in order: ${lost}.`)
  }
}

function requireStream(
  { stream_id, stream_type, version, head_hash }: StreamRow,
  end: Pick<StreamState, 'version' | 'hash'> | undefined,
): void {
  const next = (end?.version ?? 0) + 1
  if (version >= next) {
    const why = `is missing: streams says that the stream ends with version ${version}.`
    throw new Broken({ stream_id, version: next }, why)
  }
  if (version !== end?.version || head_hash !== end.hash) {
    throw new Broken({ stream_id }, 'has another head in streams than its events have.')
  }
  if (!stream_id.startsWith(`${stream_type}-`)) {
    throw new Broken({ stream_id }, `has the type ${stream_type} in streams.`)
  }
}
