import type { TaskEvent } from '../../../domain/task/events.ts'
import { type EventEnvelope, type TaskView, viewTask } from '../../../domain/task/view.ts'
import { ngramsOf } from '../../encryption/blind-index.ts'
import {
  decryptTexts,
  isEncrypted,
  TEXT_FIELDS,
  textsOf,
} from '../../encryption/encrypted-texts.ts'
import { requireKnown } from '../projections/projection.ts'

/** An event as the log has it: its texts may be encrypted. */
export type StoredTaskEvent = TaskEvent & EventEnvelope & { readonly schema_version: number }

/** A row as the read table holds it: its texts as in the log, and what a search finds it by. */
export type TaskRow = TaskView & { readonly ngrams: readonly number[] | null }

/**
 * The rows of the read table, by stream, after some more events; those that no event touches are left out.
 * A row whose texts nobody can read any more is null: an erased user has none.
 */
export function foldRows(
  rows: ReadonlyMap<string, TaskView>,
  events: readonly StoredTaskEvent[],
  keys: ReadonlyMap<number, Buffer>,
): ReadonlyMap<string, TaskRow | null> {
  const after = new Map<string, TaskView | null>()
  for (const event of events) {
    const { stream_id } = event
    requireKnown(event)
    const before = after.get(stream_id) ?? rows.get(stream_id) ?? null
    after.set(stream_id, viewTask(before, event))
  }
  const indexed = [...after].map(([stream_id, row]) => {
    return [stream_id, row && withNgrams(stream_id, row, keys)] as const
  })
  return new Map(indexed)
}

function withNgrams(
  stream_id: string,
  row: TaskView,
  keys: ReadonlyMap<number, Buffer>,
): TaskRow | null {
  const clear = decryptTexts(row, stream_id, keys)
  if (clear instanceof Error) throw clear
  if (clear === null) return null
  // A text that is not encrypted is no user's: nothing writes such.
  const key = isEncrypted(row.title) ? keys.get(row.user_id) : undefined
  return {
    ...row,
    ngrams: key ? ngramsOf(key, textsOf(clear)) : null,
  }
}

/** The users whose keys the texts of these rows and events need. */
export const keyOwners = (
  events: readonly StoredTaskEvent[],
  rows: readonly TaskView[] = [],
): readonly number[] =>
  [...events.map(({ data }) => data), ...rows]
    .flatMap((data) => TEXT_FIELDS.map((field): unknown => Reflect.get(data, field)))
    .filter(isEncrypted)
    .map(({ user }) => user)
