import { openCheckpoint, type SignedCheckpoint } from './checkpoints.ts'
import { eventEntry, recordsEntry } from './entries.ts'
import { readLine, requireShown, type ShownEvent, usersErasedIn } from './event-line.ts'
import { Broken, type Place, placeOf, Unreadable } from './failures.ts'
import { isObject, linesOf, parse } from './files.ts'
import { followLeaves, type Leaves } from './leaves.ts'
import { follow, type Report, type StreamState } from './trail.ts'
import type { Trust } from './trust.ts'

/** Of the last line: only its checkpoint is signed; what proves nothing is only said. */
export type TrailerFacts = {
  readonly count: number
  readonly exported_at: unknown
  readonly exported_by: unknown
  readonly query: Readonly<Record<string, unknown>>
  /** Null: there was no checkpoint yet. `after`: hashes of what lies behind the last leaf, in base64. */
  readonly log: { readonly checkpoint: string; readonly after: readonly unknown[] } | null
}

export type Trailer = TrailerFacts & {
  readonly position: number
  readonly parked: readonly unknown[]
}

export type ExportReport = Report & {
  /** Null: nothing proves any of it. */
  readonly log: SignedCheckpoint | null
  /** Roots of the log, by size, as far as the export tells them. */
  readonly roots: Leaves['roots']
  /** Every leaf of the log is in it; without a checkpoint, nothing proves that. */
  readonly whole: boolean
  /** How many of the events the checkpoint covers, and the first that it does not. */
  readonly logged: number
  readonly unlogged: Place | null
  readonly erased: number
  /** Events with a text that is reported as damaged, or its key. */
  readonly unreadable: readonly Place[]
  /** Accounts that are reported as erased, without their UserErased. */
  readonly doubtful: readonly unknown[]
  /** Events with fields whose previous value nothing proves. */
  readonly unproven: readonly (readonly [event: Place, fields: readonly string[]])[]
  readonly trailer: Trailer
}

/**
 * Checks an export. Returns a report, or throws an error that says what is broken or cannot be checked.
 * `kept`: checkpoints whose sizes it should tell the roots of.
 */
export async function verifyExport(
  file: string,
  trust: Trust,
  kept: readonly SignedCheckpoint[] = [],
): Promise<ExportReport> {
  const leaves = followLeaves(new Set(kept.map(({ size }) => size)))
  const shown = inspector()
  let missing: Broken | null = null
  const onGap = (gap: Broken) => {
    missing ??= gap
  }
  const trail = follow<ShownEvent>({ onGap, inspect: shown.add })
  const add = (text: string, number: number) => {
    const read = readLine(text, number)
    if ('records' in read)
      leaves.add({ leaf: read.leaf ?? 0 }, read, () => recordsEntry(read.records))
    else {
      leaves.add(placeOf(read), read.line, () => eventEntry(read))
      trail.add(read)
    }
  }
  const trailer = await readExport(file, add, trailerOfEvents)
  const log = requireSigned(trailer, leaves, trust, kept, REWRITTEN)
  const whole = Object.keys(trailer.query).length === 0 && trailer.parked.length === 0
  const lost = missing ?? leaves.hidden()
  if (whole && lost !== null) throw lost
  const report = trail.report()
  if (trailer.count !== report.events) {
    const held = `holds ${report.events} events; its trailer counts ${trailer.count}.`
    throw new Broken({}, held)
  }
  return { ...report, ...shown.report(), log, roots: leaves.roots, whole, trailer }
}

/**
 * The checkpoint of an export whose leaves have all been added; null: it has none. Error: `Broken`. `otherwise`: what is
 * wrong if all but the root is right.
 */
export function requireSigned(
  { log: given }: TrailerFacts,
  leaves: Leaves,
  trust: Trust,
  kept: readonly SignedCheckpoint[],
  otherwise: string,
): SignedCheckpoint | null {
  const log = given && openCheckpoint(given.checkpoint, trust)
  const root = leaves.end(log?.size ?? 0, given?.after ?? [])
  if (log !== null) requireRoot(log, root, leaves.roots, kept, otherwise)
  return log
}

type ReadTrailer<T> = (trailer: Readonly<Record<string, unknown>>) => T

/**
 * Gives each line to `add`, and returns the last one, the trailer: its contents are printed, and decide what is required of
 * the rest, so it must be as an export writes it. Error: `Broken`, `Unreadable`.
 */
export async function readExport<T extends TrailerFacts>(
  file: string,
  add: (text: string, number: number) => void,
  trailerOf: ReadTrailer<T>,
): Promise<T> {
  let [number, last, lastNumber] = [0, '', 0]
  for await (const lines of linesOf(file)) {
    for (const line of lines) {
      number++
      if (line === '') continue
      if (last !== '') add(last, lastNumber)
      last = line
      lastNumber = number
    }
  }
  if (last === '') throw new Unreadable(`${file} is empty.`)
  const line = parse(last)
  if (!isObject(line) || !isObject(line.trailer)) {
    throw new Unreadable(`${file} is cut off: its last line is not the trailer.`)
  }
  const trailer = trailerOf(line.trailer)
  const { query, log } = trailer
  const isRight =
    isObject(query) &&
    (log === null || (typeof log.checkpoint === 'string' && Array.isArray(log.after))) &&
    JSON.stringify({ trailer }) === last
  if (!isRight) throw new Broken({ thing: 'The trailer' }, 'is not one that an export writes.')
  return trailer
}

export const trailerOfEvents: ReadTrailer<Trailer> = (trailer) => {
  const { count, position, exported_at, exported_by, query, log } = trailer
  const parked = Array.isArray(trailer.parked) ? trailer.parked : []
  const said = { exported_at, exported_by, query, log: proofIn(log) }
  return { count, position, parked, ...said } as Trailer
}

/** Its members in the order of an export. */
export const proofIn = (log: unknown): TrailerFacts['log'] =>
  isObject(log) ? ({ checkpoint: log.checkpoint, after: log.after } as TrailerFacts['log']) : null

/** Checks of each event what its hash does not tell, and counts what is to be reported. */
function inspector() {
  const erasedUsers = new Set<unknown>()
  const goneUsers = new Set<string>()
  const unreadable: Place[] = []
  const unproven: (readonly [Place, readonly string[]])[] = []
  let unlogged: Place | null = null
  let [erased, logged] = [0, 0]
  return {
    add(event: ShownEvent, state: StreamState) {
      const { line } = event
      const fields = requireShown(event, state)
      if (fields.length > 0) unproven.push([placeOf(event), fields])
      if (line.unreadable) unreadable.push(placeOf(event))
      if (line.erased) erased++
      for (const user of usersErasedIn(line)) erasedUsers.add(user)
      if (event.type === 'UserErased') goneUsers.add(event.stream_id)
      if (line.leaf === null) unlogged ??= placeOf(event)
      else logged++
    },
    report() {
      const doubtful = [...erasedUsers].filter((user) => !goneUsers.has(`user-${user}`))
      return { logged, unlogged, erased, unreadable, doubtful, unproven }
    },
  }
}

const REWRITTEN =
  'though each hash and chain in it is right: an event was rewritten, hash and all, or has another position or leaf, or ' +
  'another line or hash of the log was changed.'

/** What differs can be named only if it breaks a hash or a chain, too; a kept checkpoint narrows it down. */
function requireRoot(
  log: SignedCheckpoint,
  root: Buffer,
  roots: Leaves['roots'],
  kept: readonly SignedCheckpoint[],
  otherwise: string,
): void {
  if (root.equals(log.root)) return
  const told = kept.filter(({ size }) => roots.has(size) && size <= log.size)
  const isRight = ({ size, root }: SignedCheckpoint) => roots.get(size)?.equals(root)
  const from = Math.max(0, ...told.filter(isRight).map(({ size }) => size))
  const to = Math.min(log.size, ...told.filter((old) => !isRight(old)).map(({ size }) => size))
  const where = told.length === 0 ? '' : ` It is among leaves ${from} to ${to - 1}.`
  throw new Broken({}, `is not what its checkpoint signs, ${otherwise}${where}`)
}
