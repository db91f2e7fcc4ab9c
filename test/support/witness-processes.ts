import { randomUUID } from 'node:crypto'
import { freePorts } from '../../src/infra/local/free-ports.ts'
import type { VerifierKey } from '../../src/transparency-log/keys.ts'
import { killAll, type Started, startProcess } from './processes.ts'

export type StartedWitness = Started & {
  readonly url: string
  /** Sends a request; the answer with its body as a text. */
  readonly add: (request: string) => Promise<WitnessSaid>
  /** What it says of each log. */
  readonly logs: () => Promise<readonly { readonly origin: string; readonly size: number }[]>
}
export type WitnessSaid = { readonly status: number; readonly type: string; readonly body: string }

/** Posts to a witness. */
export async function addCheckpoint(url: string, request: string): Promise<WitnessSaid> {
  const response = await fetch(`${url}/add-checkpoint`, { method: 'POST', body: request })
  const type = response.headers.get('content-type') ?? ''
  return { status: response.status, type, body: await response.text() }
}

/** Witnesses as processes of their own, one after another with one key and store. */
export function witnessProcesses(directory: string, logs: readonly VerifierKey[]) {
  const pids: number[] = []
  const WITNESS_KEY = randomUUID()
  const spawn = (env: Record<string, string> = {}) => {
    const started = startProcess(process.execPath, ['src/witness.ts'], {
      env: {
        WITNESS_KEY,
        WITNESS_DIR: directory,
        WITNESS_LOGS: logs.map(({ text }) => text).join(','),
        HOST: '127.0.0.1',
        DRAIN_SECONDS: '0',
        ...env,
      },
    })
    pids.push(started.pid)
    return started
  }
  return {
    spawn,
    async start(env: Record<string, string> = {}): Promise<StartedWitness> {
      const [free] = await freePorts(1)
      const port = env.PORT ?? String(free)
      const started = spawn({ ...env, PORT: port })
      await started.line(/"listening"/)
      const url = `http://127.0.0.1:${port}`
      return {
        ...started,
        url,
        add: (request) => addCheckpoint(url, request),
        logs: async () => {
          const health = await (await fetch(`${url}/witness/health`)).json()
          return (health as { logs: Awaited<ReturnType<StartedWitness['logs']>> }).logs
        },
      }
    },
    killAll: () => killAll(pids),
  }
}
