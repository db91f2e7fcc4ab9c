import { randomUUID } from 'node:crypto'
import { freePorts } from '../../src/infra/local/free-ports.ts'
import { MEMORY_FLAGS } from '../../src/infra/local/service-process.ts'
import { killAll, type Started, startProcess, until } from './processes.ts'
import { type Client, client } from './system.ts'
import { WORKER_SECRETS, workers } from './workers.ts'

/** On a machine that has much else to do. */
const READY_MS = 120_000

export type PhotoProcesses = {
  readonly call: Client
  readonly startTaskService: () => Promise<Started>
  /** Resolves when it makes thumbnails. */
  readonly startWorker: () => Promise<Started>
  readonly stop: () => void
}

/**
 * auth-service; task-service, always at the same address, and workers, which are there to be killed: all are processes
 * of their own. Limits off.
 */
export async function photoProcesses(
  databaseUrl: string,
  photos: Record<string, string>,
): Promise<PhotoProcesses> {
  const [authPort, taskPort] = await freePorts(2)
  const urls = { auth: `http://127.0.0.1:${authPort}`, task: `http://127.0.0.1:${taskPort}` }
  const env = {
    DATABASE_URL: databaseUrl,
    INTERNAL_API_KEY: randomUUID(),
    TEXT_KEY: WORKER_SECRETS.TEXT_KEY,
    JWT_SECRET: randomUUID() + randomUUID(),
    PASSWORD_PEPPER: randomUUID(),
    BCRYPT_COST: '10',
    RATE_LIMIT_PER_SECOND: '0',
    LOGIN_LIMIT_PER_MINUTE: '0',
    MAX_EVENT_LOOP_DELAY_MS: '0',
    AUTH_SERVICE_URL: urls.auth,
    HOST: '127.0.0.1',
    DRAIN_SECONDS: '0',
    LOG_LEVEL: 'warn',
    ...photos,
  }
  const background = workers(databaseUrl)
  const pids: number[] = []
  const start = async (name: 'auth' | 'task', health: string) => {
    const started = startProcess(process.execPath, [...MEMORY_FLAGS, `src/${name}-service.ts`], {
      env: { ...env, PORT: new URL(urls[name]).port },
    })
    pids.push(started.pid)
    const isReady = () =>
      fetch(urls[name] + health).then(
        ({ ok }) => ok,
        () => false,
      )
    await until(isReady, () => [name, ...started.out, ...started.err].join('\n'), READY_MS)
    return started
  }
  await start('auth', '/auth/health')
  return {
    call: client((path) => (path.startsWith('/auth') ? urls.auth : urls.task)),
    startTaskService: () => start('task', '/ready'),
    async startWorker() {
      const started = await background.start(photos)
      await started.line(/"name":"thumbnails".*"leads"/, READY_MS)
      return started
    },
    stop() {
      killAll(pids)
      background.killAll()
    },
  }
}
