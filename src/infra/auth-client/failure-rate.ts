import { CircuitState, type IBreaker } from 'cockatiel'

type Second = { readonly at: number; calls: number; failures: number }

/**
 * Opens the circuit when at least `share` of at least `calls` calls in the last `seconds` failed.
 * cockatiel's SamplingBreaker opens only above the share, and drops an old second only when another call
 * comes: 19 failures and, an hour later, one more opened it.
 */
export function failureRate({
  share,
  calls,
  seconds,
  now = () => performance.now(),
}: {
  readonly share: number
  readonly calls: number
  readonly seconds: number
  /** Milliseconds. */
  readonly now?: () => number
}): IBreaker {
  let recent: Second[] = []

  function count(failures: 0 | 1): void {
    const at = Math.floor(now() / 1000)
    recent = recent.filter((second) => second.at > at - seconds)
    const last = recent.at(-1)
    if (last?.at !== at) recent.push({ at, calls: 1, failures })
    else {
      last.calls += 1
      last.failures += failures
    }
  }

  const sum = (of: 'calls' | 'failures') => recent.reduce((total, second) => total + second[of], 0)

  return {
    // Only cockatiel's toJSON would use it.
    state: undefined,
    success: (state) => {
      // A probe has succeeded: earlier failures no longer count.
      if (state === CircuitState.HalfOpen) recent = []
      count(0)
    },
    failure: () => {
      count(1)
      return sum('calls') >= calls && sum('failures') >= share * sum('calls')
    },
  }
}
