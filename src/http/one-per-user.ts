import { Mutex, withTimeout } from 'async-mutex'
import type { HttpError } from './errors.ts'

/** Waits for the user's turn; what it returns ends the turn. */
export type Enter = (user_id: number) => Promise<() => void>

/** Who asks for more at once is not waited for any longer. */
const MOST_WAITING = 10

/**
 * Each user does one thing at a time in this process, so that no one of them can take all of what
 * everybody shares; the next one waits for `ms` and is then refused.
 */
export function onePerUser(ms: number, refusal: HttpError): Enter {
  const open = new Map<number, { readonly turns: Mutex; inside: number }>()

  return async (user_id) => {
    const own = open.get(user_id) ?? { turns: new Mutex(), inside: 0 }
    if (own.inside > MOST_WAITING) throw refusal
    open.set(user_id, own)
    own.inside++
    const leave = () => {
      own.inside--
      if (own.inside === 0) open.delete(user_id)
    }
    try {
      const release = await withTimeout(own.turns, ms, refusal).acquire()
      return () => {
        release()
        leave()
      }
    } catch (error) {
      leave()
      throw error
    }
  }
}
