import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { TIME_OF_APPEND } from '../src/app/ports/event-store.ts'
import { commandLine, wholeNumbers } from '../src/command-line.ts'
import type { TaskEvent } from '../src/domain/task/events.ts'
import { type TaskView, taskStreamId, viewTask } from '../src/domain/task/view.ts'
import { encryptedEventStore } from '../src/infra/encryption/encrypted-texts.ts'
import { secretKeyWrap } from '../src/infra/encryption/text-cipher.ts'
import { postgresUserKeys } from '../src/infra/encryption/user-keys.ts'
import { SUPERUSER, startEmbeddedPostgres } from '../src/infra/local/embedded-postgres.ts'
import { openDatabase } from '../src/infra/postgres/connection/database.ts'
import { migrations } from '../src/infra/postgres/connection/migrations.ts'
import { postgresEventStore } from '../src/infra/postgres/event-store/event-store.ts'
import { rebuild } from '../src/infra/postgres/projections/rebuild/rebuild.ts'
import type { Rebuildable } from '../src/infra/postgres/projections/rebuild/rebuild-run.ts'
import { encryptedTitles, fill } from './audit-rows.ts'

const USAGE = `Usage: npm run bench:rebuild [-- events [writes a second]] [--audit]

Measures what a rebuild costs concurrent writes. Fills a log of 1,000,000 events with encrypted texts, on
an embedded PostgreSQL that writes to disk, writes to it 50 times a second, and runs
npm run projections -- rebuild. Fails if a write fails, or if a larger share of writes than without a
rebuild takes longer than twice the median. Rebuilds tasks, or with --audit the audit's view.`

const LINE = {
  usage: USAGE,
  options: { audit: { type: 'boolean', default: false } },
  takes: [0, 2],
} as const
const [EVENTS = 1_000_000, PER_SECOND = 50] = wholeNumbers(LINE)
const PROJECTION: Rebuildable = commandLine(LINE).values.audit ? 'audit' : 'tasks'
const QUIET_MS = 20_000
const TEXT_KEY = randomUUID()

const directory = await mkdtemp(join(tmpdir(), 'tasktrail-rebuild-'))
const password = randomUUID()
const postgres = await startEmbeddedPostgres({
  dataDir: join(directory, 'postgres'),
  password,
  database: 'tasktrail',
})
const DATABASE_URL = `postgres://${SUPERUSER}:${password}@127.0.0.1:${postgres.port}/tasktrail`
const connection = { connectionString: DATABASE_URL }

const quiet = () => {}
const silent = { info: quiet, warn: quiet, error: quiet }
const wrap = secretKeyWrap(TEXT_KEY)

type Write = { readonly at: number; readonly ms: number }

/** Creates and changes tasks, each write at its time, whether or not earlier ones have ended. */
function steadyWrites() {
  const db = openDatabase({ connection, poolMax: 4, role: 'tasktrail_task', log: silent })
  const keys = postgresUserKeys(db, wrap)
  const store = encryptedEventStore(postgresEventStore<TaskEvent, TaskView>(db), keys)
  const writes: Write[] = []
  const failures: unknown[] = []
  const under = new Set<Promise<void>>()
  const began = performance.now()
  let id = 1_000_000_000
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - began) / 1000) * PER_SECOND)
    while (id - 1_000_000_000 < due) {
      const write = append(store, ++id).catch((error: unknown) => void failures.push(error))
      under.add(write.finally(() => under.delete(write)))
    }
  }, 1)
  return {
    writes,
    failures,
    async stop() {
      clearInterval(timer)
      await Promise.all(under)
      await db.close()
    },
  }

  async function append(to: typeof store, id: number): Promise<void> {
    const stream_id = taskStreamId(id)
    const data = { title: 'A task', description: null, status: 'pending', due_date: null } as const
    const event: TaskEvent = {
      type: 'TaskCreated',
      data: { ...data, priority: 'medium', user_id: 1 },
    }
    const row = viewTask(null, {
      ...event,
      stream_id,
      version: 1,
      occurred_at: TIME_OF_APPEND,
    }) as TaskView
    const request = randomUUID()
    const at = performance.now()
    await to.append({
      stream_id,
      stream_type: 'task',
      expected: { version: 0, head_hash: null },
      schema_version: 1,
      events: [event],
      row,
      actor_id: 1,
      metadata: {
        request_id: request,
        correlation_id: request,
        causation_id: request,
        session_id: null,
        ip: null,
      },
      command: undefined,
    })
    writes.push({ at, ms: performance.now() - at })
  }
}

/** Run before anything is measured. */
async function rebuildAtOnce(): Promise<void> {
  const db = openDatabase({ connection, poolMax: 2, role: 'tasktrail_worker', log: silent })
  const keys = postgresUserKeys(db, wrap)
  await rebuild({ name: PROJECTION, connection, db, keys, rest: 0, batchSize: 1_000 }).finally(
    db.close,
  )
}

/** When each step began; folding continues between them. */
async function rebuildAside(): Promise<ReadonlyMap<string, number>> {
  const steps = new Map([['folding', performance.now()]])
  const script = fileURLToPath(new URL('../src/projections.ts', import.meta.url))
  const child = spawn(process.execPath, [script, 'rebuild', PROJECTION], {
    env: { PATH: process.env.PATH, DATABASE_URL, TEXT_KEY },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(child, 'exit')
  for await (const line of createInterface(child.stdout)) {
    console.log(line)
    const [, step] = /^(\w+) \.\.\.$/.exec(line) ?? []
    if (step !== undefined) steps.set(step, performance.now())
  }
  const [code] = await ended
  if (code !== 0) throw new Error(`the rebuild ended with ${code}`)
  return steps
}

const quantile = (sorted: readonly number[], q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN

function figures(writes: readonly Write[], from: number, to: number, limit: number) {
  const times = writes.filter(({ at }) => at >= from && at < to).map(({ ms }) => ms)
  const sorted = times.toSorted((a, b) => a - b)
  const slow = sorted.filter((ms) => ms > limit).length
  return { n: sorted.length, sorted, slow, share: slow / sorted.length }
}

try {
  const schema = migrations({ connection, poolMax: 1 })
  await schema.latest().finally(schema.close)
  const sql = new pg.Client(connection)
  await sql.connect()
  console.log(`filling a log with ${EVENTS} events ...`)
  const titles = await encryptedTitles(sql, EVENTS, TEXT_KEY)
  await fill(sql, EVENTS, ['events', 'audit_events'], titles)
  console.log(`building ${PROJECTION} from the log ...`)
  await rebuildAtOnce()
  await sql.query('vacuum analyze')
  await sql.query('checkpoint')

  const writers = steadyWrites()
  await sleep(QUIET_MS / 4)
  const begin = performance.now()
  await sleep(QUIET_MS)
  const during = performance.now()
  const steps = [...(await rebuildAside())]
  const after = performance.now()
  await sleep(QUIET_MS)
  const end = performance.now()
  await writers.stop()
  await sql.end()

  const { sorted } = figures(writers.writes, begin, during, 0)
  const limit = 2 * quantile(sorted, 0.5)
  const shares: Record<string, number> = {}
  for (const [name, from, to] of [
    ['before', begin, during],
    ['during', during, after],
    ...steps.map(([step, from], n) => [` ${step}`, from, steps[n + 1]?.[1] ?? after] as const),
    ['after', after, end],
  ] as const) {
    const { n, sorted, slow, share } = figures(writers.writes, from, to, limit)
    shares[name] = share
    const [median, p99, max] = [0.5, 0.99, 1].map((q) => quantile(sorted, q).toFixed(1))
    console.log(
      `${name}: ${n} writes, median ${median} ms, p99 ${p99} ms, max ${max} ms;`,
      `${slow} (${(share * 100).toFixed(2)} %) above ${limit.toFixed(1)} ms, 2x the median before`,
    )
  }
  console.log(`failed writes: ${writers.failures.length}`, writers.failures[0] ?? '')
  const noise = Math.max(shares.before ?? 0, shares.after ?? 0)
  if (writers.failures.length > 0 || (shares.during ?? 0) > noise) process.exitCode = 1
} finally {
  await postgres.stop()
  await rm(directory, { recursive: true, force: true })
}
