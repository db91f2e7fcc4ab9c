import { setTimeout as sleep } from 'node:timers/promises'

/** Does something, and again after a pause while it asks for that; `close` waits for its end. */
export function repeat(
  pauseMs: number,
  work: (signal: AbortSignal) => Promise<'again' | 'done'>,
): { readonly close: () => Promise<void> } {
  const closing = new AbortController()
  const { signal } = closing
  const running = (async () => {
    while (!signal.aborted && (await work(signal)) === 'again') {
      await sleep(pauseMs, undefined, { signal }).catch(() => {})
    }
  })()
  return {
    close: async () => {
      closing.abort()
      await running
    },
  }
}
