import { utf8 } from '../transparency-log/lines.ts'
import { readProofFile } from '../transparency-log/proof-file.ts'
import { leafHash, rootOfInclusion } from '../transparency-log/tree.ts'
import { openCheckpoint, type SignedCheckpoint } from './checkpoints.ts'
import { type EventPlace, eventEntry, type Records, recordsEntry } from './entries.ts'
import { readLine, requireShown, type ShownEvent } from './event-line.ts'
import { Broken, nameOf, type Place, placeOf, Unreadable } from './failures.ts'
import { isObject, parse, textIn } from './files.ts'
import { follow } from './trail.ts'
import type { Trust } from './trust.ts'

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

/** Null: of accesses and security events. */
function eventOfEntry(entry: string): EventEntry | null {
  const read = parse(entry)
  if (isObject(read) && eventEntry(read as EventEntry) === entry) return read as EventEntry
  if (isObject(read) && recordsEntry(read as Records) === entry) return null
  throw new Unreadable(`The log has this entry, but it is of a kind that is unknown here: ${entry}`)
}

/** Checks that a line of an export is the proven event. Returns what it shows without proof. Error: `Broken`, `Unreadable`. */
export async function compareEvent(file: string, proven: ProofReport): Promise<readonly string[]> {
  const event = readLine((await textIn(file, 'The event')).trim(), 1)
  if (proven.event === null || 'records' in event) {
    throw new Unreadable('Only an event can be compared with the proof of one.')
  }
  if (eventEntry(event) !== proven.entry) {
    throw new Broken(placeOf(event), `is not the proven event, ${nameOf(placeOf(proven.event))}.`)
  }
  const unproven: string[] = []
  follow<ShownEvent>({
    // There are no events before it.
    onGap: () => {},
    inspect: (_, state) => unproven.push(...requireShown(event, state)),
  }).add(event)
  if (unproven.length === 0) return []
  return [fromOf(placeOf(event), unproven)]
}

/** That fields of an event show a value of before that nothing proves. */
export const fromOf = (event: Place, fields: readonly string[]): string =>
  `${nameOf(event)}: nothing proves the values before it, "from" of ${fields.join(', ')}.`
