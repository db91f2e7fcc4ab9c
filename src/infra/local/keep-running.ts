import { setTimeout as sleep } from 'node:timers/promises'

/** A process that is up and ready. */
export type Running = {
  readonly pid: number
  /** How it ended: `code 1`, `signal SIGKILL`. Never rejects. */
  readonly exited: Promise<string>
  /** Resolves when it has ended. */
  readonly stop: () => Promise<void>
}

export type KeptRunning = { readonly pid: number; readonly stop: () => Promise<void> }

export type KeepRunningOptions = {
  /** Starts it, the first time and again; always at the same address. */
  readonly start: () => Promise<Running>
  readonly startedAgain: (how: string, running: Running) => void
  readonly cannotStart: (error: Error, retryMs: number) => void
}

const FIRST_MS = 200
// What ran before will run again: nobody should wait long for it. What cannot start costs work each time.
const LONGEST_MS = { died: 800, failed: 5_000 }
const SOUND_LIFE_MS = 1_000

/** How long to wait before the next start. */
export function backOff() {
  let next = FIRST_MS
  const upTo = (longest: number) => {
    const pause = Math.min(next, longest)
    next = pause * 2
    return pause
  }
  return {
    /** After it was up for this long. */
    afterLife(ms: number): number {
      if (ms >= SOUND_LIFE_MS) next = FIRST_MS
      return upTo(LONGEST_MS.died)
    },
    /** After it could not start. */
    afterFailure: (): number => upTo(LONGEST_MS.failed),
  }
}

/** Starts a process, and starts it again whenever it dies. Rejects if the first start fails. */
export async function keepRunning(options: KeepRunningOptions): Promise<KeptRunning> {
  const { start, startedAgain, cannotStart } = options
  const stopping = new AbortController()
  let running = await start()

  const watch = async () => {
    const { afterLife, afterFailure } = backOff()
    for (;;) {
      const since = Date.now()
      const how = await running.exited
      let pause = afterLife(Date.now() - since)
      for (let up = false; !up; ) {
        await sleep(pause, undefined, { signal: stopping.signal }).catch(() => {})
        if (stopping.signal.aborted) return
        try {
          running = await start()
          up = true
          if (!stopping.signal.aborted) startedAgain(how, running)
        } catch (error) {
          pause = afterFailure()
          if (!stopping.signal.aborted) cannotStart(error as Error, pause)
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
