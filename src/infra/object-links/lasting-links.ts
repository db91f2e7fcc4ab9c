import { LRUCache } from 'lru-cache'
import type { LastingLink, ObjectStorage } from '../../app/ports/object-storage.ts'

/** A link is handed out for as long as it is kept, and works for that long afterwards. */
const KEPT_MS = 5 * 60_000
/** About 700 bytes each. */
const MOST_LINKS = 20_000

/**
 * Links that are handed out again and again. To sign one takes longer than all else about a photo in a list, and a
 * browser keeps what it has loaded only while the URL is the same. A version never changes, so neither does what
 * a link leads to; who may have it was decided before it was asked for.
 */
export function lastingLinks(
  { offerDownload }: Pick<ObjectStorage, 'offerDownload'>,
  now: () => number = () => performance.now(),
): LastingLink {
  const kept = new LRUCache<string, Promise<string>>({
    max: MOST_LINKS,
    ttl: KEPT_MS,
    ttlResolution: 0,
    perf: { now },
  })
  return (offer) => {
    const name = JSON.stringify(Object.values(offer))
    const known = kept.get(name)
    if (known !== undefined) return known
    const link = offerDownload(offer, (2 * KEPT_MS) / 1_000)
    kept.set(name, link)
    link.catch(() => kept.delete(name))
    return link
  }
}
