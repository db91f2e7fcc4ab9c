import { randomUUID } from 'node:crypto'
import { freePorts } from '../../src/infra/local/free-ports.ts'
import { killAll, type Started, startProcess } from './processes.ts'

export const WORKER_SECRETS = { TEXT_KEY: randomUUID(), LOG_KEY: randomUUID() }

export type StartedWorker = Started & {
  readonly url: string
  // biome-ignore lint/suspicious/noExplicitAny: what a test looks for in it is its own business
  readonly health: () => Promise<any>
  /** Whether it leads the audit projection. */
  readonly leads: () => Promise<boolean>
}

/** Workers as processes of their own. */
export function workers(databaseUrl: string) {
  const pids: number[] = []
  return {
    async start(env: Record<string, string> = {}): Promise<StartedWorker> {
      const [port = 0] = await freePorts(1)
      const place = { DATABASE_URL: databaseUrl, PORT: String(port), HOST: '127.0.0.1' }
      const started = startProcess(process.execPath, ['src/worker.ts'], {
        env: { ...WORKER_SECRETS, DRAIN_SECONDS: '0', ...place, ...env },
      })
      pids.push(started.pid)
      const url = `http://127.0.0.1:${port}`
      const health = async () => {
        const signal = AbortSignal.timeout(5_000)
        const response = await fetch(`${url}/worker/health`, { signal })
        if (response.status !== 200) throw new Error(`health answers ${response.status}`)
        return response.json()
      }
      const leads = async () => {
        const { projections = [] } = (await health().catch(() => ({}))) as {
          projections?: readonly { name: string; leader: boolean }[]
        }
        return projections.some(({ name, leader }) => name === 'audit' && leader)
      }
      return { ...started, url, health, leads }
    },
    killAll: () => killAll(pids),
  }
}
