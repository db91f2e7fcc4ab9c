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
  /** Whether this version knows the event; if not, a newer version wrote it. */
  readonly knows: (event: Recorded<Event>) => boolean
}

export type CommandContext<Row> = {
  readonly actor_id: number
  readonly metadata: Metadata
  /** Whether the client accepts the current row; undefined accepts any. */
  readonly precondition: ((row: Row | null) => boolean) | undefined
  readonly command: CommandKey | undefined
}

/** The row after the command. `replayed`: the command was done before; this is its stored answer. */
export type Handled<Row> = { readonly row: Row; readonly replayed: boolean }

export type HandleCommand<Command, Row> = (
  stream_id: string,
  command: Command,
  context: CommandContext<Row>,
) => Promise<Handled<Row>>

const MAX_TRIES = 20

/** An erased task does not exist any more, and its owner's session has ended. */
const gone = (own: boolean) =>
  own ? new AppError('session_ended') : new DomainError('task_not_found')

/**
 * Loads, decides and appends; if another writer came first, decides again on top of its events.
 *
 * Errors: the decider's, `version_mismatch`, `write_conflict` (others came first again and again),
 * `newer_version` (a newer version wrote an event that this one does not know), `texts_unavailable`, and
 * the event store's. For an erased task `task_not_found`, or `session_ended` for its owner.
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
      // After the decider: RFC 9110 evaluates preconditions only if the request would succeed without them.
      if (precondition?.(before) === false) throw new AppError('version_mismatch', { version })
      const placed = events.map((event, index) => {
        const place = { stream_id, version: version + index + 1, occurred_at: TIME_OF_APPEND }
        return { ...event, ...place }
      })
      const row = placed.reduce(view, before)
      if (row === null) throw new Error(`${stream_id} has no row after ${version} events`)
      return { events, row }
    }
    /** Asked after loading: the loaded events may already include this very command. */
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
