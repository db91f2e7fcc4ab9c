type Lane<Details, Result> = {
  readonly running: Promise<Result>
  next: Promise<Result> | undefined
  /** Those of the last caller. */
  details: Details
}

/**
 * Lets concurrent callers with the same key share calls, but never one that began before they came: while a
 * call runs, all later callers together wait for one next call, which starts when that one settles. So
 * nobody gets an answer older than their question, and a key has at most one running and one waiting call.
 * A shared call is made with the details of the last caller.
 */
export function shareNextCall<Details, Result>(
  call: (key: string, details: Details) => Promise<Result>,
): (key: string, details: Details) => Promise<Result> {
  const lanes = new Map<string, Lane<Details, Result>>()

  function start(key: string, details: Details): Promise<Result> {
    const running = call(key, details)
    const lane: Lane<Details, Result> = { running, next: undefined, details }
    lanes.set(key, lane)
    const leave = () => {
      if (lane.next === undefined) lanes.delete(key)
    }
    running.then(leave, leave)
    return running
  }

  return (key, details) => {
    const lane = lanes.get(key)
    if (lane === undefined) return start(key, details)
    lane.details = details
    const begin = () => start(key, lane.details)
    lane.next ??= lane.running.then(begin, begin)
    return lane.next
  }
}
