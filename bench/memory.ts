import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { wholeNumbers } from '../src/command-line.ts'
import { SUPERUSER, startEmbeddedPostgres } from '../src/infra/local/embedded-postgres.ts'
import { freePorts } from '../src/infra/local/free-ports.ts'
import { MEMORY_FLAGS } from '../src/infra/local/service-process.ts'
import { migrations } from '../src/infra/postgres/connection/migrations.ts'

const USAGE = `Usage: npm run bench:memory [-- requests]

Measures the memory of each service. Starts both as separate processes on an embedded PostgreSQL, sends
them 10,000 mixed requests, and reads /proc. They run with the options of "npm start". Fails above 200 MB.`

const [REQUESTS = 10_000] = wholeNumbers({ usage: USAGE, takes: [0, 1] })
const CONCURRENCY = 32
const USERS = 20
const LIMIT_MB = 200

const directory = await mkdtemp(join(tmpdir(), 'tasktrail-memory-'))
const password = randomUUID()
const postgres = await startEmbeddedPostgres({
  dataDir: join(directory, 'postgres'),
  password,
  database: 'tasktrail',
  settings: { fsync: 'off' },
})
const DATABASE_URL = `postgres://${SUPERUSER}:${password}@127.0.0.1:${postgres.port}/tasktrail`
const schema = migrations({ connection: { connectionString: DATABASE_URL }, poolMax: 1 })
await schema.latest()
await schema.close()

const [authPort, taskPort] = (await freePorts(2)) as [number, number]
const env = {
  PATH: process.env.PATH,
  NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
  DATABASE_URL,
  JWT_SECRET: randomUUID() + randomUUID(),
  INTERNAL_API_KEY: randomUUID(),
  PASSWORD_PEPPER: randomUUID(),
  TEXT_KEY: randomUUID(),
  BCRYPT_COST: '10',
  RATE_LIMIT_PER_SECOND: '0',
  LOGIN_LIMIT_PER_MINUTE: '0',
  DRAIN_SECONDS: '0',
  AUTH_SERVICE_URL: `http://127.0.0.1:${authPort}`,
}
/** How often each status occurred, with its code where it means overload. */
const answers: Record<string, number> = {}
const agent = new Agent({ keepAlive: true, maxSockets: CONCURRENCY })

async function call(method: string, path: string, token?: string, body?: unknown) {
  const port = path.startsWith('/tasks') ? taskPort : authPort
  const sent = request({ agent, port, host: '127.0.0.1', method, path })
  if (token !== undefined) sent.setHeader('authorization', `Bearer ${token}`)
  if (body !== undefined) sent.setHeader('content-type', 'application/json')
  sent.end(body === undefined ? undefined : JSON.stringify(body))
  const [response] = await once(sent, 'response')
  const answer = await text(response)
  const status = response.statusCode as number
  const content = answer && JSON.parse(answer)
  const kind = status < 429 ? `${status}` : `${status} ${content.code}`
  answers[kind] = (answers[kind] ?? 0) + 1
  return { status, body: content }
}

const children: ChildProcess[] = []

async function start(script: string, port: number, health: string): Promise<ChildProcess> {
  const path = fileURLToPath(new URL(`../src/${script}`, import.meta.url))
  const child = spawn(process.execPath, [...MEMORY_FLAGS, path], {
    env: { ...env, PORT: String(port) },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  children.push(child)
  while ((await call('GET', health).catch(() => null))?.status !== 200) {
    if (child.exitCode !== null) throw new Error(`${script} ended with ${child.exitCode}`)
    await sleep(25)
  }
  return child
}

type User = { readonly username: string; readonly token: string; readonly ids: number[] }

async function newUser(): Promise<User> {
  const username = `u${randomUUID().slice(0, 18)}`
  const email = `${username}@example.com`
  await call('POST', '/auth/register', undefined, { username, email, password })
  const { body } = await call('POST', '/auth/login', undefined, { username, password })
  return { username, token: body.token, ids: [] }
}

/** Request `n` of the mix: mostly reads, two fifths writes, a few logins and mistakes. */
async function mixed(n: number, { username, token, ids }: User): Promise<unknown> {
  const id = ids[n % Math.max(1, ids.length)] ?? 1
  const kind = n % 20
  if (kind < 4) {
    const task = { title: `Task ${n}`, description: 'x'.repeat(n % 2_000), priority: 'high' }
    const { status, body } = await call('POST', '/tasks', token, task)
    return status === 201 && ids.push(body.task.id)
  }
  if (kind < 7) return call('PUT', `/tasks/${id}`, token, { title: `New ${n}` })
  if (kind === 7) return call('DELETE', `/tasks/${ids.pop() ?? 1}`, token)
  if (kind < 12) return call('GET', `/tasks/${id}`, token)
  if (kind < 16) return call('GET', '/tasks?limit=50&status=pending', token)
  if (kind === 16) return call('GET', '/tasks', token)
  if (kind === 17) return call('GET', '/auth/me', token)
  if (kind === 18) return call('POST', '/tasks', token, { nonsense: true })
  if (n % 100 !== 19) return call('GET', '/auth/sessions')
  return call('POST', '/auth/login', undefined, { username, password })
}

/** Resident memory now and at its peak, in MB. */
async function memory({ pid }: ChildProcess): Promise<{ now: number; peak: number }> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const kilobytes = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1])
  const mb = (name: string) => Math.round(kilobytes(name) / 102.4) / 10
  return { now: mb('VmRSS'), peak: mb('VmHWM') }
}

try {
  const services = {
    'auth-service': await start('auth-service.ts', authPort, '/auth/health'),
    'task-service': await start('task-service.ts', taskPort, '/tasks/health'),
  }
  const figures = async () =>
    Object.fromEntries(
      await Promise.all(
        Object.entries(services).map(async ([name, child]) => [name, await memory(child)] as const),
      ),
    )
  const fresh = await figures()
  const users: User[] = []
  // One after the other: so many passwords at once would be refused.
  while (users.length < USERS) users.push(await newUser())
  const numbers = Array.from({ length: REQUESTS }, (_, n) => n).values()
  const began = performance.now()
  await Promise.all(
    Array.from({ length: CONCURRENCY }, async () => {
      for (const n of numbers) {
        await mixed(n, users[Math.floor(n / 20) % USERS] as User)
      }
    }),
  )
  const seconds = (performance.now() - began) / 1000
  const after = await figures()
  console.log(`${REQUESTS} requests in ${seconds.toFixed(1)} s, answers`, answers)
  for (const [name, { now, peak }] of Object.entries(after)) {
    const verdict = now <= LIMIT_MB ? 'within' : 'OVER'
    console.log(
      `${name}: ${fresh[name]?.now} MB fresh, ${now} MB after, ${peak} MB at most;`,
      verdict,
      `${LIMIT_MB} MB`,
    )
    if (now > LIMIT_MB) process.exitCode = 1
  }
} finally {
  agent.destroy()
  for (const child of children) {
    child.kill('SIGTERM')
    if (child.exitCode === null) await once(child, 'exit')
  }
  await postgres.stop()
  await rm(directory, { recursive: true, force: true })
}
