type Waiting<Item, Answer> = {
  readonly item: Item
  /** When its caller stops waiting. */
  readonly deadline: number
  readonly resolve: (answer: Answer | PromiseLike<Answer>) => void
  readonly reject: (error: unknown) => void
}

export type BatchLimits = {
  /** Items in one call. */
  readonly items: number
  /** Bytes of the items in one call; an item beyond that goes alone. */
  readonly bytes: number
  /** Callers who wait for a call to begin. */
  readonly waiting: number
  /** Calls under way. */
  readonly calls: number
  /** Who waits for a call that takes longer, in ms, waits no more: the next one goes out beside it. */
  readonly patience: number
  /** How long a caller waits, in ms. */
  readonly total: number
}

/**
 * Answers many callers with few calls, but never with one that began before the caller came: who comes
 * while a call is under way goes with the next one, which begins when that one ends. While nothing is under
 * way nobody waits for longer than this turn of the event loop, in which others may come along: without them
 * every second call would carry one. A call is made with the deadline of its last caller; each caller waits
 * until their own.
 */
export function batches<Item, Answer>({
  call,
  sizeOf,
  limits,
  now,
  refusal,
}: {
  /** Gives each item its answer, or a promise of its own, in their order. A rejection is every item's. */
  readonly call: (
    items: readonly Item[],
    deadline: number,
  ) => Promise<readonly (Answer | PromiseLike<Answer>)[]>
  readonly sizeOf: (item: Item) => number
  readonly limits: BatchLimits
  /** Milliseconds. */
  readonly now: () => number
  /** What a caller is told who finds too many waiting, or has waited too long. */
  readonly refusal: (cause: Error) => Error
}): (item: Item) => Promise<Answer> {
  type Caller = Waiting<Item, Answer>
  /** In the order in which they came. */
  const waiting = new Set<Caller>()
  let underWay = 0
  /** The call that those who wait are waiting for. */
  let current: symbol | undefined

  function take(): Caller[] {
    const batch: Caller[] = []
    let bytes = 0
    for (const caller of waiting) {
      bytes += sizeOf(caller.item)
      if (batch.length === limits.items || (bytes > limits.bytes && batch.length > 0)) break
      batch.push(caller)
      waiting.delete(caller)
    }
    return batch
  }

  async function answer(batch: readonly Caller[]): Promise<void> {
    try {
      const deadline = batch.at(-1)?.deadline ?? now()
      const answers = await call(
        batch.map(({ item }) => item),
        deadline,
      )
      for (const [n, caller] of batch.entries()) caller.resolve(answers[n] as Answer)
    } catch (error) {
      for (const caller of batch) caller.reject(error)
    }
  }

  /** Whether a call is about to begin, at the end of this turn. */
  let gathering = false
  function gather(): void {
    if (gathering || current !== undefined) return
    gathering = true
    setImmediate(() => {
      gathering = false
      begin()
    })
  }

  function begin(): void {
    if (current !== undefined || waiting.size === 0 || underWay >= limits.calls) return
    const own = Symbol('call')
    current = own
    underWay += 1
    const goOn = () => {
      if (current === own) current = undefined
      gather()
    }
    const patience = setTimeout(goOn, limits.patience)
    void answer(take()).finally(() => {
      clearTimeout(patience)
      underWay -= 1
      goOn()
    })
  }

  return async (item) => {
    if (waiting.size >= limits.waiting) throw refusal(new Error('too many wait'))
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const caller = { item, deadline: now() + limits.total, resolve, reject }
    // Node keeps timers of one length in one list: each costs next to nothing.
    const late = setTimeout(() => {
      waiting.delete(caller)
      reject(refusal(new Error(`no answer within ${limits.total} ms`)))
    }, limits.total)
    waiting.add(caller)
    gather()
    try {
      return await promise
    } finally {
      clearTimeout(late)
    }
  }
}
