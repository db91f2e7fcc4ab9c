import { utf8 } from '../transparency-log/lines.ts'
import { readProofFile } from '../transparency-log/proof-file.ts'
import { leafHash, rootOfInclusion } from '../transparency-log/tree.ts'
import { openCheckpoint, type SignedCheckpoint } from './checkpoints.ts'
import { type EventPlace, eventEntry, type Records, recordsEntry } from './entries.ts'
import { eventIn } from './export-file.ts'
import { type ExportEvent, type ExportLine, parse, SHAPES } from './export-lines.ts'
import { Broken, nameOf, placeOf, Unreadable } from './failures.ts'
import { count, faultIn, fields, hash, id, isObject, text } from './shapes.ts'
import { requireShown } from './shown.ts'
import { follow } from './trail.ts'
import { type Trust, textIn } from './trust.ts'

type EventEntry = EventPlace & { readonly hash: string }

export type ProofReport = {
  readonly log: SignedCheckpoint
  readonly index: number
  /** Accesses and security events have no event. */
  readonly event: EventEntry | null
  readonly entry: string
}

const THING = 'The proof'

/** Error: `Broken`, `Unreadable`. */
export async function verifyProof(file: string, trust: Trust): Promise<ProofReport> {
  const proof = readProofFile(await textIn(file, THING))
  if (proof === null) throw new Unreadable(`${file} is not a proof file (c2sp.org/tlog-proof@v1).`)
  const entry = proof.extra && utf8(proof.extra)
  if (entry === null) throw new Unreadable(`${file} does not say what it proves.`)
  const log = openCheckpoint(proof.checkpoint, trust)
  const { size } = log
  const root = rootOfInclusion({ ...proof, size, leaf: leafHash(entry) })
  if (!root?.equals(log.root)) {
    const what = 'the entry, its index or a hash was changed'
    throw new Broken({ thing: THING }, `does not lead to the root of its checkpoint: ${what}.`)
  }
  return { log, index: proof.index, event: eventOfEntry(entry), entry }
}

const EVENT = fields({ hash, position: id, stream_id: text, version: id })
const RECORDS = fields({ audit_accesses: count, digest: hash, security_events: count })

/** Null: of accesses and security events. */
function eventOfEntry(entry: string): EventEntry | null {
  const read = parse(entry)
  if (faultIn(EVENT, read) === null && eventEntry(read as EventEntry) === entry) {
    return read as EventEntry
  }
  if (faultIn(RECORDS, read) === null && recordsEntry(read as Records) === entry) return null
  throw new Unreadable(`The log has this entry, but it is of a kind that is unknown here: ${entry}`)
}

/**
 * Compares an event, as an answer shows it or as a line of an export, with the proven one. Returns what is
 * not proven of it. Error: `Broken`, `Unreadable`.
 */
export async function compareEvent(
  file: string,
  { event: proven, index }: ProofReport,
): Promise<readonly string[]> {
  if (proven === null) throw new Unreadable('The proof is of no event to compare with.')
  const content = (await textIn(file, 'The event')).trim()
  const shown = parse(content)
  if (isObject(shown) && Object.hasOwn(shown, 'stored')) {
    const event = eventIn(content, shown, 1)
    requireSame(event, proven)
    const { leaf } = event.line
    if (leaf !== null && leaf !== index) {
      throw new Broken(placeOf(event), `has leaf ${leaf}, but is leaf ${index}.`)
    }
    return unprovenIn(event)
  }
  const fault = faultIn(SHAPES.shown, shown)
  if (fault !== null) throw new Unreadable(`${file} is not an event: ${fault}.`)
  const { task_id, ...event } = shown as ExportLine
  const ofUser = proven.stream_id.startsWith('user-') ? proven.stream_id : 'A user'
  requireSame({ ...event, stream_id: task_id === null ? ofUser : `task-${task_id}` }, proven)
  const what = 'only a line of an export has what its hash covers'
  return [`${nameOf(placeOf(proven))}: what ${file} shows besides its hash, for ${what}.`]
}

function requireSame(event: EventEntry, proven: EventEntry): void {
  const fault = (['stream_id', 'version', 'position', 'hash'] as const).find(
    (name) => event[name] !== proven[name],
  )
  if (fault === undefined) return
  const why = `its ${fault} is ${event[fault]}, not ${proven[fault]}`
  throw new Broken(placeOf(event), `is not the proven event: ${why}.`)
}

/** Its hash and what it shows; there are no events before it. */
function unprovenIn(event: ExportEvent): readonly string[] {
  const unproven: string[] = []
  const trail = follow<ExportEvent>({
    leftOut: new Set(['start']),
    inspect({ line }, state) {
      const fields = requireShown(line, state).join(', ')
      if (fields === '') return
      const place = nameOf(placeOf(event))
      unproven.push(`${place}: nothing proves the values before it, "from" of ${fields}.`)
    },
  })
  trail.add(event)
  return unproven
}
