import { v7 as uuidv7 } from 'uuid'
import type { SessionCheck } from '../app/ports/authorization.ts'
import type { Log } from '../app/ports/process.ts'

/** How long an idle stream may outlive its session. */
const SESSION_CHECK_MS = 5_000

/** Calls back when auth-service reports the session as ended; returns a function that stops watching. */
export type WatchSession = (session_id: string, onEnd: () => void) => () => void

/**
 * Checks all watched sessions in one call, again and again while there are any. While auth-service is
 * unavailable no session counts as ended.
 */
export function sessionRounds(
  sessions: SessionCheck,
  log: Log,
  pauseMs = SESSION_CHECK_MS,
): WatchSession {
  const watched = new Map<string, Set<() => void>>()
  let planned = false

  const ask = async () => {
    const request_id = uuidv7()
    try {
      const ended = await sessions.ended([...watched.keys()], request_id)
      for (const id of ended) for (const onEnd of watched.get(id) ?? []) onEnd()
    } catch (error) {
      log.warn(
        { request_id, err: (error as Error).message },
        'cannot check which sessions have ended',
      )
    }
  }
  const plan = () => {
    if (planned) return
    planned = true
    setTimeout(async () => {
      if (watched.size > 0) await ask()
      planned = false
      if (watched.size > 0) plan()
    }, pauseMs).unref()
  }

  return (session_id, onEnd) => {
    const own = watched.get(session_id) ?? new Set()
    watched.set(session_id, own.add(onEnd))
    plan()
    return () => {
      own.delete(onEnd)
      if (own.size === 0) watched.delete(session_id)
    }
  }
}
