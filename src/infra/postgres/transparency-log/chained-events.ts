import { eventHash, type TrailEvent } from '../../../verifier/formats.ts'
import type { Query } from '../projections/projection.ts'
import { eventsAfter } from './exact-rows.ts'

/** What is logged of an event. */
export type ChainedEvent = Pick<TrailEvent, 'position' | 'stream_id' | 'version' | 'hash'>

/** A multiple of a page. */
export const MOST_EVENTS = 10_000
/** Events are read in full, and may be long. */
const PAGE = 500

const HASHES = {
  name: 'hashes_before',
  text: `
    select stream_id, encode(hash, 'hex') as hash
    from unnest($1::text[], $2::bigint[]) as wanted (stream_id, version)
      cross join lateral (
        select hash from events e
        where e.stream_id = wanted.stream_id and e.version = wanted.version limit 1) event`,
}

/**
 * The next events, at most 10,000, as long as each matches its hash and is chained to the one before it in its
 * stream. If one does not, the list ends before it, and `broken` says what is wrong with it.
 */
export async function chainedEvents(
  query: Query,
  after: number,
  upTo: number,
): Promise<{ readonly events: readonly ChainedEvent[]; readonly broken: string | null }> {
  const events: ChainedEvent[] = []
  const heads = new Map<string, string>()
  const read = (from: number) => eventsAfter(query, from, upTo, PAGE)
  let reading: Promise<readonly TrailEvent[]> | null = read(after)
  while (reading !== null) {
    const page: readonly TrailEvent[] = await reading
    const last = page.at(-1)
    await addHeads(query, page, heads)
    // The database reads the next ones while this process hashes these.
    const isFull = page.length === PAGE && events.length + PAGE < MOST_EVENTS
    reading = isFull && last !== undefined ? read(last.position) : null
    for (const event of page) {
      const { position, stream_id, version, hash } = event
      const broken = faultIn(event, heads.get(stream_id) ?? null)
      if (broken !== null) {
        await reading
        return {
          events,
          broken: `${stream_id} version ${version} (position ${position}) ${broken}`,
        }
      }
      heads.set(stream_id, hash)
      events.push({ position, stream_id, version, hash })
    }
  }
  return { events, broken: null }
}

function faultIn(event: TrailEvent, head: string | null): string | null {
  if (event.prev_hash !== head) return `is not chained to version ${event.version - 1}`
  return eventHash(event) === event.hash ? null : 'has a hash that does not match its contents'
}

/** For streams that are new on this page: the hash that their first event here must be chained to. */
async function addHeads(
  query: Query,
  page: readonly TrailEvent[],
  heads: Map<string, string>,
): Promise<void> {
  const first = new Map<string, number>()
  for (const { stream_id, version } of page) {
    if (!heads.has(stream_id) && !first.has(stream_id)) first.set(stream_id, version - 1)
  }
  if (first.size === 0) return
  const rows = await query<{ stream_id: string; hash: string }>(HASHES, [
    [...first.keys()],
    [...first.values()],
  ])
  for (const { stream_id, hash } of rows) heads.set(stream_id, hash)
}
