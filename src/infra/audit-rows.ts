import type { AuditEvent, ExportedEvent, StoredEvent } from '../app/ports.ts'
import { taskStream } from '../domain/task/view.ts'
import { isEncrypted, readText, TEXT_FIELDS } from './encrypted-texts.ts'
import type { UserKeys } from './postgres/user-keys.ts'
import { type EncryptedText, textKey } from './text-cipher.ts'

/** A row of audit_events: its texts are encrypted as in the log. */
export type AuditRow = Omit<AuditEvent, 'undoes' | 'erased'> & {
  readonly undoes: readonly string[] | null
}

export type StoredRow = StoredEvent & { readonly position: number }

type Known = ReadonlyMap<number, Buffer>

/** The events with their texts in the clear, or null where the key is destroyed. */
export async function readAuditRows(
  rows: readonly AuditRow[],
  keys: UserKeys,
): Promise<readonly AuditEvent[]> {
  const known = await keysOf(rows, keys)
  return rows.map((row) => eventOf(row, known))
}

/** The same with what the log has of them, and the keys of the texts in it. */
export async function readStoredEvents(
  rows: readonly AuditRow[],
  stored: readonly StoredRow[],
  keys: UserKeys,
): Promise<readonly ExportedEvent[]> {
  const known = await keysOf(rows, keys)
  const byPosition = new Map(stored.map(({ position, ...event }) => [position, event]))
  return rows.map((row) => {
    const event = byPosition.get(row.position) ?? null
    return { event: eventOf(row, known), stored: event, text_keys: textKeys(event?.data, known) }
  })
}

/** All in one call: a key that is destroyed meanwhile is so for the whole page, or not at all. */
const keysOf = (rows: readonly AuditRow[], keys: UserKeys): Promise<Known> =>
  keys.find(rows.flatMap(textsOf).map(({ user }) => user))

const textsOf = ({ changes }: AuditRow): readonly EncryptedText[] =>
  TEXT_FIELDS.flatMap((field) => [changes[field]?.from, changes[field]?.to]).filter(isEncrypted)

function eventOf(row: AuditRow, known: Known): AuditEvent {
  const { position, task_id, user_id, version, type, actor_id, occurred_at, recorded_at } = row
  const { request_id, undoes, hash } = row
  const isErased = textsOf(row).some(({ user }) => !known.has(user))
  return {
    position,
    task_id,
    user_id,
    version,
    type,
    actor_id,
    occurred_at,
    recorded_at,
    request_id,
    changes: clear(row, known),
    ...(undoes && { undoes: undoes.map(Number) }),
    ...(isErased && { erased: true }),
    hash,
  }
}

function clear({ task_id, changes }: AuditRow, known: Known): AuditEvent['changes'] {
  if (task_id === null) return changes
  const stream_id = taskStream(task_id)
  const read = (field: string, value: unknown) =>
    isEncrypted(value) ? readText(value, { stream_id, field }, known) : value
  const fields = TEXT_FIELDS.flatMap((field) => {
    const change = changes[field]
    if (change === undefined) return []
    return [[field, { from: read(field, change.from), to: read(field, change.to) }]]
  })
  return { ...changes, ...Object.fromEntries(fields) }
}

function textKeys(data: unknown, known: Known): Record<string, string> {
  const found = TEXT_FIELDS.flatMap((field) => {
    const text: unknown = Reflect.get(Object(data), field)
    const dataKey = isEncrypted(text) ? known.get(text.user) : undefined
    if (!isEncrypted(text) || dataKey === undefined) return []
    return [[field, textKey(dataKey, text).toString('base64url')]]
  })
  return Object.fromEntries(found)
}
