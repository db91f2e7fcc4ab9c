import { setTimeout as sleep } from 'node:timers/promises'
import type { EventStore } from '../../../app/ports/event-store.ts'
import type { Log } from '../../../app/ports/process.ts'
import type { Wake } from '../event-store/append-notifier.ts'
import type { DatabaseConfig } from './database.ts'
import { type Database, singleConnection } from './database.ts'

const CHANNEL = 'tasktrail_events'
const NOTIFY = { name: 'notify', text: `select pg_notify('${CHANNEL}', '')` }

const PAUSE_MS = 20
const RECONNECT_MS = 1_000
const HEARTBEAT_MS = 10_000

/**
 * An event store that notifies listeners after each append: after the commit, because a NOTIFY inside the
 * transaction would make all commits wait for each other, and one for many appends. A lost notification
 * costs only time: listeners also poll.
 */
export function notifyingEventStore<Event, Row>(
  store: EventStore<Event, Row>,
  db: Database,
  log: Log,
): EventStore<Event, Row> {
  let due = false
  let running = false
  const announce = async () => {
    due = true
    if (running) return
    running = true
    while (due) {
      due = false
      await db
        .query(NOTIFY, [])
        .catch((error: Error) => log.warn({ err: error.message }, 'cannot announce events'))
      await sleep(PAUSE_MS, undefined, { ref: false })
    }
    running = false
  }
  return {
    ...store,
    async append(append) {
      const result = await store.append(append)
      if (result.outcome === 'appended' && append.events.length > 0) void announce()
      return result
    },
  }
}

export type Listener = Wake & { readonly close: () => Promise<void> }

/** Listens on a connection of its own, and reconnects whenever it is lost. */
export function listenForEvents(on: {
  readonly connection: DatabaseConfig['connection']
  readonly role: string
  readonly log: Log
}): Listener {
  const { connection, role, log } = on
  const subscribers = new Set<() => void>()
  const closing = new AbortController()
  const wakeAll = () => {
    for (const onWake of subscribers) onWake()
  }

  const listen = async () => {
    const limits = { connectionTimeoutMillis: 1_000, query_timeout: 2_500, keepAlive: true }
    const application_name = `${role} listener`
    const client = singleConnection({ ...connection, ...limits, application_name }, role)
    const lost = new AbortController()
    client.on('error', () => lost.abort())
    client.on('end', () => lost.abort())
    client.on('notification', wakeAll)
    const over = AbortSignal.any([lost.signal, closing.signal])
    try {
      await client.connect()
      await client.query(`listen ${CHANNEL}`)
      // Notifications sent while nobody listened are lost.
      wakeAll()
      while (!over.aborted) {
        await sleep(HEARTBEAT_MS, undefined, { signal: over }).catch(() => {})
        // A half-open connection does not show that it is one.
        if (!over.aborted) await client.query('select 1')
      }
    } finally {
      await client.end().catch(() => {})
    }
  }
  const running = (async () => {
    while (!closing.signal.aborted) {
      await listen().catch((error: Error) => log.warn({ err: error.message }, 'cannot listen'))
      await sleep(RECONNECT_MS, undefined, { signal: closing.signal }).catch(() => {})
    }
  })()

  return {
    subscribe(onWake) {
      subscribers.add(onWake)
      return () => void subscribers.delete(onWake)
    },
    async close() {
      closing.abort()
      await running
    },
  }
}
