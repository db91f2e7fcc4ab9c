import type { TaskEvent } from '../domain/task/events.ts'
import type { TaskView } from '../domain/task/view.ts'
import { chunks, type FullTexts, fullTexts } from './full-texts.ts'
import { historyOf, valuesOf } from './history.ts'
import type { AuditEvent } from './ports/audit.ts'
import type { EventStore, EventSummary } from './ports/event-store.ts'

/** `more`: further changes may follow at once. */
export type TaskChanges = (
  actor_id: number,
  after: number,
  limit: number,
) => Promise<{ readonly events: readonly AuditEvent[]; readonly more: boolean }>

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
    const page = await store.summariesOfActor(actor_id, after, limit)
    const events: AuditEvent[] = []
    let characters = 0
    for (const some of chunks(await followed(store, page), size.events)) {
      if (characters >= size.characters) return { events, more: true }
      const full = await withTexts(store, some)
      events.push(...full)
      characters += JSON.stringify(full).length
    }
    return { events, more: page.length === limit }
  }
}

/** What the summaries changed. The values before come from the few events that were in force there. */
async function followed(
  store: EventStore<TaskEvent, TaskView>,
  page: readonly EventSummary<TaskEvent>[],
): Promise<readonly AuditEvent[]> {
  const runs = runsOf(page)
  const places = runs.map(before).filter(({ version }) => version > 0)
  const inForce = await store.summariesInForce(places)
  const values = Map.groupBy(inForce, ({ stream_id, as_of }) => nameOf(stream_id, as_of))
  return runs
    .flatMap((run) => {
      const { stream_id, version } = before(run)
      return historyOf(run, valuesOf(values.get(nameOf(stream_id, version)) ?? []))
    })
    .toSorted((a, b) => a.position - b.position)
}

type Run = readonly [EventSummary<TaskEvent>, ...EventSummary<TaskEvent>[]]

/** Events of one stream that follow each other. */
function runsOf(page: readonly EventSummary<TaskEvent>[]): readonly Run[] {
  const open = new Map<string, [EventSummary<TaskEvent>, ...EventSummary<TaskEvent>[]]>()
  const runs: Run[] = []
  for (const event of page) {
    const run = open.get(event.stream_id)
    if (run !== undefined && run.at(-1)?.version === event.version - 1) {
      run.push(event)
    } else {
      const begun: [EventSummary<TaskEvent>] = [event]
      open.set(event.stream_id, begun)
      runs.push(begun)
    }
  }
  return runs
}

const before = ([{ stream_id, version }]: Run) => ({ stream_id, version: version - 1 })
const nameOf = (stream_id: string, version: number) => `${stream_id} ${version}`

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
