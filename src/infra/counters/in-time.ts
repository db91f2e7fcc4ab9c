/** Error: not settled within the time. */
export class TooLate extends Error {}

/**
 * The outcome of `work`, if it comes within so many milliseconds of waiting. What this process itself is too
 * busy to send or to receive does not count: the time begins when all that was begun before has been sent,
 * and at its end what has already arrived is still read. No async function: it is asked with each request.
 */
export function inTime<T>(work: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    let isSettled = false
    let timer: NodeJS.Timeout | undefined
    const settle = () => {
      isSettled = true
      clearTimeout(timer)
    }
    const late = () => reject(new TooLate(`no answer within ${ms} ms`))
    work.finally(settle).then(resolve, reject)
    setImmediate(() => {
      if (!isSettled) timer = setTimeout(() => setImmediate(late), ms)
    })
  })
}
