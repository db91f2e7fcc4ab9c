import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { E_TIMEOUT, Mutex, withTimeout } from 'async-mutex'
import { AppError } from '../../app/errors.ts'
import type { PasswordStrength, Strength } from '../../app/ports/passwords.ts'

/** For others; the first ones also wait until the thread has read its dictionaries. */
const MAX_WAIT_MS = 2_000
const PATIENCE_MS = 10_000

type Thread = { readonly worker: Worker; readonly ready: Promise<unknown> }

/** One for all that this process has of the same program. */
const threads = new Map<string, Thread>()

/**
 * Estimates in a thread of its own, one password at a time: it would hold up all else for tens of milliseconds. The
 * thread begins with the first password, says once that it is ready, and the process ends without waiting for it.
 */
export function strengthApart(program: URL): PasswordStrength {
  const turn = withTimeout(new Mutex(), MAX_WAIT_MS)

  function thread(): Thread {
    const running = threads.get(program.href)
    if (running !== undefined) return running
    const worker = new Worker(program, { env: {}, resourceLimits: { maxOldGenerationSizeMb: 256 } })
    worker.unref()
    const started = { worker, ready: messageOf(worker) }
    threads.set(program.href, started)
    return started
  }

  async function ask(question: unknown): Promise<Strength> {
    const current = thread()
    try {
      await current.ready
      const answer = messageOf(current.worker)
      current.worker.postMessage(question)
      return (await answer) as Strength
    } catch (cause) {
      // Whoever comes next begins another one.
      if (threads.get(program.href) === current) threads.delete(program.href)
      await current.worker.terminate()
      throw new AppError('hashing_busy', { retryAfter: 1, cause })
    }
  }

  return async (password, own) => {
    // To wait for it is nobody's turn. If it fails, whoever has the turn is told.
    await thread().ready.catch(() => {})
    try {
      return await turn.runExclusive(() => ask([password, own]))
    } catch (error) {
      if (error === E_TIMEOUT) throw new AppError('hashing_busy', { retryAfter: 2 })
      throw error
    }
  }
}

/** The next thing that a thread says. Fails with what it throws, if it ends, and if it takes too long. */
async function messageOf(worker: Worker): Promise<unknown> {
  const said = new AbortController()
  const signal = AbortSignal.any([said.signal, AbortSignal.timeout(PATIENCE_MS)])
  const message = once(worker, 'message', { signal })
  const end = once(worker, 'exit', { signal }).then(() => {
    throw new Error('the thread that estimates passwords has ended')
  })
  try {
    const [answer] = await Promise.race([message, end])
    return answer
  } finally {
    said.abort()
  }
}
