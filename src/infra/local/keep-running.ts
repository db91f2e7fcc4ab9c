import { setTimeout as sleep } from 'node:timers/promises'

/** A process that is up and ready. */
export type Running = {
  readonly pid: number
  /** How it ended: `code 1`, `signal SIGKILL`. Never rejects. */
  readonly exited: Promise<string>
  /** Resolves when it is gone. */
  readonly stop: () => Promise<void>
}

export type KeptRunning = { readonly pid: number; readonly stop: () => Promise<void> }

export type KeepRunningOptions = {
  /** Starts it, the first time and again; always at the same address. */
  readonly start: () => Promise<Running>
  readonly startedAgain: (how: string, running: Running) => void
  readonly cannotStart: (error: Error, retryMs: number) => void
}

const BACKOFF_MS = { first: 200, longest: 5_000 }
// Who lived that long died of something new.
const SOUND_LIFE_MS = 30_000

/** Starts a process, and starts it again whenever it dies. Rejects if the first start fails. */
export async function keepRunning(options: KeepRunningOptions): Promise<KeptRunning> {
  const { start, startedAgain, cannotStart } = options
  const stopping = new AbortController()
  let running = await start()

  const watch = async () => {
    let backoff = BACKOFF_MS.first
    for (;;) {
      const since = Date.now()
      const how = await running.exited
      if (Date.now() - since > SOUND_LIFE_MS) backoff = BACKOFF_MS.first
      for (let up = false; !up; ) {
        await sleep(backoff, undefined, { signal: stopping.signal }).catch(() => {})
        if (stopping.signal.aborted) return
        backoff = Math.min(backoff * 2, BACKOFF_MS.longest)
        try {
          running = await start()
          up = true
          if (!stopping.signal.aborted) startedAgain(how, running)
        } catch (error) {
          if (!stopping.signal.aborted) cannotStart(error as Error, backoff)
        }
      }
      if (stopping.signal.aborted) return await running.stop()
    }
  }
  const watching = watch()

  return {
    pid: running.pid,
    stop: async () => {
      stopping.abort()
      await running.stop()
      await watching
    },
  }
}
