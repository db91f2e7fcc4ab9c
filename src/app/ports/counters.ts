/** How often something happened in the present window of its key, which began with the first time. */
export type Count = {
  readonly count: number
  /** Until the window ends and the count begins anew; positive. */
  readonly msLeft: number
}

/** Counts by key. Never rejects. */
export type Counter = {
  /** Counts one more, and says how many that makes. */
  readonly add: (key: string) => Promise<Count>
  /** Null: nothing in the present window. */
  readonly get: (key: string) => Promise<Count | null>
}

/** The counter of that name, with windows of so many seconds. */
export type Counters = (name: string, seconds: number) => Counter

export type ClosableCounters = { readonly counters: Counters; readonly close: () => Promise<void> }
