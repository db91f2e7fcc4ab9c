const FRESH_MS = 60 * 60_000
const USABLE_MS = 24 * FRESH_MS

/**
 * What `read` gave last: it is asked again after an hour, once for all who wait. While that fails, what it gave before
 * holds for a day. `now`: milliseconds.
 */
export function remembered<T>(read: () => Promise<T>): (now: number) => Promise<T> {
  let known: { readonly value: T; readonly at: number } | undefined
  let reading: Promise<T> | undefined

  const readAgain = async (at: number): Promise<T> => {
    try {
      const value = await read()
      known = { value, at }
      return value
    } finally {
      reading = undefined
    }
  }
  return async (now) => {
    const last = known
    if (last !== undefined && now - last.at < FRESH_MS) return last.value
    reading ??= readAgain(now)
    return reading.catch((error) => {
      if (last !== undefined && now - last.at < USABLE_MS) return last.value
      throw error
    })
  }
}
