import { Broken, placeOf } from './failures.ts'
import { eventHash, HASH, type TrailEvent } from './formats.ts'

/** What is known of a stream so far. */
export type StreamState = {
  version: number
  hash: string | null
  position: number
  /** Digests of the current fields; null after a gap. Kept by whoever inspects events. */
  facts: Record<string, string> | null
}

export type Report = {
  readonly events: number
  readonly streams: number
  /** How often events are missing between two of a stream, or before its first one. */
  readonly gaps: number
  /** Of the last event; 0 without one. */
  readonly position: number
}

export type TrailOptions<Event extends TrailEvent> = {
  /** Called where events of a stream are missing, with what is then wrong. @default throws it */
  readonly onGap?: (missing: Broken) => void
  /** Called with each event whose hash and chain are right, before its stream's state moves on. */
  readonly inspect?: (event: Event, state: StreamState) => void
}

export type Trail<Event extends TrailEvent = TrailEvent> = {
  readonly streams: ReadonlyMap<string, StreamState>
  /** Where a stream stands whose events so far are known to be right. */
  readonly begin: (stream_id: string, head: Omit<StreamState, 'facts'>) => void
  /** Error: `Broken`, if the event is not as it was or not where it should be. */
  readonly add: (event: Event) => void
  readonly report: () => Report
}

/**
 * Follows events in the order of their positions: each one's hash, and its place in the chain of its stream.
 * Keeps a little for each stream and nothing for each event.
 */
export function follow<Event extends TrailEvent = TrailEvent>({
  onGap = (missing) => {
    throw missing
  },
  inspect,
}: TrailOptions<Event> = {}): Trail<Event> {
  const streams = new Map<string, StreamState>()
  let [events, gaps, at] = [0, 0, 0]

  const add = (event: Event) => {
    const { stream_id, version, position, prev_hash, hash } = event
    if (!(position > at)) throw new Broken(placeOf(event), `comes after position ${at}.`)
    const state = streams.get(stream_id) ?? { version: 0, hash: null, position: 0, facts: {} }
    const isLink = prev_hash === null || prev_hash === state.hash || HASH.test(prev_hash)
    if (!isLink || eventHash(event) !== hash) {
      throw new Broken(placeOf(event), 'is changed: its hash does not match its contents.')
    }
    if (version !== state.version + 1) skip(event, state)
    else if (prev_hash !== state.hash) {
      throw new Broken(placeOf(event), `is not chained to version ${state.version}.`)
    }
    inspect?.(event, state)
    state.version = version
    state.hash = hash
    state.position = position
    streams.set(stream_id, state)
    events++
    at = position
  }

  const skip = ({ stream_id, version, position }: Event, state: StreamState) => {
    const next = state.version + 1
    if (version < next) {
      const why = `comes after version ${state.version} of its stream.`
      throw new Broken({ stream_id, version, position }, why)
    }
    onGap(new Broken({ stream_id, version: next }, `is missing: version ${version} follows.`))
    gaps++
    state.facts = null
  }

  const begin: Trail['begin'] = (stream_id, head) => {
    streams.set(stream_id, { ...head, facts: null })
  }

  return {
    streams,
    begin,
    add,
    report: () => ({ events, streams: streams.size, gaps, position: at }),
  }
}
