import type { AuditEvent, ExportedEvent, StoredEvent } from '../../../app/ports/audit.ts'
import { taskStreamId } from '../../../domain/task/view.ts'
import { isEncrypted, TEXT_FIELDS } from '../../encryption/encrypted-texts.ts'
import { decryptText, type EncryptedText, textKey } from '../../encryption/text-cipher.ts'
import type { UserKeys } from '../../encryption/user-keys.ts'

/** A row of audit_events: its texts are encrypted as in the log. */
export type AuditRow = Omit<AuditEvent, 'undoes' | 'erased'> & {
  readonly undoes: readonly string[] | null
}

export type StoredRow = StoredEvent & { readonly position: number }

/** The key of a text; undefined when it is destroyed. Each is made once a page. */
type KeyOf = (text: EncryptedText) => Buffer | undefined

/** The events with their texts in the clear, or null where the key is destroyed. */
export async function readAuditRows(
  rows: readonly AuditRow[],
  keys: UserKeys,
): Promise<readonly AuditEvent[]> {
  const keyOf = await keysOf(rows, keys)
  return rows.map((row) => eventOf(row, keyOf))
}

/** The same with what the log has of them, and the keys of the texts in it. */
export async function readStoredEvents(
  rows: readonly AuditRow[],
  stored: readonly StoredRow[],
  keys: UserKeys,
): Promise<readonly ExportedEvent[]> {
  const keyOf = await keysOf(rows, keys)
  const byPosition = new Map(stored.map(({ position, ...event }) => [position, event]))
  return rows.map((row) => {
    const event = byPosition.get(row.position) ?? null
    return { event: eventOf(row, keyOf), stored: event, text_keys: textKeys(event?.data, keyOf) }
  })
}

/** All in one call: a key that is destroyed meanwhile is so for the whole page, or not at all. */
async function keysOf(rows: readonly AuditRow[], keys: UserKeys): Promise<KeyOf> {
  const known = await keys.find(rows.flatMap(textsOf).map(({ user }) => user))
  const made = new Map<string, Buffer>()
  return (text) => {
    const dataKey = known.get(text.user)
    if (dataKey === undefined) return undefined
    const key = made.get(text.cipher) ?? textKey(dataKey, text)
    made.set(text.cipher, key)
    return key
  }
}

const textsOf = ({ changes }: AuditRow): readonly EncryptedText[] =>
  TEXT_FIELDS.flatMap((field) => [changes[field]?.from, changes[field]?.to]).filter(isEncrypted)

function eventOf(row: AuditRow, keyOf: KeyOf): AuditEvent {
  const { position, task_id, user_id, version, type, actor_id, occurred_at, recorded_at } = row
  const { request_id, undoes, hash } = row
  const isErased = textsOf(row).some((text) => keyOf(text) === undefined)
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
    changes: clear(row, keyOf),
    ...(undoes && { undoes: undoes.map(Number) }),
    ...(isErased && { erased: true }),
    hash,
  }
}

function clear({ task_id, changes }: AuditRow, keyOf: KeyOf): AuditEvent['changes'] {
  if (task_id === null) return changes
  const stream_id = taskStreamId(task_id)
  const read = (field: string, value: unknown) => {
    if (!isEncrypted(value)) return value
    const key = keyOf(value)
    return key === undefined ? null : decryptText(key, value, { stream_id, field })
  }
  const fields = TEXT_FIELDS.flatMap((field) => {
    const change = changes[field]
    if (change === undefined) return []
    return [[field, { from: read(field, change.from), to: read(field, change.to) }]]
  })
  return { ...changes, ...Object.fromEntries(fields) }
}

function textKeys(data: unknown, keyOf: KeyOf): Record<string, string> {
  const found = TEXT_FIELDS.flatMap((field) => {
    const text: unknown = Reflect.get(Object(data), field)
    const key = isEncrypted(text) ? keyOf(text) : undefined
    return key === undefined ? [] : [[field, key.toString('base64url')]]
  })
  return Object.fromEntries(found)
}
