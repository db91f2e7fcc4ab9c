import { Broken, Incomplete, placeOf } from './failures.ts'
import type { Part } from './filters.ts'
import {
  eventHash,
  HASH,
  type Head,
  type KeptSeals,
  type Seal,
  type SealKey,
  type TrailEvent,
} from './formats.ts'
import {
  addToSeal,
  type OpenSeal,
  openSeal,
  requireCovered,
  requireSealedHead,
} from './open-seal.ts'
import { changedMarks, isShown, type Mark, requireSeal } from './seals.ts'

/** What is known of a stream so far. */
export type StreamState = {
  version: number
  hash: string | null
  position: number
  /** How many events since the last gap, or the last seal; then the position of the first of them. */
  run: number
  since: number
  /** The version up to which a seal proves it. */
  proven: number
  /** Digests of the current fields; null after a gap. Kept by whoever inspects events. */
  facts: Record<string, string> | null
}

export type Report = {
  readonly events: number
  readonly streams: number
  /** How many of the events are proven by a seal. */
  readonly sealed: number
  /** The others, in the order of their streams' first gaps and ends. */
  readonly unsealed: readonly Run[]
  readonly gaps: number
  readonly seals: number
  readonly lastSeal: Pick<Seal, 'number' | 'position' | 'sealed_at' | 'hash'> | null
  /** Which key signed which seals, from the first number to the last. */
  readonly signers: readonly Signer[]
  /** Of the last event. */
  readonly position: number
}
/** Consecutive events of a stream. */
export type Run = {
  readonly stream_id: string
  readonly versions: readonly [first: number, last: number]
  readonly positions: readonly [first: number, last: number]
}
type Signer = { readonly key_id: string; readonly first: number; last: number }

export type TrailOptions<Event extends TrailEvent> = {
  readonly keys: readonly SealKey[]
  /** Where events may be missing in a stream; elsewhere only those that are `parked`. */
  readonly leftOut: ReadonlySet<Part>
  /** All streams and all seals are present. */
  readonly whole: boolean
  /** Versions from which on events of these streams may be missing. */
  readonly parked?: ReadonlyMap<string, number>
  readonly kept?: KeptSeals
  /** Called with each event whose hash is right, before its stream's state moves on. */
  readonly inspect?: (event: Event, state: StreamState) => void
}

export type Trail<Event extends TrailEvent = TrailEvent> = {
  readonly streams: ReadonlyMap<string, StreamState>
  /** The next seal: the events up to its position follow, or those of them that are there. */
  readonly begin: (seal: Seal) => void
  readonly add: (event: Event) => void
  /** All events up to the seal's position have been added. */
  readonly end: () => void
  /** There are no more seals. */
  readonly requireKept: () => void
  readonly report: () => Report
}

/**
 * Follows events in the order of their positions, and the seals among them. Keeps a little for each stream
 * and nothing for each event.
 */
export function follow<Event extends TrailEvent = TrailEvent>(
  options: TrailOptions<Event>,
): Trail<Event> {
  const { keys, leftOut, whole, parked = new Map(), kept = new Map(), inspect } = options
  const streams = new Map<string, StreamState>()
  const unmet = new Map(kept)
  const signers: Signer[] = []
  const loose: Run[] = []
  let lastSeal: Report['lastSeal'] = null
  let [events, sealed, gaps, seals, at] = [0, 0, 0, 0, 0]
  let seal: OpenSeal | null = null

  const begin = (next: Seal) => {
    requireSeal(next, lastSeal, keys, whole)
    requireAsKept(next)
    seal = openSeal(next, at)
  }

  const requireAsKept = ({ number, hash }: Seal) => {
    const known = unmet.get(number)
    if (known !== undefined && known !== hash) {
      throw new Broken({ seal: number }, `is not the one that was kept: ${known}.`)
    }
    unmet.delete(number)
  }

  const add = (event: Event) => {
    const { stream_id, version, position, prev_hash, hash } = event
    if (!(position > at)) throw new Broken(placeOf(event), `comes after position ${at}.`)
    const state = streams.get(stream_id) ?? newState()
    const mark = seal?.marks_read?.[seal.found]
    if (seal?.marks_read) requireNoneBefore(seal, event, mark)
    const isLink = prev_hash === null || HASH.test(prev_hash)
    if (!isLink || eventHash(event) !== hash) {
      throw new Broken(placeOf(event), 'is changed: its hash does not match its contents.')
    }
    if (seal !== null && mark !== undefined) requireExpected(seal, event, mark)
    if (version !== state.version + 1) skip(event, state)
    else if (prev_hash !== state.hash) {
      throw new Broken(placeOf(event), `is not chained to version ${state.version}.`)
    }
    inspect?.(event, state)
    if (seal !== null) addToSeal(seal, event, mark)
    const since = state.run === 0 ? position : state.since
    Object.assign(state, { version, hash, position, run: state.run + 1, since })
    streams.set(stream_id, state)
    events++
    at = position
  }

  /** A version that is not the next one: a filter left a gap, or something is broken. */
  const skip = (event: Event, state: StreamState) => {
    if (event.version <= state.version) {
      throw new Broken(placeOf(event), `comes after version ${state.version} of its stream.`)
    }
    if (!leftOut.has(state.version === 0 ? 'start' : 'middle')) {
      requireParked(event.stream_id, state, `version ${event.version} follows`, parked)
    }
    gaps++
    if (state.run > 0) loose.push(runOf(event.stream_id, state))
    state.run = 0
    state.facts = null
  }

  const versionAfter = (stream_id: string) => (streams.get(stream_id)?.version ?? 0) + 1

  const requireNoneBefore = (open: OpenSeal, event: Event, mark: Mark | undefined) => {
    if (mark !== undefined && mark.position < event.position) throw gone(open, mark)
    if (mark?.position === event.position) return
    throw new Broken(placeOf(event), `was not there when seal ${open.number} was made.`)
  }

  const requireExpected = (open: OpenSeal, event: Event, { stream_id, hash }: Mark) => {
    // The mark alone does not prove which stream an event is of.
    if (event.hash === hash && event.stream_id !== stream_id) throw changedMarks(open)
    const version = versionAfter(stream_id)
    if (event.stream_id === stream_id && event.version === version) return
    throw new Broken(
      placeOf(event),
      `is in the place where ${stream_id} version ${version} was sealed.`,
    )
  }

  const gone = (open: OpenSeal, { stream_id, position }: Mark) => {
    const place = { stream_id, version: versionAfter(stream_id), position }
    return new Broken(place, `is missing: seal ${open.number} covers it.`)
  }

  const end = () => {
    if (seal === null) return
    const lost = seal.marks_read?.[seal.found]
    if (lost !== undefined) throw gone(seal, lost)
    for (const head of seal.heads.filter(isShown)) requireHead(seal, head)
    requireCovered(seal, whole, parked.size > 0)
    seals++
    const { number, position, sealed_at, hash, key_id } = seal
    lastSeal = { number, position, sealed_at, hash }
    const signer = signers.at(-1)
    if (signer?.key_id === key_id) signer.last = number
    else signers.push({ key_id, first: number, last: number })
    seal = null
  }

  const requireHead = (open: OpenSeal, [stream_id, version, hash]: Head) => {
    const state = streams.get(stream_id)
    if (state === undefined || state.version < version) {
      const why = `seal ${open.number} covers version ${version}`
      const mayBeMissing = leftOut.has('end') || (state === undefined && leftOut.has('start'))
      if (!mayBeMissing) requireParked(stream_id, state, why, parked)
      return
    }
    requireSealedHead(open, state, [stream_id, version, hash])
    sealed += state.run
    state.run = 0
    state.proven = version
  }

  return {
    streams,
    begin,
    add,
    end,
    requireKept() {
      for (const number of unmet.keys()) {
        if (whole) throw new Broken({ seal: number }, 'is missing: it was kept.')
        throw new Incomplete(
          `Seal ${number}, which was kept, is not in this part of the log: check a whole export.`,
        )
      }
    },
    report: () => {
      const counts = { events, streams: streams.size, sealed, gaps, seals, position: at }
      const ends = [...streams].filter(([, { run }]) => run > 0)
      const unsealed = [...loose, ...ends.map(([stream_id, state]) => runOf(stream_id, state))]
      return { ...counts, unsealed, lastSeal, signers: [...signers] }
    },
  }
}

const newState = (): StreamState => ({
  version: 0,
  hash: null,
  position: 0,
  run: 0,
  since: 0,
  proven: 0,
  facts: {},
})

const runOf = (stream_id: string, { version, run, since, position }: StreamState): Run => ({
  stream_id,
  versions: [version - run + 1, version],
  positions: [since, position],
})

/** What should follow may be missing only where its stream was parked. */
export function requireParked(
  stream_id: string,
  state: StreamState | undefined,
  why: string,
  parked: ReadonlyMap<string, number>,
): void {
  const next = (state?.version ?? 0) + 1
  const from = parked.get(stream_id)
  if (from !== undefined && from <= next) return
  throw new Broken({ stream_id, version: next }, `is missing: ${why}.`)
}
