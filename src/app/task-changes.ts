import type { TaskEvent } from '../domain/task/events.ts'
import { isTaskStreamId, type TaskView } from '../domain/task/view.ts'
import { chunks, type FullTexts, fullTexts } from './full-texts.ts'
import { historiesOf } from './history.ts'
import type { AuditEvent } from './ports/audit.ts'
import type { EventStore, EventSummary } from './ports/event-store.ts'

/** `more`: further changes may follow at once. */
export type TaskChanges = (
  actor_id: number,
  after: number,
  limit: number,
) => Promise<{ readonly events: readonly AuditEvent[]; readonly more: boolean }>

// Many streams ask at once, each after every append: none of them may hold much in memory.
const EVENTS_AT_ONCE = 5_000

/** Limits the memory of one answer: it ends after this many characters, counted a few events at a time. */
export type ChangesSize = { readonly characters: number; readonly events: number }
const PAGE: ChangesSize = { characters: 1024 * 1024, events: 20 }
/** A stream holds it until its client reads it, and there are many streams. */
export const STREAM_BATCH: ChangesSize = { characters: 64 * 1024, events: 2 }

/**
 * A user's changes in log order after a position; a reader that continues from the last one misses none.
 * Fewer than `limit` if their texts are long. Error: `database_unavailable`.
 */
export function taskChanges(
  store: EventStore<TaskEvent, TaskView>,
  size: ChangesSize = PAGE,
): TaskChanges {
  return async (actor_id, after, limit) => {
    const found = await store.summariesOfActor(actor_id, after, limit)
    // An event of the account is not a change of a task; no event of the user follows it.
    const page = found.filter(({ stream_id }) => isTaskStreamId(stream_id))
    const events: AuditEvent[] = []
    let characters = 0
    for (const some of chunks(await followed(store, page), size.events)) {
      if (characters >= size.characters) return { events, more: true }
      const full = await withTexts(store, some)
      events.push(...full)
      characters += JSON.stringify(full).length
    }
    return { events, more: found.length === limit }
  }
}

/** What the summaries changed. Tasks with long histories are loaded one after another. */
async function followed(
  store: EventStore<TaskEvent, TaskView>,
  page: readonly EventSummary<TaskEvent>[],
): Promise<readonly AuditEvent[]> {
  const until = page.at(-1)?.position ?? 0
  const wanted = new Set(page.map(({ position }) => position))
  const changes: AuditEvent[] = []
  for (const stream_ids of batches(page)) {
    const all = historiesOf(await store.summariesOf(stream_ids, until))
    changes.push(...all.filter(({ position }) => wanted.has(position)))
  }
  return changes.toSorted((a, b) => a.position - b.position)
}

/** A stream's last version on the page tells how many events it has up to there. */
function batches(page: readonly EventSummary<TaskEvent>[]): readonly (readonly string[])[] {
  const all: string[][] = []
  let room = 0
  for (const [stream_id, version] of new Map(page.map((e) => [e.stream_id, e.version]))) {
    if (version > room) {
      all.push([])
      room = EVENTS_AT_ONCE
    }
    all.at(-1)?.push(stream_id)
    room -= version
  }
  return all
}

type TextChange = { readonly from: string | null; readonly to: string | null }

async function withTexts(
  store: EventStore<TaskEvent, TaskView>,
  summaries: readonly AuditEvent[],
): Promise<readonly AuditEvent[]> {
  const places = summaries.flatMap(({ changes: { title, description } }) =>
    ([title, description] as (TextChange | undefined)[]).flatMap((change) => {
      return change === undefined ? [] : [change.from, change.to]
    }),
  )
  const texts = await fullTexts(store, places)
  return summaries.map((summary) => withText(summary, texts))
}

function withText(summary: AuditEvent, { text, isUnreadable }: FullTexts): AuditEvent {
  const changes = { ...summary.changes }
  const flags: { erased?: true; unreadable?: true } = {}
  for (const field of ['title', 'description'] as const) {
    const change = changes[field] as TextChange | undefined
    if (change === undefined) continue
    const [from, to] = [text(field, change.from), text(field, change.to)]
    changes[field] = { from, to }
    if ([change.from, change.to].some(isUnreadable)) flags.unreadable = true
    else if (to === null && change.to !== null) flags.erased = true
  }
  return { ...summary, changes, ...flags }
}
