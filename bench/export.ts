import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, get, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Caller } from '../src/app/ports/authorization.ts'
import { wholeNumbers } from '../src/command-line.ts'
import { freePorts } from '../src/infra/local/free-ports.ts'
import { MEMORY_FLAGS } from '../src/infra/local/service-process.ts'
import { encryptedTitles, fill } from './audit-rows.ts'
import { scratchDatabase } from './scratch-database.ts'

const USAGE = `Usage: npm run bench:export [-- events]

Measures memory and speed of an export. Fills a private PostgreSQL with 1,000,000 events, audit rows, keys
and seals, runs task-service as a process, exports everything as NDJSON and as CSV, and reads the
service's memory from /proc meanwhile. Fails if it grows by more than 50 MB.`

const [EVENTS = 1_000_000] = wholeNumbers({ usage: USAGE, takes: [0, 1] })
const LIMIT_MB = 50
const SAMPLE_MS = 50
const TEXT_KEY = randomUUID()

const AUDITOR: Caller = {
  user_id: 999,
  username: 'auditor',
  email: 'auditor@example.com',
  role: 'auditor',
  session_id: randomUUID(),
  iat: 0,
  exp: 4_000_000_000,
}

// Their heads take the memory; nothing here checks their digests.
const ADD_SEALS = `
  insert into seals
    select number, max(position), sum(events), sha256('1'), '', jsonb_agg(
        jsonb_build_array(stream_id, version, encode(sha256(stream_id::bytea), 'hex'))
        order by stream_id collate "C"), sha256('2'), now(), sha256('3'), sha256('4'), 'key', sha512('5'),
      0, 0, '', sha256('6')
    from (
      select 1 + position / 10000 as number, stream_id, max(position) as position,
        max(version) as version, count(*) as events
      from events group by 1, 2) head
    group by number order by number`

/** A stand-in for auth-service: every caller is the auditor. */
async function authService(): Promise<{ readonly url: string; readonly close: () => void }> {
  const server = createServer((_, response) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ valid: true, user: AUDITOR }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, close: () => server.close() }
}

async function startTaskService(DATABASE_URL: string, AUTH_SERVICE_URL: string) {
  const [port = 0] = await freePorts(1)
  const script = fileURLToPath(new URL('../src/task-service.ts', import.meta.url))
  const env = {
    PATH: process.env.PATH,
    PORT: String(port),
    DATABASE_URL,
    AUTH_SERVICE_URL,
    TEXT_KEY,
  }
  const child = spawn(process.execPath, [...MEMORY_FLAGS, script], {
    env: { ...env, INTERNAL_API_KEY: randomUUID(), LOG_LEVEL: 'warn', DRAIN_SECONDS: '0' },
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  while (!(await answers(port))) {
    if (child.exitCode !== null) throw new Error(`task-service ended with ${child.exitCode}`)
    await sleep(50)
  }
  return { port, child }
}

const answers = (port: number): Promise<boolean> =>
  fetch(`http://127.0.0.1:${port}/tasks/health`).then(
    () => true,
    () => false,
  )

async function residentMb({ pid }: ChildProcess): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024
}

async function copy(port: number, accept: string, query = ''): Promise<IncomingMessage> {
  const headers = { accept, authorization: 'Bearer of-anyone' }
  const path = `/audit/events${query}`
  const [answer] = await once(get({ host: '127.0.0.1', port, path, headers }), 'response')
  if (answer.statusCode !== 200) throw new Error(`${path} answers ${answer.statusCode}`)
  return answer
}

type Copied = { readonly bytes: number; readonly lines: number; readonly end: string }

async function readAll(answer: IncomingMessage): Promise<Copied> {
  let [bytes, lines, end] = [0, 0, '']
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length
    for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, at + 1)) lines++
    end = (end + chunk.subarray(-200).toString('latin1')).slice(-200)
  }
  return { bytes, lines, end }
}

const database = await scratchDatabase()
try {
  await fill(
    database.sql,
    EVENTS,
    ['events', 'audit_events'],
    await encryptedTitles(database.sql, EVENTS, TEXT_KEY),
  )
  await database.sql.query(ADD_SEALS)
  const auth = await authService()
  const { port, child } = await startTaskService(database.url, auth.url)
  // After this the memory of the code itself is allocated.
  for (const accept of ['application/x-ndjson', 'text/csv']) {
    await readAll(await copy(port, accept, '?task_id=1'))
  }
  for (const accept of ['application/x-ndjson', 'text/csv']) {
    const before = await residentMb(child)
    let peak = before
    const sampling = setInterval(async () => {
      peak = Math.max(peak, await residentMb(child))
    }, SAMPLE_MS)
    const began = performance.now()
    const { bytes, lines, end } = await readAll(await copy(port, accept))
    const seconds = (performance.now() - began) / 1000
    clearInterval(sampling)
    const growth = peak - before
    const verdict = growth <= LIMIT_MB ? 'within' : 'OVER'
    console.log(
      `${accept}: ${EVENTS} events, ${lines} lines, ${Math.round(bytes / 1e6)} MB in`,
      `${seconds.toFixed(1)} s (${Math.round(EVENTS / seconds)} events/s);`,
      `resident ${before.toFixed(0)} MB before, ${peak.toFixed(0)} MB at most:`,
      `+${growth.toFixed(1)} MB, ${verdict} ${LIMIT_MB} MB`,
    )
    if (growth > LIMIT_MB || !/trailer|\]\}\}\n$/.test(end)) process.exitCode = 1
  }
  child.kill('SIGTERM')
  await once(child, 'exit')
  auth.close()
} finally {
  await database.drop()
}
