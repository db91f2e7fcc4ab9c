import { v7 as uuidv7 } from 'uuid'
import { AppError } from '../app/errors.ts'
import type { TokenValidator } from '../app/ports/authorization.ts'
import type { Log } from '../app/ports/process.ts'
import { STATUS } from './errors.ts'

/** How long an idle stream may outlive its session. */
const SESSION_CHECK_MS = 5_000

/** So many fit in one call, and hardly delay the requests that wait for the next one. */
const AT_ONCE = 100

/** Calls back when the token is no longer valid; returns a function that stops watching. */
export type WatchSession = (token: string, onEnd: () => void) => () => void

/**
 * Validates the tokens of all watched sessions together, again and again while there are any. While
 * auth-service is unavailable no session counts as ended.
 */
export function sessionRounds(
  tokens: TokenValidator,
  log: Log,
  pauseMs = SESSION_CHECK_MS,
): WatchSession {
  const watched = new Map<string, Set<() => void>>()
  let planned = false

  /** Why the token could not be validated. */
  const check = async (token: string, request_id: string): Promise<unknown> => {
    try {
      await tokens.validate(token, request_id)
    } catch (error) {
      if (!(error instanceof AppError) || STATUS[error.code] !== 401) return error
      for (const onEnd of watched.get(token) ?? []) onEnd()
    }
    return undefined
  }
  const round = async () => {
    const request_id = uuidv7()
    const all = [...watched.keys()]
    for (let n = 0; n < all.length; n += AT_ONCE) {
      const some = all.slice(n, n + AT_ONCE)
      const errors = await Promise.all(some.map((token) => check(token, request_id)))
      const error = errors.find((each) => each !== undefined)
      if (error === undefined) continue
      const err = (error as Error).message
      log.warn({ request_id, err }, 'cannot check which sessions have ended')
      return
    }
  }
  const plan = () => {
    if (planned) return
    planned = true
    setTimeout(async () => {
      if (watched.size > 0) await round()
      planned = false
      if (watched.size > 0) plan()
    }, pauseMs).unref()
  }

  return (token, onEnd) => {
    const own = watched.get(token) ?? new Set()
    watched.set(token, own.add(onEnd))
    plan()
    return () => {
      own.delete(onEnd)
      if (own.size === 0) watched.delete(token)
    }
  }
}
