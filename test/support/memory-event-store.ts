import { v7 as uuidv7 } from 'uuid'
import { AppError } from '../../src/app/errors.ts'
import {
  type Answer,
  type Append,
  type CommandKey,
  type EventStore,
  type Recorded,
  TIME_OF_APPEND,
} from '../../src/app/ports/event-store.ts'
import { SETTERS } from '../../src/domain/task/changes.ts'
import { TASK_EVENT_SCHEMA_VERSION } from '../../src/domain/task/events.ts'
import { eventHash } from '../../src/verifier/formats.ts'

type Shape = { readonly type: string; readonly data: unknown }

/** The event store as plainly as its port reads: the yardstick for the one on PostgreSQL. */
export function memoryEventStore<Event extends Shape, Row extends { readonly user_id: number }>(
  clock: () => Date = () => new Date(),
): EventStore<Event, Row> {
  const log: Recorded<Event>[] = []
  const rows = new Map<string, Row>()
  const answers = new Map<string, { fingerprint: Buffer; answer: Answer }>()
  const ofStream = (stream_id: string) => log.filter((event) => event.stream_id === stream_id)
  const ofActor = (actor_id: number) => log.filter((event) => event.actor_id === actor_id)

  const streamOf = (stream_id: string) => {
    const events = ofStream(stream_id)
    const last = events.at(-1)
    return { version: last?.version ?? 0, head_hash: last?.hash ?? null, events }
  }

  const inForce = (stream_id: string, version: number) => {
    const events = ofStream(stream_id).filter((event) => event.version <= version)
    const last = Object.values(SETTERS).map((types) =>
      events.findLast(
        ({ type, schema_version }) =>
          schema_version <= TASK_EVENT_SCHEMA_VERSION && types.some((one) => one === type),
      ),
    )
    const kept = new Set([events[0], events.at(-1), ...last])
    return events.filter((event) => kept.has(event))
  }

  const answer = (actor_id: number, { key, fingerprint }: CommandKey): Answer | null => {
    const found = answers.get(`${actor_id} ${key}`)
    if (found === undefined) return null
    if (!found.fingerprint.equals(fingerprint)) throw new AppError('idempotency_key_reused')
    return found.answer
  }

  return {
    present: async (stream_id, actor_id, command) => {
      const { version, head_hash, events } = streamOf(stream_id)
      // Without what only a search of the read table uses.
      const row = structuredClone(rows.get(stream_id)) ?? null
      if (row) Reflect.deleteProperty(row, 'ngrams')
      return {
        version,
        head_hash,
        row,
        owner_id: row?.user_id ?? null,
        erased: false,
        event_types: [...new Set(events.map(({ type }) => type))],
        schema_version: Math.max(0, ...events.map(({ schema_version }) => schema_version)),
        answer: (command && answer(actor_id, command)) ?? null,
      }
    },
    page: async (stream_id, place, limit) => {
      const events = ofStream(stream_id)
      const all =
        'after' in place
          ? events.filter(({ version }) => version > place.after)
          : events.filter(({ version }) => version < place.before).toReversed()
      return structuredClone({ events: all.slice(0, limit), more: all.length > limit })
    },
    outlines: async (stream_id, upTo, limit) =>
      ofStream(stream_id)
        .filter(({ version }) => version <= upTo)
        .slice(-limit)
        .toReversed()
        .map(({ version, type, schema_version, metadata: { causation_id }, data }) => {
          const undoes = Reflect.get(Object(data), 'undoes') ?? null
          return { version, type, schema_version, causation_id, undoes }
        }),
    inForce: async (stream_id, version) => structuredClone(inForce(stream_id, version)),
    summariesInForce: async (places) =>
      places
        .flatMap(({ stream_id, version }) =>
          inForce(stream_id, version).map((event) => ({ ...summary(event), as_of: version })),
        )
        .toSorted((a, b) => a.position - b.position),
    versionAt: async (stream_id, time) =>
      ofStream(stream_id).findLast(({ occurred_at }) => occurred_at <= time)?.version ?? 0,
    readAll: async (after, limit) => log.filter(({ position }) => position > after).slice(0, limit),
    summariesOfActor: async (actor_id, after, limit, until = log.length) =>
      ofActor(actor_id)
        .filter(({ position }) => position > after && position <= until)
        .slice(0, limit)
        .map(summary),
    end: async () => log.length,
    last: async () => log.length,
    now: async () => clock().toISOString(),
    readAt: async (positions) => log.filter(({ position }) => positions.includes(position)),
    positionAt: async (actor_id, time) =>
      ofActor(actor_id).findLast(({ occurred_at }) => occurred_at <= time)?.position ?? 0,

    async append(append) {
      const { stream_id, expected, actor_id } = append
      const done = append.command && answer(actor_id, append.command)
      if (done) return { outcome: 'replayed', answer: done }
      const { version, head_hash } = streamOf(stream_id)
      if (version !== expected.version || head_hash !== expected.head_hash) {
        return { outcome: 'conflict' }
      }
      const times = ofStream(stream_id).map(({ occurred_at }) => occurred_at)
      const now = [clock().toISOString(), ...times].toSorted().at(-1) ?? ''
      const occurred_at = append.events.length === 0 ? null : now
      if (occurred_at !== null) {
        log.push(...chain(append, occurred_at, log.length))
        rows.set(stream_id, timed({ ...rows.get(stream_id), ...append.row }, occurred_at))
      }
      if (append.command) {
        const { key, fingerprint } = append.command
        const led = { stream_id, version: version + append.events.length }
        answers.set(`${actor_id} ${key}`, { fingerprint, answer: led })
      }
      return { outcome: 'appended', occurred_at }
    },
  }
}

/** The events as they are stored, each chained to the one before. */
function chain<Event extends Shape>(
  { events, expected, row, command, ...origin }: Append<Event, unknown>,
  occurred_at: string,
  end: number,
): readonly Recorded<Event>[] {
  let prev_hash = expected.head_hash
  return events.map((event, index) => {
    const version = expected.version + index + 1
    const hashed = { ...origin, ...event, version, event_id: uuidv7(), occurred_at, prev_hash }
    const hash = eventHash(hashed)
    prev_hash = hash
    return { ...hashed, position: end + index + 1, recorded_at: occurred_at, hash }
  })
}

const timed = <Row>(row: Row, occurred_at: string): Row => {
  const times = Object.entries(row as object)
    .filter(([name, value]) => name.endsWith('_at') && value === TIME_OF_APPEND)
    .map(([name]) => [name, occurred_at])
  return { ...row, ...Object.fromEntries(times) }
}

function summary<Event extends Shape>(event: Recorded<Event>): Recorded<Event> {
  const texts = Object.entries(event.data as object)
    .filter(([name, value]) => ['title', 'description'].includes(name) && value !== null)
    .map(([name]) => [name, String(event.position)])
  return { ...event, data: { ...(event.data as object), ...Object.fromEntries(texts) } }
}
