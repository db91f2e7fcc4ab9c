import type { TaskEvent } from '../../../domain/task/events.ts'
import { type EventEnvelope, type TaskView, viewTask } from '../../../domain/task/view.ts'
import { isEncrypted, readText, TEXT_FIELDS } from '../../encryption/encrypted-texts.ts'
import { requireKnown } from '../projections/projection.ts'

/** An event as the log has it: its texts may be encrypted. */
export type StoredTaskEvent = TaskEvent & EventEnvelope & { readonly schema_version: number }

/** The users whose keys the texts of these events need. */
export const keyOwners = (events: readonly StoredTaskEvent[]): readonly number[] =>
  events
    .flatMap(({ data }) => TEXT_FIELDS.map((field): unknown => Reflect.get(data, field)))
    .filter(isEncrypted)
    .map(({ user }) => user)

/**
 * The rows of the read table, by stream, after some more events; those that no event touches are left out.
 * A row whose texts nobody can read any more is null: an erased user has none.
 */
export function foldRows(
  rows: ReadonlyMap<string, TaskView>,
  events: readonly StoredTaskEvent[],
  keys: ReadonlyMap<number, Buffer>,
): ReadonlyMap<string, TaskView | null> {
  const after = new Map<string, TaskView | null>()
  for (const event of events) {
    const { stream_id } = event
    requireKnown(event)
    const before = after.get(stream_id) ?? rows.get(stream_id) ?? null
    after.set(stream_id, viewTask(before, event))
  }
  // Texts are only passed on until here: of many in a row only one is decrypted.
  for (const [stream_id, row] of after) after.set(stream_id, inTheClear(stream_id, row, keys))
  return after
}

function inTheClear(
  stream_id: string,
  row: TaskView | null,
  keys: ReadonlyMap<number, Buffer>,
): TaskView | null {
  if (row === null) return null
  const texts = TEXT_FIELDS.map((field) => {
    const value: unknown = row[field]
    return [field, isEncrypted(value) ? readText(value, { stream_id, field }, keys) : value]
  })
  const clear: TaskView = { ...row, ...Object.fromEntries(texts) }
  return clear.title === null ? null : clear
}
