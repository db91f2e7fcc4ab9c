import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { get, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { finished } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { wholeNumbers } from '../src/command-line.ts'
import { encryptedTitles, fillChained } from './audit-rows.ts'
import { ours } from './catch-up-race.ts'
import { logAll, VERIFIER_KEY } from './log-rows.ts'
import { scratchDatabase } from './scratch-database.ts'
import { startTaskService } from './task-service.ts'

const USAGE = `Usage: npm run bench:export [-- events]

Measures memory and speed of an export. Fills a private PostgreSQL with 1,000,000 events and keys, lets the
audit projection and the log's writer catch up, runs task-service as a process, exports everything as NDJSON
and as CSV, and reads the service's memory from /proc meanwhile. Then verifies the NDJSON with
verify-audit.mjs. Fails if the memory grows by more than 50 MB, or if not all of it is proven. Needs 6 GB of
disk.`

const [EVENTS = 1_000_000] = wholeNumbers({ usage: USAGE, takes: [0, 1] })
const LIMIT_MB = 50
const SAMPLE_MS = 50
const VERIFIED_A_SECOND = 50_000
const TEXT_KEY = randomUUID()

async function residentMb(pid: number): Promise<number> {
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

async function readAll(answer: IncomingMessage, file = '/dev/null'): Promise<Copied> {
  let [bytes, lines, end] = [0, 0, '']
  const copy = createWriteStream(file)
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    if (!copy.write(chunk)) await once(copy, 'drain')
    bytes += chunk.length
    for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, at + 1)) lines++
    end = (end + chunk.subarray(-200).toString('latin1')).slice(-200)
  }
  copy.end()
  await finished(copy)
  return { bytes, lines, end }
}

/** Verifies the copy as whoever has been given it would. */
async function verify(file: string): Promise<void> {
  const script = fileURLToPath(new URL('../verify-audit.mjs', import.meta.url))
  const began = performance.now()
  const child = spawn(process.execPath, [script, file, '--key', VERIFIER_KEY], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const [code] = await once(child, 'exit')
  const seconds = (performance.now() - began) / 1_000
  const rate = Math.round(EVENTS / seconds)
  console.log(
    `verify-audit.mjs ends with ${code} after ${seconds.toFixed(1)} s: ${rate} events/s,`,
    `${rate >= VERIFIED_A_SECOND ? 'within' : 'BELOW'} ${VERIFIED_A_SECOND} events/s`,
  )
  if (code !== 0) process.exitCode = 1
}

const NDJSON = 'application/x-ndjson'
const database = await scratchDatabase()
const directory = await mkdtemp(join(tmpdir(), 'tasktrail-export-'))
try {
  const titles = await encryptedTitles(database.sql, EVENTS, TEXT_KEY)
  await fillChained(database.sql, EVENTS, titles)
  await ours({ connectionString: database.url, events: EVENTS })
  await logAll(database.url)
  await database.sql.query('vacuum analyze')
  await database.sql.query('checkpoint')
  const { port, pid, stop } = await startTaskService(database.url, TEXT_KEY)
  // After this the memory of the code itself is allocated.
  for (const accept of [NDJSON, 'text/csv']) await readAll(await copy(port, accept, '?task_id=1'))
  const file = join(directory, 'export.ndjson')
  for (const accept of [NDJSON, 'text/csv']) {
    const before = await residentMb(pid)
    let peak = before
    const sampling = setInterval(async () => {
      peak = Math.max(peak, await residentMb(pid))
    }, SAMPLE_MS)
    const began = performance.now()
    const kept = accept === NDJSON ? file : undefined
    const { bytes, lines, end } = await readAll(await copy(port, accept), kept)
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
  await stop()
  await verify(file)
} finally {
  await database.drop()
  await rm(directory, { recursive: true, force: true })
}
