import type { AppendNotifier } from '../../../app/ports/event-store.ts'
import type { Log } from '../../../app/ports/process.ts'
import type { Database } from '../connection/database.ts'
import { safePosition } from './safe-position.ts'

const ACTORS = {
  name: 'actors_of_new_events',
  text: 'select distinct actor_id from events where position > $1 and position <= $2',
}

const POLL_MS = 1_000

/** Calls back soon after an append, and sometimes without one; returns a function that stops it. */
export type Wake = { readonly subscribe: (onWake: () => void) => () => void }

/**
 * Asks once for all subscribers which actors have new events: when woken, and every second in case a call
 * was lost. Asks nothing while there are no subscribers.
 */
export function postgresAppendNotifier(db: Database, wake: Wake, log: Log): AppendNotifier {
  const subscribers = new Map<number, Set<() => void>>()

  const actorsBetween = async (after: number, upTo: number) => {
    if (upTo <= after) return []
    const rows = await db.query<{ actor_id: number }>(ACTORS, [after, upTo])
    return rows.map(({ actor_id }) => actor_id)
  }

  /** From the first subscriber to the last; its knowledge ends with it. */
  const begin = () => {
    let position: number | undefined
    let asking = false
    let again = false
    let over = false
    const ask = async () => {
      const upTo = await safePosition(db.query)
      // Nobody knows what came while nobody asked: the first time all subscribers look for themselves.
      const actors =
        position === undefined ? [...subscribers.keys()] : await actorsBetween(position, upTo)
      position = upTo
      if (over) return
      for (const actor_id of actors)
        for (const onAppend of subscribers.get(actor_id) ?? []) onAppend()
    }
    const look = async () => {
      again = true
      if (asking) return
      asking = true
      while (again && !over) {
        again = false
        await ask().catch((error: Error) =>
          log.warn({ err: error.message }, 'cannot look for new events'),
        )
      }
      asking = false
    }
    const unsubscribe = wake.subscribe(() => void look())
    const timer = setInterval(() => void look(), POLL_MS)
    void look()
    return () => {
      over = true
      unsubscribe()
      clearInterval(timer)
    }
  }

  let stop: (() => void) | undefined
  return {
    subscribe(actor_id, onAppend) {
      stop ??= begin()
      const own = subscribers.get(actor_id) ?? new Set()
      subscribers.set(actor_id, own.add(onAppend))
      return () => {
        own.delete(onAppend)
        if (own.size === 0) subscribers.delete(actor_id)
        if (subscribers.size > 0) return
        stop?.()
        stop = undefined
      }
    },
  }
}
