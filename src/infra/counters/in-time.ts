import { setImmediate as turn } from 'node:timers/promises'

/** Error: not settled within the time. */
export class TooLate extends Error {}

/**
 * The outcome of `work`, if it comes within so many milliseconds of waiting. What this process itself is too
 * busy to send or to receive does not count: the time begins when all that was begun before has been sent,
 * and at its end what has already arrived is still read.
 */
export async function inTime<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  let isSettled = false
  const late = (async () => {
    await turn()
    if (isSettled) return
    await new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms)
    })
    await turn()
    throw new TooLate(`no answer within ${ms} ms`)
  })()
  try {
    return await Promise.race([work, late as Promise<never>])
  } finally {
    isSettled = true
    clearTimeout(timer)
  }
}
