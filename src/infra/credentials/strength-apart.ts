import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { E_TIMEOUT, Mutex, withTimeout } from 'async-mutex'
import { AppError } from '../../app/errors.ts'
import type { PasswordStrength, Strength } from '../../app/ports/passwords.ts'

const MAX_WAIT_MS = 2_000
/** The first one waits until the thread has read its dictionaries. */
const PATIENCE_MS = 10_000

/** One for all that this process has of the same program. */
const threads = new Map<string, Worker>()

/**
 * Estimates in a thread of its own, one password at a time: it would hold up all else for tens of milliseconds. The
 * thread begins with the first password, and the process ends without waiting for it.
 */
export function strengthApart(program: URL): PasswordStrength {
  const turn = withTimeout(new Mutex(), MAX_WAIT_MS)

  function thread(): Worker {
    const running = threads.get(program.href)
    if (running !== undefined) return running
    const started = new Worker(program, {
      env: {},
      resourceLimits: { maxOldGenerationSizeMb: 256 },
    })
    started.unref()
    started.once('exit', () => threads.delete(program.href))
    threads.set(program.href, started)
    return started
  }

  async function ask(password: string, own: readonly string[]): Promise<Strength> {
    const worker = thread()
    const answered = new AbortController()
    const signal = AbortSignal.any([answered.signal, AbortSignal.timeout(PATIENCE_MS)])
    // Each fails with what the thread throws.
    const answer = once(worker, 'message', { signal })
    const end = once(worker, 'exit', { signal })
    worker.postMessage([password, own])
    try {
      const [strength] = await Promise.race([answer, end.then(refuse)])
      return strength
    } catch (cause) {
      threads.delete(program.href)
      await worker.terminate()
      throw new AppError('hashing_busy', { retryAfter: 1, cause })
    } finally {
      answered.abort()
    }
  }

  return async (password, own) => {
    try {
      return await turn.runExclusive(() => ask(password, own))
    } catch (error) {
      if (error === E_TIMEOUT) throw new AppError('hashing_busy', { retryAfter: 2 })
      throw error
    }
  }
}

function refuse(): never {
  throw new Error('the thread that estimates passwords has ended')
}
