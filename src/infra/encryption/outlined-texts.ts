import { createHash } from 'node:crypto'
import { AppError } from '../../app/errors.ts'
import { type HandleCommand, handleCommand } from '../../app/handle-command.ts'
import type { EventStore, Recorded } from '../../app/ports/event-store.ts'
import { taskAggregate } from '../../app/task-aggregate.ts'
import type { TaskEvent } from '../../domain/task/events.ts'
import type { TaskCommand } from '../../domain/task/task.ts'
import type { TaskView } from '../../domain/task/view.ts'
import { TEXT_FIELDS } from './encrypted-texts.ts'

type Store = EventStore<TaskEvent, TaskView>

/** Begins the placeholder of a text; no text contains it. */
const MARK = '\0'
/** A shorter text is kept as it is. */
const SHORT = 100
const PAGE = 200

/**
 * For a command that needs a whole history, but hardly its texts: whole streams are loaded page by page, and
 * each long text is replaced by its place; equal texts by the place of the first. What is appended has its
 * texts again; `inFull` restores those of a row.
 */
export function outlinedTexts(store: Store) {
  const places = new Map<string, string>()

  const placeOf = (text: unknown, field: string, place: string): unknown => {
    if (typeof text !== 'string' || text.length < SHORT) return text
    const hash = createHash('sha256').update(`${field} ${text}`).digest('base64')
    const known = places.get(hash) ?? `${MARK}${place}`
    places.set(hash, known)
    return known
  }
  const outline = (event: Recorded<TaskEvent>): Recorded<TaskEvent> => {
    const place = String(event.position)
    const data = withTexts(event.data, (text, field) => placeOf(text, field, place))
    return { ...event, data } as Recorded<TaskEvent>
  }

  const inFull = async <Data extends object>(data: Data): Promise<Data> => {
    const texts: unknown[] = TEXT_FIELDS.map((field) => Reflect.get(data, field))
    const wanted = texts.filter(isPlace)
    if (wanted.length === 0) return data
    const events = await store.readAt(wanted.map((place) => Number(place.slice(MARK.length))))
    return withTexts(data, (text, field) => {
      if (!isPlace(text)) return text
      const event = events.find(({ position }) => text === `${MARK}${position}`)
      const full = Reflect.get(event?.data ?? {}, field)
      // Its key was destroyed after it was loaded, and with it the session that asks.
      if (typeof full !== 'string') throw new AppError('session_ended')
      return full
    })
  }

  const load: Store['load'] = async (stream_id, after = 0, upTo = Number.MAX_SAFE_INTEGER) => {
    const all: Recorded<TaskEvent>[] = []
    for (let [version, more] = [after, true]; more && version < upTo; ) {
      const limit = Math.min(PAGE, upTo - version)
      const page = await store.page(stream_id, { after: version }, limit)
      all.push(...page.events.map(outline))
      version = all.at(-1)?.version ?? after
      more = page.more
    }
    const last = all.at(-1)
    return { version: last?.version ?? after, head_hash: last?.hash ?? null, events: all }
  }

  const append: Store['append'] = async (facts) => {
    const events = await Promise.all(
      facts.events.map(
        async (event) => ({ ...event, data: await inFull(event.data) }) as TaskEvent,
      ),
    )
    return store.append({ ...facts, events, row: await inFull(facts.row) })
  }

  return { store: { ...store, load, append }, inFull }
}

/** Commands that need a whole history, with only the memory of its outline. */
export const handleOutlined =
  (store: Store): HandleCommand<TaskCommand, TaskView> =>
  async (...command) => {
    const outlined = outlinedTexts(store)
    const { row, replayed } = await handleCommand(taskAggregate, outlined.store)(...command)
    return { row: await outlined.inFull(row), replayed }
  }

const isPlace = (text: unknown): text is string => typeof text === 'string' && text.startsWith(MARK)

function withTexts<Data extends object>(
  data: Data,
  map: (text: unknown, field: string) => unknown,
): Data {
  const texts = TEXT_FIELDS.filter((field) => field in data).map((field) => {
    return [field, map(Reflect.get(data, field), field)]
  })
  return { ...data, ...Object.fromEntries(texts) }
}
