import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { commandLine } from '../src/command-line.ts'
import { SUPERUSER, startEmbeddedPostgres } from '../src/infra/local/embedded-postgres.ts'
import { freePorts } from '../src/infra/local/free-ports.ts'
import { MEMORY_FLAGS } from '../src/infra/local/service-process.ts'
import { testRedis } from '../test/support/redis.ts'
import { startProgram } from './compare/processes.ts'
import { median } from './compare/results.ts'
import { cpuOf } from './compare/usage.ts'
import { percentile } from './percentile.ts'

const USAGE = `Usage: npm run bench:limits

What counting in Redis costs: GET /tasks/:id from a task-service that counts in memory and from one that counts
in Redis, in turn; alone, and from 32 clients. Then with the Redis frozen. Needs redis-server 7.`

commandLine({ usage: USAGE })
const ROUNDS = 9
const ALONE = 1_000
const CLIENTS = 32
const TOGETHER = 6_000
const HTTP = { 'content-type': 'application/json' }

const root = resolve(import.meta.dirname, '..')
const directory = await mkdtemp(join(tmpdir(), 'tasktrail-limits-'))
const [password, database] = [randomUUID(), 'postgres']
const stops: (() => Promise<unknown>)[] = [() => rm(directory, { recursive: true })]
const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS })

/** Milliseconds until the whole answer is here. */
function timed(url: string, token: string): Promise<number> {
  const began = performance.now()
  return new Promise((resolve, reject) => {
    const call = request(
      url,
      { agent, headers: { authorization: `Bearer ${token}` } },
      (answer) => {
        if (answer.statusCode !== 200) reject(new Error(`${url}: ${answer.statusCode}`))
        answer.resume().on('end', () => resolve(performance.now() - began))
      },
    )
    call.on('error', reject).end()
  })
}

async function alone(url: string, token: string, times = ALONE): Promise<number[]> {
  const all: number[] = []
  for (let n = 0; n < times; n++) all.push(await timed(url, token))
  return all
}

/** Requests a second. */
async function together(url: string, token: string): Promise<number> {
  const began = performance.now()
  let left = TOGETHER
  const client = async () => {
    while (left-- > 0) await timed(url, token)
  }
  await Promise.all(Array.from({ length: CLIENTS }, client))
  return TOGETHER / ((performance.now() - began) / 1000)
}

async function post(
  url: string,
  body: object,
  headers = {},
): Promise<{ token: string; task: { id: number } }> {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { ...HTTP, ...headers },
    body: JSON.stringify(body),
  })
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`)
  return (await answer.json()) as { token: string; task: { id: number } }
}

const ms = (value: number): string => `${value.toFixed(3)} ms`

try {
  const dataDir = join(directory, 'postgres')
  const postgres = await startEmbeddedPostgres({ dataDir, password, database })
  stops.unshift(postgres.stop)
  const redis = await testRedis({ password })
  stops.unshift(redis.stop)
  const [auth = 0, inMemory = 0, inRedis = 0] = await freePorts(3)
  const local = (port: number) => `http://127.0.0.1:${port}`
  const env = {
    DATABASE_URL: `postgres://${SUPERUSER}:${password}@127.0.0.1:${postgres.port}/${database}`,
    HOST: '127.0.0.1',
    AUTH_SERVICE_URL: local(auth),
    JWT_SECRET: randomUUID() + randomUUID(),
    INTERNAL_API_KEY: randomUUID(),
    PASSWORD_PEPPER: randomUUID(),
    TEXT_KEY: randomUUID(),
    BCRYPT_COST: '10',
    // Counted, and nobody refused.
    RATE_LIMIT_PER_SECOND: '1000000',
    MAX_EVENT_LOOP_DELAY_MS: '0',
    DRAIN_SECONDS: '0',
  }
  const migrate = [join(root, 'src/migrate.ts'), 'latest']
  await promisify(execFile)(process.execPath, migrate, { env: { PATH: process.env.PATH, ...env } })
  const pids = new Map<string, number>()
  for (const [name, script, port, path, more] of [
    ['auth', 'auth-service', auth, '/auth/health', {}],
    ['memory', 'task-service', inMemory, '/tasks/health', {}],
    [
      'redis',
      'task-service',
      inRedis,
      '/tasks/health',
      { REDIS_URL: redis.config.url, REDIS_PASSWORD: password },
    ],
  ] as const) {
    const { pid, stop } = await startProgram({
      name,
      flags: MEMORY_FLAGS,
      script: join(root, `src/${script}.ts`),
      env: { ...env, ...more, PORT: String(port) },
      healthUrl: local(port) + path,
      directory,
    })
    pids.set(name, pid)
    stops.unshift(stop)
  }
  const person = { username: 'bench', password: randomUUID() }
  await post(`${local(auth)}/auth/register`, { ...person, email: 'bench@example.com' })
  const { token } = await post(`${local(auth)}/auth/login`, person)
  const authorization = `Bearer ${token}`
  const { task } = await post(`${local(inMemory)}/tasks`, { title: 'Counted' }, { authorization })
  const urls = { memory: inMemory, redis: inRedis }
  const p50 = { memory: [] as number[], redis: [] as number[] }
  const rate = { memory: [] as number[], redis: [] as number[] }
  /** Microseconds of the service's CPU for each request of many clients. */
  const cpu = { memory: [] as number[], redis: [] as number[] }
  const url = (port: number) => `${local(port)}/tasks/${task.id}`
  for (const port of Object.values(urls)) await together(url(port), token)
  for (let round = 0; round < ROUNDS; round++) {
    const turn = round % 2 === 0 ? (['memory', 'redis'] as const) : (['redis', 'memory'] as const)
    for (const which of turn) {
      p50[which].push(percentile(await alone(url(urls[which]), token), 0.5))
      const before = cpuOf(pids.get(which) ?? 0)
      rate[which].push(await together(url(urls[which]), token))
      cpu[which].push(((cpuOf(pids.get(which) ?? 0) - before) / TOGETHER) * 1e6)
    }
  }
  const added = p50.redis.map((value, n) => value - (p50.memory[n] ?? Number.NaN))
  const ratio = rate.redis.map((value, n) => value / (rate.memory[n] ?? Number.NaN))
  console.log(`alone, p50: ${ms(median(p50.memory))} in memory, ${ms(median(p50.redis))} in Redis`)
  console.log(`added, median of ${ROUNDS} rounds: ${ms(median(added))}`)
  console.log(
    `${CLIENTS} clients: ${median(rate.memory).toFixed(0)} and ${median(rate.redis).toFixed(0)} requests/s; ` +
      `ratio ${median(ratio).toFixed(3)}; Redis has its share of the same processors`,
  )
  console.log(
    `CPU of task-service then: ${median(cpu.memory).toFixed(0)} and ${median(cpu.redis).toFixed(0)} µs a request`,
  )
  redis.freeze()
  const frozen = await alone(url(inRedis), token)
  const others = await alone(url(inMemory), token)
  console.log(
    `frozen: p50 ${ms(percentile(frozen, 0.5))}, p99 ${ms(percentile(frozen, 0.99))}, the first ${ms(frozen[0] ?? 0)}; ` +
      `in memory then p50 ${ms(percentile(others, 0.5))}, p99 ${ms(percentile(others, 0.99))}`,
  )
} finally {
  agent.destroy()
  for (const stop of stops) await stop()
}
