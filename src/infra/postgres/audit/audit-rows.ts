import type { AuditEvent, ExportedEvent, StoredEvent } from '../../../app/ports/audit.ts'
import { taskStreamId } from '../../../domain/task/view.ts'
import { isEncrypted, TEXT_FIELDS } from '../../encryption/encrypted-texts.ts'
import { decryptText, type EncryptedText, textKey } from '../../encryption/text-cipher.ts'
import type { KeysToRead } from '../../encryption/user-keys.ts'

/** A row of audit_events: its texts are encrypted as in the log. */
export type AuditRow = Omit<AuditEvent, 'undoes' | 'erased'> & {
  readonly undoes: readonly string[] | null
}

export type StoredRow = StoredEvent & { readonly position: number }

/** The key of a text; undefined if it is destroyed, an error if it is damaged. Derived once per page. */
type KeyOf = (text: EncryptedText) => Buffer | Error | undefined

/** Called for each text that cannot be read, though its key is not destroyed. */
export type NoteUnreadable = (text: {
  readonly position: number
  readonly field: string
  readonly error: Error
}) => void

/** The events with their texts decrypted, or null where they cannot be read. */
export async function readAuditRows(
  rows: readonly AuditRow[],
  keys: KeysToRead,
  note: NoteUnreadable,
): Promise<readonly AuditEvent[]> {
  const keyOf = await keysOf(rows, keys)
  return rows.map((row) => eventOf(row, keyOf, note))
}

/** The same with what the log has of them, and the keys of their texts. */
export async function readStoredEvents(
  rows: readonly AuditRow[],
  stored: readonly StoredRow[],
  keys: KeysToRead,
  note: NoteUnreadable,
): Promise<readonly ExportedEvent[]> {
  const keyOf = await keysOf(rows, keys)
  const byPosition = new Map(stored.map(({ position, ...event }) => [position, event]))
  return rows.map((row) => {
    const log = byPosition.get(row.position) ?? null
    const event = eventOf(row, keyOf, note)
    return { event, stored: log, text_keys: textKeys(log?.data, event, keyOf) }
  })
}

/** All in one call: a key that is destroyed meanwhile counts for the whole page, or not at all. */
async function keysOf(rows: readonly AuditRow[], keys: KeysToRead): Promise<KeyOf> {
  const known = await keys.findEach(rows.flatMap(textsOf).map(({ user }) => user))
  const made = new Map<string, Buffer>()
  return (text) => {
    const dataKey = known.get(text.user)
    if (dataKey === undefined || dataKey instanceof Error) return dataKey
    const key = made.get(text.cipher) ?? textKey(dataKey, text)
    made.set(text.cipher, key)
    return key
  }
}

const textsOf = ({ changes }: AuditRow): readonly EncryptedText[] =>
  TEXT_FIELDS.flatMap((field) => [changes[field]?.from, changes[field]?.to]).filter(isEncrypted)

function eventOf(row: AuditRow, keyOf: KeyOf, note: NoteUnreadable): AuditEvent {
  const { position, task_id, user_id, version, type, actor_id, occurred_at, recorded_at } = row
  const { request_id, undoes, changes, hash } = row
  const flags: { erased?: true; unreadable?: true } = {}
  const read = (field: string, value: unknown) => {
    if (value === null || typeof value === 'string') return value
    const text = readValue(row, field, value, keyOf)
    if (text instanceof Error) {
      flags.unreadable = true
      note({ position, field, error: text })
    } else if (text === null) flags.erased = true
    return text instanceof Error ? null : text
  }
  const texts = TEXT_FIELDS.flatMap((field) => {
    const change = changes[field]
    if (change === undefined) return []
    return [[field, { from: read(field, change.from), to: read(field, change.to) }]]
  })
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
    changes: { ...changes, ...Object.fromEntries(texts) },
    ...(undoes && { undoes: undoes.map(Number) }),
    ...flags,
    hash,
  }
}

/** Like `tryText`, with keys that are derived once per page. */
function readValue({ task_id }: AuditRow, field: string, value: unknown, keyOf: KeyOf) {
  if (!isEncrypted(value)) return new Error(`The ${field} is not in any form of a text.`)
  try {
    const key = keyOf(value)
    if (key === undefined || key instanceof Error) return key ?? null
    return decryptText(key, value, { stream_id: taskStreamId(task_id ?? 0), field })
  } catch (error) {
    return error as Error
  }
}

/** Only keys of texts that the event shows: others would reveal a text that was not shown. */
function textKeys(data: unknown, event: AuditEvent, keyOf: KeyOf): Record<string, string> {
  const found = TEXT_FIELDS.flatMap((field) => {
    const text: unknown = Reflect.get(Object(data), field)
    if (!isEncrypted(text) || event.changes[field]?.to === null) return []
    const key = keyOf(text)
    return key instanceof Buffer ? [[field, key.toString('base64url')]] : []
  })
  return Object.fromEntries(found)
}
