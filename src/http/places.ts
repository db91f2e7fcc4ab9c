import { Semaphore, withTimeout } from 'async-mutex'
import { HttpError } from './errors.ts'

/** Waits for a place; the function that it returns gives the place back. */
export type Enter = (user: number | string) => Promise<() => void>

export type Places = {
  /** How many places there are in this process. */
  readonly all: number
  /** How many of them one user may hold. @default 1 */
  readonly each?: number
  /** How many calls of one user may wait; further ones are refused at once. @default 10 */
  readonly waiting?: number
  /** How long a call waits. */
  readonly ms: number
  /** The error when all of a user's own places are taken. @default `too_many_requests` */
  readonly refusal?: HttpError
  /** Seconds after which a retry makes sense. */
  readonly retryAfter: number
}

/**
 * Limits what takes much memory while it is built: how many at once in this process, and how many of one
 * user, so that no one can use up what all share. A call that waits in vain for a place of the process gets
 * `overloaded`.
 */
export function places(on: Places): Enter {
  const { all, each = 1, waiting = 10, ms, retryAfter } = on
  const { refusal = new HttpError('too_many_requests', { retryAfter }) } = on
  const everybodys = withTimeout(
    new Semaphore(all),
    ms,
    new HttpError('overloaded', { retryAfter }),
  )
  const users = new Map<number | string, { readonly own: Semaphore; inside: number }>()

  return async (whose) => {
    const user = users.get(whose) ?? { own: new Semaphore(each), inside: 0 }
    if (user.inside >= each + waiting) throw refusal
    users.set(whose, user)
    user.inside++
    const leave = [
      () => {
        user.inside--
        if (user.inside === 0) users.delete(whose)
      },
    ]
    const leaveAll = () => {
      for (const step of leave.splice(0).reverse()) step()
    }
    try {
      for (const place of [withTimeout(user.own, ms, refusal), everybodys]) {
        const [, release] = await place.acquire()
        leave.push(release)
      }
      return leaveAll
    } catch (error) {
      leaveAll()
      throw error
    }
  }
}

/** Does the work while holding a place. */
export async function inPlace<T>(
  enter: Enter,
  user: number | string,
  work: () => Promise<T>,
): Promise<T> {
  const leave = await enter(user)
  try {
    return await work()
  } finally {
    leave()
  }
}
