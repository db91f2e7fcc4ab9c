import { readEvents, readTrailer } from './export-file.ts'
import type { ExportEvent, ExportLine, Trailer } from './export-lines.ts'
import { Broken, type Place, placeOf, Unreadable } from './failures.ts'
import { inWords, type Part, partsLeftOut, unmetFilter } from './filters.ts'
import type { KeptSeals, SealKey } from './formats.ts'
import { isShown } from './seals.ts'
import { isEncrypted, requireShown, TEXTS } from './shown.ts'
import { follow, type Report, requireParked, type Trail } from './trail.ts'
import { walk } from './walk.ts'

const KNOWN_SCHEMA = 1

export type ExportReport = Report & {
  readonly whole: boolean
  readonly erased: number
  /** Events with a text that is reported as damaged, or its key. */
  readonly unreadable: readonly Place[]
  /** Accounts that are reported as erased, without their UserErased. */
  readonly doubtful: readonly unknown[]
  /** Events with fields whose previous value nothing proves. */
  readonly unproven: readonly (readonly [event: Place, fields: readonly string[]])[]
  /** What the trailer claims without proof. */
  readonly said: Pick<Trailer, 'exported_at' | 'exported_by' | 'parked'> & {
    readonly filters: readonly [name: string, value: unknown][]
  }
}

/**
 * Checks an export. Returns a report, or throws an error that says what is broken or cannot be checked.
 * `kept`: hashes of seals by number.
 */
export async function verifyExport(
  file: string,
  keys: readonly SealKey[],
  kept: KeptSeals = new Map(),
): Promise<ExportReport> {
  const trailer = await readTrailer(file)
  const filters = Object.entries(trailer.query)
  const leftOut = partsLeftOut(trailer.query)
  const hidesStreams = !trailer.seals.every(({ heads }) => heads.every(isShown))
  const parked = new Map(trailer.parked)
  const whole = filters.length === 0 && !hidesStreams && parked.size === 0
  const erasedUsers = new Set<unknown>()
  const unreadable: Place[] = []
  const unproven: [Place, readonly string[]][] = []
  let erased = 0
  const trail = follow<ExportEvent>({
    keys,
    leftOut,
    whole,
    parked,
    kept,
    inspect({ line, ...event }, state) {
      requireKnownForm(line)
      requireAsked(line, filters)
      const fields = requireShown(line, state)
      if (fields.length > 0) unproven.push([placeOf(event), fields])
      if (line.erased) erased++
      if (line.unreadable) unreadable.push(placeOf(event))
      if (line.erased) for (const user of erasedUsersOf(line)) erasedUsers.add(user)
    },
  })
  await walk(trail, readEvents(file), asyncOf(trailer.seals))
  requireHeads(trailer, trail.streams, leftOut, parked)
  const report = trail.report()
  requireExtent(trailer, report)
  // A user's stream holds only UserErased.
  const doubtful = [...erasedUsers].filter((user) => !trail.streams.has(`user-${user}`))
  const { exported_at, exported_by } = trailer
  const said = { exported_at, exported_by, filters, parked: trailer.parked }
  return { ...report, whole, erased, unreadable, doubtful, unproven, said }
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
function requireAsked(line: ExportLine, filters: ExportReport['said']['filters']): void {
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

async function* asyncOf<T>(values: readonly T[]): AsyncGenerator<T> {
  yield* values
}

/**
 * Detects a stream whose end was cut off, even where no seal covers it yet; but the trailer is not signed.
 */
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
