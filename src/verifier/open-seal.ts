import { createHash, type Hash } from 'node:crypto'
import { Broken, placeOf } from './failures.ts'
import { eventDigest, type Head, type Seal, type TrailEvent } from './formats.ts'
import { isShown, type Mark, readMarks } from './seals.ts'
import type { StreamState } from './trail.ts'

/** A seal whose events are being added. */
export type OpenSeal = Seal & {
  readonly shown: ReadonlySet<string>
  readonly digest: Hash
  /** Position of the last event before it. */
  readonly after: number
  found: number
  /** Which event was at each position when it was made; an export does not tell. */
  readonly marks_read: readonly Mark[] | null
}

/** `after`: position of the last event before it. */
export function openSeal(seal: Seal, after: number): OpenSeal {
  const shown = new Set(seal.heads.filter(isShown).map(([stream_id]) => stream_id))
  const marks_read = seal.marks === undefined ? null : readMarks(seal, seal.marks)
  return { ...seal, shown, found: 0, digest: createHash('sha256'), after, marks_read }
}

export function addToSeal(seal: OpenSeal, event: TrailEvent, mark: Mark | undefined): void {
  const digest = eventDigest(event)
  if (mark !== undefined && !digest.equals(mark.digest)) {
    const why = `is not what seal ${seal.number} covers: it was rewritten, hash and all.`
    throw new Broken(placeOf(event), why)
  }
  if (!seal.shown.has(event.stream_id)) {
    const why = `is among the events that seal ${seal.number} covers, but its stream is not in that seal.`
    throw new Broken(placeOf(event), why)
  }
  seal.digest.update(digest)
  seal.found++
}

export function requireCovered(seal: OpenSeal, whole: boolean, someParked: boolean): void {
  const { number, found, events, position, after } = seal
  const range = `from position ${after + 1} to ${position}`
  // A filtered export has only the seals of its events; only a full one has those of parked ones.
  if (found === 0 && events > 0 && !whole && !someParked) {
    throw new Broken({ seal: number }, 'covers no event of the export.')
  }
  if (found > events || (whole && found < events)) {
    const why = `covers ${events} events ${range}, but there are ${found}.`
    throw new Broken({ seal: number }, why)
  }
  if (found === events && seal.digest.digest('hex') !== seal.events_digest) {
    const why = `does not cover the events ${range} as they are: a position or a time was changed.`
    throw new Broken({ seal: number }, why)
  }
}

/** A stream that is present as far as the seal covers it must end there as the seal says. */
export function requireSealedHead(
  seal: OpenSeal,
  state: StreamState,
  [stream_id, version, hash]: Head,
) {
  const last = { stream_id, version: state.version, position: state.position }
  if (state.version > version) {
    throw new Broken(last, `was not there when seal ${seal.number} was made.`)
  }
  if (state.hash === hash) return
  const first = state.proven + 1
  const what = first === version ? 'it' : `one of versions ${first} to ${version}`
  const why = `is not what seal ${seal.number} covers: ${what} was rewritten, hash and all.`
  throw new Broken(last, why)
}
