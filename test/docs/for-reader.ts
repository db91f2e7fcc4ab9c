import { mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { freePorts } from '../../src/infra/local/free-ports.ts'
import { killAll, type Started, startProcess } from '../support/processes.ts'

/** A new `npm start`, and an empty directory that a reader works in as if it were the checkout. */
export type ForReader = {
  readonly api: string
  readonly directory: string
  /** Runs what a document prints, as far as it may be run: by bash, which stops at the first failure. */
  readonly run: (script: string) => Started
  readonly stop: () => Promise<void>
}

export async function startForReader(): Promise<ForReader> {
  const directory = await mkdtemp(join(tmpdir(), 'tasktrail-reader-'))
  const [port] = await freePorts(1)
  const env = { DATA_DIR: directory, PORT: String(port), BCRYPT_COST: '10' }
  const system = startProcess('node', ['bin/node.cjs', 'src/local.ts'], { env })
  const stop = async () => {
    system.child.kill('SIGTERM')
    await system.ended.finally(() => killAll([system.pid]))
    await rm(directory, { recursive: true, force: true })
  }
  try {
    await system.line(/^Tasktrail is ready/, 100_000)
    await symlink(resolve('verify-audit.mjs'), join(directory, 'verify-audit.mjs'))
  } catch (error) {
    await stop()
    throw error
  }
  const api = `http://127.0.0.1:${port}/v1`
  // The reader stands in the checkout; here that would leave files in it.
  const there = `npm() { command npm --prefix '${process.cwd()}' "$@"; }`
  const run = (script: string) => {
    const local = script.replace(/^API=.*$/m, `API=${api}`)
    return startProcess('bash', ['-euc', `${there}\n${local}`], {
      env: { DATA_DIR: directory, HOME: directory },
      cwd: directory,
    })
  }
  return { api, directory, run, stop }
}
