import type { Decider } from '../domain/decider.ts'
import { DomainError } from '../domain/errors.ts'
import type { EventEnvelope } from '../domain/task/view.ts'
import { AppError } from './errors.ts'
import {
  type CommandKey,
  type EventStore,
  type History,
  type Metadata,
  type Recorded,
  TIME_OF_APPEND,
} from './ports/event-store.ts'

/** One kind of stream: its rules, its read-table row, and how its events are stored. */
export type Aggregate<State, Command, Event, Row> = {
  readonly stream_type: string
  readonly schema_version: number
  readonly decider: Decider<State, Command, Event>
  readonly view: (row: Row | null, event: Event & EventEnvelope) => Row | null
  /** Whether this version knows the event; if not, a newer one has written it. */
  readonly knows: (event: Recorded<Event>) => boolean
}

export type CommandContext<Row> = {
  readonly actor_id: number
  readonly metadata: Metadata
  /** Whether the client accepts the present row; without it, any row will do. */
  readonly precondition: ((row: Row | null) => boolean) | undefined
  readonly command: CommandKey | undefined
}

/** The row after the command. `replayed`: the command had been done before; this is that answer. */
export type Handled<Row> = { readonly row: Row; readonly replayed: boolean }

export type HandleCommand<Command, Row> = (
  stream_id: string,
  command: Command,
  context: CommandContext<Row>,
) => Promise<Handled<Row>>

const MAX_TRIES = 20

/** What was erased is not there any more, and the session of whose it was is over. */
const gone = (own: boolean) =>
  own ? new AppError('session_ended') : new DomainError('task_not_found')

/**
 * Load, decide, append; when another writer was first, decide again on top of its events.
 *
 * Errors: the decider's, `version_mismatch`, `write_conflict` (others were first again and again),
 * for what was erased `task_not_found` or its owner's `session_ended`, `newer_version` (it has written
 * what this version does not know), `texts_unavailable`, and the event store's.
 */
export function handleCommand<State, Command, Event, Row>(
  aggregate: Aggregate<State, Command, Event, Row>,
  store: EventStore<Event, Row>,
): HandleCommand<Command, Row> {
  const { decider, view, knows, stream_type, schema_version } = aggregate
  const fold = (state: State, events: readonly Recorded<Event>[]) =>
    events.filter(knows).reduce(decider.evolve, state)

  return async (stream_id, command, context) => {
    const { actor_id, metadata, precondition } = context
    let history: History<Event> = await store.load(stream_id)
    const loaded = fold(decider.initialState, history.events)
    let state = loaded

    const decide = () => {
      const { version } = history
      const erased = history.events.find((event) => event.erased)
      if (erased) throw gone(erased.actor_id === actor_id)
      if (!history.events.every(knows)) throw new AppError('newer_version', { retryAfter: 5 })
      if (history.events.some((event) => event.unreadable)) throw new AppError('texts_unavailable')
      const events = decider.decide(command, state, loaded)
      const before = history.events.reduce(view, null)
      // After the decider: RFC 9110 looks at preconditions only of what would succeed without.
      if (precondition?.(before) === false) throw new AppError('version_mismatch', { version })
      const placed = events.map((event, index) => {
        const place = { stream_id, version: version + index + 1, occurred_at: TIME_OF_APPEND }
        return { ...event, ...place }
      })
      const row = placed.reduce(view, before)
      if (row === null) throw new Error(`${stream_id} has no row after ${version} events`)
      return { events, row }
    }
    /** Asked after loading: what was loaded may be what this very command did a moment ago. */
    const answered = async (refusal: unknown): Promise<Handled<Row>> => {
      const row = context.command ? await store.answer(actor_id, context.command) : null
      if (row === null) throw refusal
      return { row, replayed: true }
    }

    for (let tries = 0; tries < MAX_TRIES; tries++) {
      let decided: ReturnType<typeof decide>
      try {
        decided = decide()
      } catch (refusal) {
        return await answered(refusal)
      }
      const { events, row } = decided
      if (events.length === 0 && !context.command) return { row, replayed: false }

      const { version, head_hash } = history
      const origin = { stream_id, stream_type, schema_version, actor_id, metadata }
      const result = await store.append({
        ...origin,
        expected: { version, head_hash },
        events,
        row,
        command: context.command,
      })
      switch (result.outcome) {
        case 'appended':
        case 'replayed':
          return { row: result.row, replayed: result.outcome === 'replayed' }
        case 'conflict':
          history = { ...result.missed, events: [...history.events, ...result.missed.events] }
          state = fold(state, result.missed.events)
      }
    }
    throw new AppError('write_conflict', { retryAfter: 1 })
  }
}
