import type { Seal, TrailEvent } from './formats.ts'
import type { Trail } from './trail.ts'

/** Adds pages of events, and begins and ends each seal where it should. */
export async function walk<Event extends TrailEvent>(
  trail: Trail<Event>,
  pages: AsyncIterable<readonly Event[]>,
  seals: AsyncIterable<Seal>,
): Promise<void> {
  const rest = seals[Symbol.asyncIterator]()
  const next = async (): Promise<Seal | null> => {
    const result = await rest.next()
    if (result.done) return null
    trail.begin(result.value)
    return result.value
  }
  let seal = await next()
  const endBefore = async (position: number) => {
    while (seal !== null && position > seal.position) {
      trail.end()
      seal = await next()
    }
  }
  for await (const page of pages) {
    for (const event of page) {
      if (seal !== null && event.position > seal.position) await endBefore(event.position)
      trail.add(event)
    }
  }
  await endBefore(Number.POSITIVE_INFINITY)
  trail.requireKept()
}
