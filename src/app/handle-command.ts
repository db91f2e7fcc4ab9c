import type { Decider } from '../domain/decider.ts'
import { DomainError } from '../domain/errors.ts'
import type { EventEnvelope } from '../domain/task/view.ts'
import { AppError } from './errors.ts'
import {
  type Answer,
  type CommandKey,
  type EventStore,
  type Metadata,
  type Present,
  type Recorded,
  TIME_OF_APPEND,
} from './ports/event-store.ts'

/** The version that a command was first decided on, and the present one. */
export type Versions = { readonly loaded: number; readonly end: number }

/** One kind of stream: its rules, its read-table row, and how its events are stored. */
export type Aggregate<State, Request, Command, Event, Row> = {
  readonly stream_type: string
  readonly schema_version: number
  readonly decider: Decider<State, Command, Event>
  readonly view: (row: Row | null, event: Event & EventEnvelope) => Row | null
  readonly stateOf: (row: Row | null) => State
  /** A request that begins its stream needs to know nothing of it. */
  readonly begins: (request: Request) => boolean
  /** What a request asks for in this state, if need be by the stream's history. */
  readonly commandOf: (
    store: EventStore<Event, Row>,
    stream_id: string,
    request: Request,
    state: State,
    versions: Versions,
  ) => Promise<Command> | Command
  /** Whether this version knows such an event; if not, a newer version wrote it. */
  readonly knows: (event: { readonly type: string; readonly schema_version: number }) => boolean
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

export type HandleCommand<Request, Row> = (
  stream_id: string,
  request: Request,
  context: CommandContext<Row>,
) => Promise<Handled<Row>>

const MAX_TRIES = 20

const NEW_STREAM = {
  version: 0,
  head_hash: null,
  row: null,
  owner_id: null,
  erased: false,
  event_types: [],
  schema_version: 0,
  answer: null,
} as const satisfies Present<never>

/** An erased task does not exist any more, and its owner's session has ended. */
const gone = (own: boolean) =>
  own ? new AppError('session_ended') : new DomainError('task_not_found')

/**
 * Reads, decides and appends; if another writer came first, decides again on top of its events.
 *
 * Errors: the decider's, `version_mismatch`, `write_conflict` (others came first again and again),
 * `newer_version` (a newer version wrote an event that this one does not know), `texts_unavailable`, and
 * the event store's. For an erased task `task_not_found`, or `session_ended` for its owner.
 */
export function handleCommand<State, Request, Command, Event, Row>(
  aggregate: Aggregate<State, Request, Command, Event, Row>,
  store: EventStore<Event, Row>,
): HandleCommand<Request, Row> {
  const { begins, commandOf, decider, knows, stateOf, stream_type, schema_version, view } =
    aggregate

  const requireWhole = (stream_id: string, present: Present<Row>) => {
    const { version, row, event_types } = present
    if (!event_types.every((type) => knows({ type, schema_version: present.schema_version }))) {
      throw new AppError('newer_version', { retryAfter: 5 })
    }
    if (present.unreadable) throw new AppError('texts_unavailable')
    if (version > 0 && versionOf(row) !== version) {
      throw new Error(`the row of ${stream_id} is not that of its version ${version}`)
    }
  }

  const readable = (events: readonly Recorded<Event>[]) => {
    if (events.some(({ unreadable }) => unreadable)) throw new AppError('texts_unavailable')
    // The actor's own: their account was erased after the request was validated.
    if (events.some(({ erased }) => erased)) throw gone(true)
    return events
  }

  const rowAt = async ({ stream_id, version }: Answer): Promise<Row> => {
    const events = await store.inForce(stream_id, version)
    return requireRow(readable(events).reduce(view, null), stream_id)
  }

  return async (stream_id, request, context) => {
    const { actor_id, metadata, precondition } = context
    const origin = { stream_id, stream_type, schema_version, actor_id, metadata }
    let loaded: number | undefined

    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const present =
        tries === 0 && begins(request)
          ? NEW_STREAM
          : await store.present(stream_id, actor_id, context.command)
      if (present.answer) return { row: await rowAt(present.answer), replayed: true }
      const { version, head_hash, row: before, owner_id } = present
      const isOwn = owner_id === actor_id
      if (present.erased) throw gone(isOwn)
      if (isOwn) requireWhole(stream_id, present)

      loaded ??= version
      const state = stateOf(before)
      const command = await commandOf(store, stream_id, request, state, { loaded, end: version })
      const events = decider.decide(command, state)
      // After the decider: RFC 9110 evaluates preconditions only if the request would succeed without them.
      if (precondition?.(before) === false) throw new AppError('version_mismatch', { version })
      const rowAfter = (occurred_at: string): Row => {
        const placed = events.map((event, index) => {
          return { ...event, stream_id, version: version + index + 1, occurred_at }
        })
        return requireRow(placed.reduce(view, before), stream_id)
      }
      const row = rowAfter(TIME_OF_APPEND)
      if (events.length === 0 && !context.command) return { row, replayed: false }

      const expected = { version, head_hash }
      const append = { ...origin, expected, events, row, command: context.command }
      const result = await store.append(append)
      if (result.outcome === 'replayed') return { row: await rowAt(result.answer), replayed: true }
      if (result.outcome === 'appended') {
        return { row: rowAfter(result.occurred_at ?? TIME_OF_APPEND), replayed: false }
      }
    }
    throw new AppError('write_conflict', { retryAfter: 1 })
  }
}

const versionOf = (row: unknown): unknown => Reflect.get(Object(row), 'version')

function requireRow<Row>(row: Row | null, stream_id: string): Row {
  if (row === null) throw new Error(`${stream_id} has no row`)
  return row
}
