import { openCheckpoint, type SignedCheckpoint } from './checkpoints.ts'
import { eventEntry, recordsEntry } from './entries.ts'
import { readLine, readLines, readTrailer } from './export-file.ts'
import type { ExportEvent, ExportLine, RecordsLine, Trailer } from './export-lines.ts'
import { Broken, type Place, placeOf, Unreadable } from './failures.ts'
import { inWords, type Part, partsLeftOut, unmetFilter } from './filters.ts'
import { followLeaves, type Leaves } from './leaves.ts'
import { isEncrypted, requireShown, TEXTS } from './shown.ts'
import { follow, type Report, requireParked, type StreamState, type Trail } from './trail.ts'
import type { Trust } from './trust.ts'

const KNOWN_SCHEMA = 1

export type ExportReport = Report & {
  /** Null: nothing proves any of it. */
  readonly log: SignedCheckpoint | null
  /** Roots of the log, by size, as far as the export tells them. */
  readonly roots: Leaves['roots']
  /** Every leaf of the log is in it. */
  readonly whole: boolean
  /** How many of the events the checkpoint covers; then the others. */
  readonly logged: number
  readonly unlogged: readonly Run[]
  readonly erased: number
  /** Events with a text that is reported as damaged, or its key. */
  readonly unreadable: readonly Place[]
  /** Accounts that are reported as erased, without their UserErased. */
  readonly doubtful: readonly unknown[]
  /** Events with fields whose previous value nothing proves. */
  readonly unproven: readonly (readonly [event: Place, fields: readonly string[]])[]
  /** What the trailer claims without proof. */
  readonly said: Pick<Trailer, 'exported_at' | 'exported_by' | 'parked'> & {
    readonly filters: Filters
  }
}
/** Consecutive events of a stream. */
export type Run = {
  readonly stream_id: string
  readonly versions: readonly [first: number, last: number]
  readonly positions: readonly [first: number, last: number]
}
type Filters = readonly [name: string, value: unknown][]

/**
 * Checks an export. Returns a report, or throws an error that says what is broken or cannot be checked.
 * `kept`: checkpoints whose sizes it should tell the roots of.
 */
export async function verifyExport(
  file: string,
  trust: Trust,
  kept: readonly SignedCheckpoint[] = [],
): Promise<ExportReport> {
  const trailer = await readTrailer(file)
  const log = trailer.log && openCheckpoint(trailer.log.checkpoint, trust)
  const filters = Object.entries(trailer.query)
  const parked = new Map(trailer.parked)
  const whole = filters.length === 0 && parked.size === 0
  const sizes = new Set(kept.map(({ size }) => size))
  const leaves = followLeaves(log, { hides: !whole, sizes })
  const inspected = inspector(filters)
  const leftOut = partsLeftOut(trailer.query)
  const trail = follow<ExportEvent>({ leftOut, parked, inspect: inspected.add })
  try {
    await readAll(file, trail, leaves, filters.length === 0)
    requireHeads(trailer, trail.streams, leftOut, parked)
    requireExtent(trailer, trail.report())
    if (log !== null) requireRoot(log, leaves.end(trailer.log?.after ?? []), leaves.roots, kept)
  } catch (error) {
    throw firstOf(leaves.gap(), error)
  }
  const found = inspected.report(trail.streams)
  const { exported_at, exported_by } = trailer
  const said = { exported_at, exported_by, filters, parked: trailer.parked }
  return { ...trail.report(), log, roots: leaves.roots, whole, ...found, said }
}

async function readAll(
  file: string,
  trail: Trail<ExportEvent>,
  leaves: Leaves,
  unfiltered: boolean,
): Promise<void> {
  for await (const lines of readLines(file)) {
    for (const line of lines) {
      const read = readLine(line)
      if ('records' in read) addRecords(read, leaves, unfiltered)
      else {
        trail.add(read)
        leaves.add(placeOf(read), read.line.leaf, read.line.before, () => eventEntry(read))
      }
    }
  }
}

function addRecords({ leaf, before, records }: RecordsLine, leaves: Leaves, unfiltered: boolean) {
  if (!unfiltered)
    throw new Broken({ leaf }, 'is no event, which only an export without filter has.')
  leaves.add({ leaf }, leaf, before, () => recordsEntry(records))
}

/** Whoever knows which event is missing says it better; what is broken behind the gap is not the first. */
function firstOf(gap: Broken | null, error: unknown): unknown {
  const namesMissing =
    error instanceof Broken &&
    error.place.version !== undefined &&
    error.place.position === undefined
  return gap === null || namesMissing ? error : gap
}

/** Checks of each event what its hash does not tell, and counts what is to be reported. */
function inspector(filters: Filters) {
  const erasedUsers = new Set<unknown>()
  const unreadable: Place[] = []
  const unproven: [Place, readonly string[]][] = []
  const unlogged = new Map<string, Run[]>()
  let [erased, logged] = [0, 0]

  const addUnlogged = ({ stream_id, version, position }: ExportEvent) => {
    const runs = unlogged.get(stream_id) ?? []
    const last = runs.at(-1)
    const isNext = last?.versions[1] === version - 1
    const [first, since] = isNext ? [last.versions[0], last.positions[0]] : [version, position]
    if (isNext) runs.pop()
    runs.push({ stream_id, versions: [first, version], positions: [since, position] })
    unlogged.set(stream_id, runs)
  }

  return {
    add(event: ExportEvent, state: StreamState) {
      const { line } = event
      requireKnownForm(line)
      requireAsked(line, filters)
      const fields = requireShown(line, state)
      if (fields.length > 0) unproven.push([placeOf(event), fields])
      if (line.unreadable) unreadable.push(placeOf(event))
      if (line.erased) erased++
      if (line.erased) for (const user of erasedUsersOf(line)) erasedUsers.add(user)
      if (line.leaf === null) addUnlogged(event)
      else logged++
    },
    report(streams: Trail['streams']) {
      // A user's stream holds only UserErased.
      const doubtful = [...erasedUsers].filter((user) => !streams.has(`user-${user}`))
      const runs = [...unlogged.values()].flat()
      return { logged, unlogged: runs, erased, unreadable, doubtful, unproven }
    },
  }
}

/** What differs can be named only if it breaks a hash or a chain, too; a kept checkpoint narrows it down. */
function requireRoot(
  log: SignedCheckpoint,
  root: Buffer,
  roots: Leaves['roots'],
  kept: readonly SignedCheckpoint[],
): void {
  if (root.equals(log.root)) return
  const told = kept.filter(({ size }) => roots.has(size) && size <= log.size)
  const isRight = ({ size, root }: SignedCheckpoint) => roots.get(size)?.equals(root)
  const from = Math.max(0, ...told.filter(isRight).map(({ size }) => size))
  const to = Math.min(log.size, ...told.filter((old) => !isRight(old)).map(({ size }) => size))
  const where = told.length === 0 ? '' : ` It is among leaves ${from} to ${to - 1}.`
  throw new Broken(
    {},
    'is not what its checkpoint signs, though each hash and chain in it is right: an event was rewritten, ' +
      `hash and all, or has another position or leaf, or another line or hash of the log was changed.${where}`,
  )
}

function requireExtent({ count, position }: Trailer, report: Report): void {
  if (count !== report.events) {
    throw new Broken({}, `holds ${report.events} events; its trailer counts ${count}.`)
  }
  if (report.position > position) {
    throw new Broken({}, `goes beyond position ${position}, where its trailer says it ends.`)
  }
}

/** Called only once its hash is known to be right: a changed event is broken, not new. */
function requireKnownForm({ version, stored: { stream_id, schema_version } }: ExportLine): void {
  if (schema_version <= KNOWN_SCHEMA) return
  throw new Unreadable(
    `${stream_id} version ${version} has a schema version (${schema_version}) that this program does not know: ` +
      'use the verify-audit.mjs of the version that made the export.',
  )
}

/** Otherwise a filter added to the trailer would excuse what is missing. */
function requireAsked(line: ExportLine, filters: Filters): void {
  const other = unmetFilter(line, filters)
  if (other === undefined) return
  const place = placeOf({ ...line, stream_id: line.stored.stream_id })
  throw new Broken(place, `does not match the filters in the trailer (${inWords(other)}).`)
}

/** Users whose key is reported as destroyed. */
const erasedUsersOf = ({ stored: { data }, text_keys }: ExportLine): readonly unknown[] =>
  TEXTS.flatMap((name) => {
    const text = data[name]
    return isEncrypted(text) && text_keys[name] === undefined ? [text.user] : []
  })

/** Detects a stream whose end was cut off, even where the log is hidden; but the trailer is not signed. */
function requireHeads(
  { heads }: Trailer,
  streams: Trail['streams'],
  leftOut: ReadonlySet<Part>,
  parked: ReadonlyMap<string, number>,
): void {
  const named = new Map(heads.map(([stream_id, version, hash]) => [stream_id, { version, hash }]))
  for (const [stream_id, state] of streams) {
    const head = named.get(stream_id)
    const last = { stream_id, version: state.version, position: state.position }
    if (head === undefined || head.version < state.version) {
      throw new Broken(last, 'goes beyond the end of its stream in the trailer.')
    }
    if (head.version > state.version && !leftOut.has('end')) {
      const why = `the trailer ends its stream with version ${head.version}`
      requireParked(stream_id, state, why, parked)
    }
    if (head.version === state.version && head.hash !== state.hash) {
      throw new Broken(last, 'is not the end of its stream that the trailer names.')
    }
  }
  for (const [absent] of heads.filter(([stream_id]) => !streams.has(stream_id))) {
    requireParked(absent, undefined, 'the trailer names its stream', parked)
  }
}
