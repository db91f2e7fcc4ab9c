import type { EventStore, Recorded } from '../../app/ports/event-store.ts'
import { readTaskEvent } from '../../domain/task/events.ts'
import { ngramsOf } from './blind-index.ts'
import { decryptedText } from './decrypted-texts.ts'
import { type EncryptedText, encryptText } from './text-cipher.ts'
import { damaged, type KeysToRead, type UserKeys, type WrappedKey } from './user-keys.ts'

/** The fields of a task that hold what a person wrote. */
export const TEXT_FIELDS = ['title', 'description'] as const

type Shape = { readonly type: string; readonly data: object }

/**
 * An event store whose events keep their texts encrypted. Below it they are `EncryptedText`, which the
 * hashes cover, so chains stay intact when a key is destroyed; above it they are plain texts. A text whose
 * key is destroyed is null, and its event is marked `erased`. A text that is damaged, or whose key is, is
 * null, and its event is marked `unreadable`.
 */
export function encryptedEventStore<
  Event extends Shape,
  Row extends { readonly user_id: number; readonly title: string },
>(store: EventStore<Event, Row>, keys: UserKeys): EventStore<Event, Row> {
  const read = (events: readonly Recorded<Event>[]) => decryptEvents(events, keys)

  return {
    async present(stream_id, actor_id, command) {
      const present = await store.present(stream_id, actor_id, command)
      if (present.row === null || present.erased) return present
      // The store gives the wrapped key with the row.
      const { wrapped_key, wrapped_by, ...stored } = present.row as Row & WrappedKey
      const { user_id } = stored
      const key = await keys.unwrap({ user_id, wrapped_key, wrapped_by }).catch(damaged)
      const row = decryptTexts(stored as Row, stream_id, new Map([[user_id, key]]))
      return row instanceof Error ? { ...present, unreadable: true } : { ...present, row }
    },
    page: async (...asked) => {
      const { events, more } = await store.page(...asked)
      return { events: await read(events), more }
    },
    outlines: store.outlines,
    inForce: async (stream_id, version) => read(await store.inForce(stream_id, version)),
    versionAt: store.versionAt,
    readAll: async (after, limit) => read(await store.readAll(after, limit)),
    end: store.end,
    last: store.last,
    now: store.now,
    summariesOfActor: store.summariesOfActor,
    summariesInForce: store.summariesInForce,
    readAt: async (positions) => read(await store.readAt(positions)),
    positionAt: store.positionAt,

    async append(append) {
      const { user_id } = append.row
      const key = await keys.forWriting(user_id)
      const events = append.events.map((event) => {
        const data = mapTexts(event.data, (text, field) =>
          typeof text === 'string'
            ? encryptText(key, user_id, { stream_id: append.stream_id, field }, text)
            : text,
        )
        return { ...event, data }
      })
      return store.append({ ...append, events, row: rowToStore(append.row, events, key) })
    },
  }
}

/** Of a decrypted row. */
export const textsOf = (row: object): readonly (string | null)[] =>
  TEXT_FIELDS.map((field) => Reflect.get(row, field))

/** What the events set of the row's texts, as they set it: the others stay as they are stored. */
function rowToStore<Row extends object>(row: Row, events: readonly Shape[], key: Buffer): Row {
  const set = Object.assign({}, ...events.map(({ data }) => data))
  const texts = TEXT_FIELDS.filter((field) => field in set)
  const fields = Object.entries(row).filter(([name]) => !TEXT_FIELDS.some((text) => text === name))
  return {
    ...Object.fromEntries([...fields, ...texts.map((field) => [field, set[field]])]),
    ...(texts.length > 0 && { ngrams: ngramsOf(key, textsOf(row)) }),
  } as Row
}

/** The row with its texts decrypted; null when their key is destroyed, an error when something is damaged. */
export function decryptTexts<Row extends object>(
  row: Row,
  stream_id: string,
  keys: ReadonlyMap<number, Buffer | Error>,
): Row | null | Error {
  let outcome: null | Error | undefined
  const clear = mapTexts(row, (value, field) => {
    if (value === null || typeof value === 'string') return value
    const text = tryText(value, { stream_id, field }, keys)
    if (typeof text !== 'string') outcome = text
    return text
  })
  return outcome === undefined ? clear : outcome
}

/** The events with their texts decrypted, or null where the key is destroyed or something is damaged. */
export async function decryptEvents<Event extends Shape>(
  events: readonly Recorded<Event>[],
  keys: KeysToRead,
): Promise<readonly Recorded<Event>[]> {
  const texts = events.flatMap(({ data }) => TEXT_FIELDS.map((field) => Reflect.get(data, field)))
  const known = await keys.findEach(texts.filter(isEncrypted).map(({ user }) => user))
  return events.map((event) => {
    const flags: { erased?: true; unreadable?: true } = {}
    const data = mapTexts(event.data, (value, field) => {
      if (value === null || typeof value === 'string') return value
      const text = tryText(value, { stream_id: event.stream_id, field }, known)
      if (text instanceof Error) flags.unreadable = true
      else if (text === null) flags.erased = true
      return text instanceof Error ? null : text
    })
    // A newer version may store texts in another form: that is not damage.
    if (readTaskEvent(event) === null) delete flags.unreadable
    return { ...event, data, ...flags }
  })
}

/** The decrypted text; null if its key is destroyed; an error if it, or its key, is damaged. */
export function tryText(
  value: unknown,
  place: { readonly stream_id: string; readonly field: string },
  keys: ReadonlyMap<number, Buffer | Error>,
): string | null | Error {
  if (!isEncrypted(value)) return new Error(`The ${place.field} is not in any form of a text.`)
  try {
    return readText(value, place, keys)
  } catch (error) {
    return error as Error
  }
}

/** The decrypted text; null if its key is destroyed. Throws if it, or its key, is damaged. */
export function readText(
  text: EncryptedText,
  place: { readonly stream_id: string; readonly field: string },
  keys: ReadonlyMap<number, Buffer | Error>,
): string | null {
  const dataKey = keys.get(text.user)
  if (dataKey instanceof Error) throw dataKey
  return dataKey === undefined ? null : decryptedText(dataKey, text, place)
}

export const isEncrypted = (value: unknown): value is EncryptedText =>
  typeof value === 'object' &&
  value !== null &&
  typeof Reflect.get(value, 'cipher') === 'string' &&
  Number.isSafeInteger(Reflect.get(value, 'user'))

function mapTexts<Data extends object>(
  data: Data,
  map: (value: unknown, field: string) => unknown,
): Data {
  const changed = TEXT_FIELDS.filter((field) => field in data).map((field) => {
    return [field, map(Reflect.get(data, field), field)]
  })
  return { ...data, ...Object.fromEntries(changed) }
}
