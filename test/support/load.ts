import type { EventStore, Recorded } from '../../src/app/ports/event-store.ts'

/** All events of a stream above a version, oldest first, and the head that the next one is chained to. */
export async function load<Event>(
  store: Pick<EventStore<Event, never>, 'page'>,
  stream_id: string,
  after = 0,
): Promise<{
  readonly version: number
  readonly head_hash: string | null
  readonly events: readonly Recorded<Event>[]
}> {
  const events: Recorded<Event>[] = []
  for (let more = true; more; ) {
    const place = { after: events.at(-1)?.version ?? after }
    const page = await store.page(stream_id, place, 1_000)
    events.push(...page.events)
    more = page.more
  }
  const last = events.at(-1)
  return { version: last?.version ?? after, head_hash: last?.hash ?? null, events }
}
