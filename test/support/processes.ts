import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

export type Started = {
  readonly child: ChildProcess
  readonly pid: number
  /** Lines of stdout and of stderr so far. */
  readonly out: string[]
  readonly err: string[]
  /** Resolves with the first line of stdout that matches; rejects when the process ends before. */
  readonly line: (pattern: RegExp, ms?: number) => Promise<string>
  /** `code 0`, `signal SIGKILL`; after the last line. */
  readonly ended: Promise<string>
}

/**
 * Starts a process with these variables and PATH alone, and with what others of this run have compiled:
 * most of them do little else than begin.
 */
export function startProcess(
  command: string,
  args: readonly string[],
  { env = {}, cwd = process.cwd() }: { env?: Record<string, string>; cwd?: string } = {},
): Started {
  const { PATH = '', NODE_COMPILE_CACHE = '' } = process.env
  const own = { PATH, NODE_COMPILE_CACHE, ...env }
  const child = spawn(command, args, { env: own, cwd, stdio: ['ignore', 'pipe', 'pipe'] })
  const [out, err]: [string[], string[]] = [[], []]
  createInterface({ input: child.stdout }).on('line', (line) => out.push(line))
  createInterface({ input: child.stderr }).on('line', (line) => err.push(line))
  let exit: string | undefined
  const closed = once(child, 'close')
  const ended = once(child, 'exit').then(async ([code, signal]) => {
    exit = signal === null ? `code ${code}` : `signal ${signal}`
    // What the process leaves behind may hold its output open; that shows elsewhere.
    await Promise.race([closed, sleep(3_000, undefined, { ref: false })])
    return exit
  })
  const line = async (pattern: RegExp, ms?: number) => {
    const found = () => out.find((text) => pattern.test(text))
    await until(
      () => found() !== undefined || exit !== undefined,
      () => `line ${pattern}`,
      ms,
    )
    const text = found()
    if (text === undefined) throw new Error(`ended (${exit}) without ${pattern}: ${err.join('\n')}`)
    return text
  }
  return { child, pid: child.pid ?? -1, out, err, line, ended }
}

/** Polls until it holds. */
export async function until(
  holds: () => boolean | Promise<boolean>,
  what: string | (() => string),
  ms = 30_000,
): Promise<void> {
  const deadline = Date.now() + ms
  while (!(await holds())) {
    if (Date.now() > deadline) {
      throw new Error(`not within ${ms} ms: ${typeof what === 'string' ? what : what()}`)
    }
    await sleep(20)
  }
}

/** Whether the process runs; one that ended and was not yet collected does not. */
export function isRunning(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

function commandOf(pid: number): string {
  try {
    return `${pid} (${readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()})`
  } catch {
    return String(pid)
  }
}

export const allGone = (pids: readonly number[]): Promise<void> =>
  until(
    () => !pids.some(isRunning),
    () => `the end of ${pids.filter(isRunning).map(commandOf).join(', ')}`,
  )

/** Ends what is left of a test, however it went. */
export function killAll(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It is gone, which is what was wanted.
    }
  }
}

/**
 * Deletes a directory whose processes were killed. The children of a killed PostgreSQL outlive it by a moment,
 * and may still write.
 */
export const removePlace = (place: string): Promise<void> =>
  rm(place, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
