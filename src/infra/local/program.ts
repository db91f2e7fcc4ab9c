import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

/** A program that was started. */
export type Program = {
  readonly pid: number
  readonly kill: (signal: NodeJS.Signals) => void
  /** How it ended: `code 1`, `signal SIGKILL`, or why it did not start. Never rejects. */
  readonly exited: Promise<string>
  readonly hasExited: () => boolean
  /** The one of its last fifty lines that says what went wrong. */
  readonly reason: () => string
}

export type ProgramOptions = {
  readonly uid?: number
  readonly gid?: number
  readonly log?: ((line: string) => void) | undefined
}

export function startProgram(
  [command = '', ...args]: readonly string[],
  { log, ...identity }: ProgramOptions,
): Program {
  // A session of its own: Ctrl-C in a terminal goes to the whole group, and a server has to outlive its
  // clients.
  // Nothing of the environment: PostgreSQL needs none of it, and it may hold our secrets.
  const options = { ...identity, cwd: '/', env: {}, detached: true }
  const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
  const lines: string[] = []
  for (const input of [child.stdout, child.stderr]) {
    createInterface({ input }).on('line', (line) => {
      lines.push(line)
      if (lines.length > 50) lines.shift()
      log?.(line)
    })
  }

  let hasExited = false
  const closed = once(child, 'close').catch(() => {})
  const exit = async () => {
    try {
      const [code, signal] = await once(child, 'exit')
      // Its last lines arrive with `close`; children of a killed server can hold that up.
      await Promise.race([closed, sleep(200)])
      return signal === null ? `code ${code}` : `signal ${signal}`
    } catch (error) {
      return (error as Error).message
    } finally {
      hasExited = true
    }
  }
  return {
    pid: child.pid ?? -1,
    kill: (signal) => void child.kill(signal),
    exited: exit(),
    hasExited: () => hasExited,
    reason: () => {
      const line = lines.findLast((line) => /FATAL|PANIC|error:/.test(line)) ?? lines.at(-1)
      return line?.trim() ?? 'it said nothing'
    },
  }
}
