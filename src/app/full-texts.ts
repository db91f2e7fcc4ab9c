import type { EventStore } from './ports/event-store.ts'

/** An answer ends early once its texts fill this many bytes, so that it cannot use up the memory. */
export const PAGE_BYTES = 8 * 1024 * 1024

export type FullTexts = {
  /** The text that this placeholder of a summary's field stands for; null stays null. */
  readonly text: <Text extends string | null>(field: 'title' | 'description', place: Text) => Text
  /** Whether the text of this placeholder is null because it, or its key, is damaged. */
  readonly isUnreadable: (place: string | null) => boolean
}

/** Reads the texts of the summaries. */
export async function fullTexts<Event extends { readonly data: object }>(
  store: Pick<EventStore<Event, unknown>, 'readAt'>,
  places: readonly (string | null)[],
): Promise<FullTexts> {
  const positions = [...new Set(places.filter((place) => place !== null))].map(Number)
  const events = await store.readAt(positions)
  const byPlace = new Map(events.map((event) => [String(event.position), event]))
  return {
    text: (field, place) =>
      place === null ? place : Reflect.get(byPlace.get(place)?.data ?? {}, field),
    isUnreadable: (place) => place !== null && byPlace.get(place)?.unreadable === true,
  }
}

export function* chunks<T>(all: readonly T[], size: number): Generator<readonly T[]> {
  for (let at = 0; at < all.length; at += size) yield all.slice(at, at + size)
}
