import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { get } from 'node:http'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Running } from './keep-running.ts'

export type ServiceProcess = {
  readonly name: string
  readonly script: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** Answers 200 once the service is ready. */
  readonly healthUrl: string
  /** Stops waiting, and ends what was started. */
  readonly signal: AbortSignal
  /** Receives what it writes, line by line. */
  readonly log: (line: string) => void
}

/**
 * V8 takes memory freely while the machine has some: 300 MB after 10,000 requests. With 8 MB for each half of
 * the space for young objects, and old ones collected when they are 30 % more than at the last time, a service
 * stays below 200 MB (`npm run bench:memory`, `npm run bench:soak`), for about a fifth of the CPU of a read. Young
 * objects are collected by one thread: several cost more than they save. Not with --optimize-for-size, which keeps
 * V8 from optimising code: that costs more than half of a request. Nor with --max-old-space-size, at which Node would
 * end the process.
 */
export const MEMORY_FLAGS = [
  '--max-semi-space-size=8',
  '--heap-growing-percent=30',
  '--no-parallel-scavenge',
]

const READY_MS = 30_000
const STOP_MS = 25_000

/** Starts a service and waits until it is healthy. */
export async function startService(service: ServiceProcess): Promise<Running> {
  const child = spawn(process.execPath, [...MEMORY_FLAGS, service.script], {
    env: service.env,
    // The channel carries nothing: its end tells the service that this process is gone, even if it was
    // killed, and that nobody is left to stop it.
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    // A session of its own: Ctrl-C goes to the whole group, and we choose the order of stopping.
    detached: true,
  })
  for (const input of [child.stdout, child.stderr]) {
    if (input !== null) createInterface({ input }).on('line', service.log)
  }
  let hasExited = false
  // Its last lines arrive with `close`.
  const exited = once(child, 'close')
    .then(([code, signal]) => (signal === null ? `code ${code}` : `signal ${signal}`))
    .catch((error: Error) => error.message)
    .finally(() => {
      hasExited = true
    })
  const stop = async () => {
    if (hasExited) return
    child.kill('SIGTERM')
    const overdue = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    await exited
    clearTimeout(overdue)
  }

  const deadline = Date.now() + READY_MS
  while (!(await isHealthy(service.healthUrl))) {
    if (hasExited) throw new Error(`${service.name} ended (${await exited}) before it was ready.`)
    if (service.signal.aborted || Date.now() > deadline) {
      await stop()
      throw new Error(`${service.name} was not ready in ${READY_MS / 1000} s.`)
    }
    await sleep(25)
  }
  return { pid: child.pid ?? -1, exited, stop }
}

const isHealthy = (url: string): Promise<boolean> =>
  new Promise((resolve) => {
    const request = get(url, { agent: false, timeout: 1_000 }, (response) => {
      response.resume()
      resolve(response.statusCode === 200)
    })
    request.on('timeout', () => request.destroy())
    request.on('error', () => resolve(false))
  })
