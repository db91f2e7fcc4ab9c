import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { open } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const READY_MS = 30_000
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const { PATH, NODE_COMPILE_CACHE } = process.env

export type Program = {
  readonly name: string
  /** Absolute, or from the root of the repository. */
  readonly script: string
  /** Node's own. @default none */
  readonly flags?: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly healthUrl: string
  /** Where its output goes. */
  readonly directory: string
}

export type Started = { readonly pid: number; readonly stop: () => Promise<void> }

/** Starts a process of Node, the one that runs this, and waits until it is healthy. */
export async function startProgram(program: Program): Promise<Started> {
  const { name, script, flags = [], healthUrl } = program
  const path = resolve(ROOT, script)
  const output = await open(join(program.directory, `${name}.log`), 'w')
  const child = spawn(process.execPath, [...flags, path], {
    env: { PATH, NODE_COMPILE_CACHE, NODE_ENV: 'production', ...program.env },
    stdio: ['ignore', output.fd, output.fd],
  })
  const exited = once(child, 'exit')
  await output.close()
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null
  const stop = async () => {
    if (hasEnded()) return
    child.kill('SIGTERM')
    await exited
  }
  const deadline = Date.now() + READY_MS
  while (
    !(await fetch(healthUrl).then(
      ({ ok }) => ok,
      () => false,
    ))
  ) {
    if (hasEnded() || Date.now() > deadline) {
      await stop()
      throw new Error(`${name} is not healthy, see ${program.directory}/${name}.log`)
    }
    await sleep(50)
  }
  return { pid: child.pid ?? -1, stop }
}
