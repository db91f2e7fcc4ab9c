import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Caller } from '../src/app/ports/authorization.ts'
import { freePorts } from '../src/infra/local/free-ports.ts'
import { MEMORY_FLAGS } from '../src/infra/local/service-process.ts'

const AUDITOR: Caller = {
  user_id: 999,
  username: 'auditor',
  email: 'auditor@example.com',
  role: 'auditor',
  session_id: randomUUID(),
  iat: 0,
  exp: 4_000_000_000,
  auth_time: 0,
  amr: ['pwd'],
}

/** A stand-in for auth-service: every caller is the auditor. */
async function authService() {
  const server = createServer((_, response) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ valid: true, user: AUDITOR }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, close: () => server.close() }
}

const answers = (port: number): Promise<boolean> =>
  fetch(`http://127.0.0.1:${port}/tasks/health`).then(
    () => true,
    () => false,
  )

/** Starts task-service as a process, for which every caller is an auditor, whatever the token. */
export async function startTaskService(DATABASE_URL: string, TEXT_KEY: string) {
  const auth = await authService()
  const [port = 0] = await freePorts(1)
  const script = fileURLToPath(new URL('../src/task-service.ts', import.meta.url))
  const env = {
    PATH: process.env.PATH,
    PORT: String(port),
    DATABASE_URL,
    AUTH_SERVICE_URL: auth.url,
    TEXT_KEY,
    // Nobody is refused, whatever else runs on this machine.
    RATE_LIMIT_PER_SECOND: '0',
    MAX_EVENT_LOOP_DELAY_MS: '0',
  }
  const child = spawn(process.execPath, [...MEMORY_FLAGS, script], {
    env: { ...env, INTERNAL_API_KEY: randomUUID(), LOG_LEVEL: 'warn', DRAIN_SECONDS: '0' },
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  while (!(await answers(port))) {
    if (child.exitCode !== null) throw new Error(`task-service ended with ${child.exitCode}`)
    await sleep(50)
  }
  const stop = async () => {
    child.kill('SIGTERM')
    await once(child, 'exit')
    auth.close()
  }
  return { port, pid: child.pid ?? -1, stop }
}
