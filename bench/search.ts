import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Append, EventStore } from '../src/app/ports/event-store.ts'
import type { TaskQuery } from '../src/app/ports/tasks.ts'
import { wholeNumbers } from '../src/command-line.ts'
import type { TaskEvent, TaskFields } from '../src/domain/task/events.ts'
import { type TaskView, taskStreamId } from '../src/domain/task/view.ts'
import { encryptedEventStore } from '../src/infra/encryption/encrypted-texts.ts'
import { newDataKey, secretKeyWrap } from '../src/infra/encryption/text-cipher.ts'
import { postgresUserKeys } from '../src/infra/encryption/user-keys.ts'
import { openDatabase } from '../src/infra/postgres/connection/database.ts'
import { postgresEventStore } from '../src/infra/postgres/event-store/event-store.ts'
import { postgresTaskList } from '../src/infra/postgres/tasks/task-list.ts'
import { storedRow } from '../test/support/task-rows.ts'
import { percentile } from './percentile.ts'
import { type ScratchDatabase, scratchDatabase } from './scratch-database.ts'

const USAGE = `Usage: npm run bench:search [-- tasks]

Measures searches among 100,000 tasks of one user, through the adapter, on a private PostgreSQL, and then
writing a task with and without the index of texts. Fails if the median of a search is above 50 ms.`

const [TASKS = 100_000] = wholeNumbers({ usage: USAGE, takes: [0, 1] })
const USER = 1
const ASKED = 40
const LIMIT_MS = 50
const WRITES = 1_000

// English prose, so that parts of words are as common as in practice.
const GUIDE = new URL('../docs/implementation-guide.md', import.meta.url)
const WORDS = readFileSync(GUIDE, 'utf8').match(/[A-Za-z]+/g) ?? []
const any = (below: number): number => Math.floor(Math.random() * below)
const words = (count: number): string => {
  const from = any(WORDS.length - count)
  return WORDS.slice(from, from + count).join(' ')
}
const typical = () => ({ title: words(5), description: any(2) === 0 ? null : words(20) })
const long = () => ({ title: words(5), description: words(2_500).slice(0, 10_000) })

const STATUSES = ['pending', 'in_progress', 'completed'] as const
const PRIORITIES = ['low', 'medium', 'high'] as const
const at = (n: number): string => new Date(Date.UTC(2026, 0, 1) + n * 60_000).toISOString()

function task(id: number, texts: Pick<TaskFields, 'title' | 'description'>): TaskView {
  const status = STATUSES[any(3)] ?? 'pending'
  const priority = PRIORITIES[any(3)] ?? 'medium'
  const times = { created_at: at(id), updated_at: at(id), deleted_at: null }
  return {
    id,
    user_id: USER,
    ...texts,
    status,
    priority,
    due_date: null,
    photos: [],
    ...times,
    version: 1,
  }
}

const wrap = secretKeyWrap('a secret of at least 32 characters, for texts')

/** Only the first 2,000 share this word: far from the beginning of the list. */
async function fill({ sql }: ScratchDatabase): Promise<void> {
  const key = newDataKey()
  await sql.query('insert into user_keys (user_id, wrapped_key, wrapped_by) values ($1, $2, $3)', [
    USER,
    await wrap.wrap(key, USER),
    wrap.id,
  ])
  for (let first = 1; first <= TASKS; first += 1_000) {
    const rows = Array.from({ length: Math.min(1_000, TASKS - first + 1) }, (_, n) => {
      const texts = typical()
      const more = `${first + n === 1 ? ' Ornithopter' : ''}${first + n <= 2_000 ? ' zeppelin' : ''}`
      return storedRow(task(first + n, { ...texts, title: texts.title + more }), key)
    })
    await sql.query('insert into tasks select * from jsonb_populate_recordset(null::tasks, $1)', [
      JSON.stringify(rows),
    ])
  }
  await sql.query('vacuum analyze tasks')
}

const SEARCHES: Readonly<Record<string, Partial<TaskQuery>>> = {
  'no search': {},
  'one task has it': { q: 'ornithopter' },
  'part of that word': { q: 'NITHOP' },
  '2,000 tasks have it, none near': { q: 'zeppelin' },
  'the same, by priority': { q: 'zeppelin', sort: 'priority' },
  'some have it': { q: 'load balancer' },
  'most have it': { q: 'the' },
  'one letter': { q: 'e' },
  'two letters': { q: 'qu' },
  'two letters, none': { q: 'zq' },
  'a word, none': { q: 'xylophone' },
  'a long phrase': { q: words(15) },
  'with a status': { q: 'security group', status: ['completed'] },
  'without a due date': { q: 'subnet', has_due_date: false },
}

async function search(database: ScratchDatabase): Promise<number> {
  const db = openDatabase(connectionOf(database))
  const list = postgresTaskList(db, postgresUserKeys(db, wrap))
  const base = { user_id: USER, sort: 'created_at', descending: true, limit: 50 } as const
  const middle = { value: at(TASKS / 2), id: TASKS / 2 }
  let slowest = 0
  for (const [name, query] of Object.entries(SEARCHES)) {
    const figures: string[] = []
    const isByTime = query.sort === undefined
    for (const after of isByTime ? [undefined, middle] : [undefined]) {
      const times: number[] = []
      for (let n = 0; n < ASKED; n++) {
        const began = performance.now()
        await list.list({ ...base, ...query, after })
        times.push(performance.now() - began)
      }
      slowest = Math.max(slowest, percentile(times, 0.5))
      figures.push(`${percentile(times, 0.5).toFixed(1)}/${percentile(times, 0.95).toFixed(1)}`)
    }
    console.log(name.padEnd(32), ...figures.map((figure) => figure.padStart(12)))
  }
  await db.close()
  return slowest
}

const log = { info: () => {}, warn: () => {}, error: () => {} }
const connectionOf = ({ url }: ScratchDatabase) => {
  return { connection: { connectionString: url }, poolMax: 1, role: 'tasktrail_task', log }
}

function creation(row: TaskView): Append<TaskEvent, TaskView> {
  const { id, user_id, title, description, status, priority, due_date } = row
  const request_id = randomUUID()
  const ids = { request_id, correlation_id: request_id, causation_id: request_id, session_id: null }
  const data = { user_id, title, description, status, priority, due_date }
  return {
    stream_id: taskStreamId(id),
    stream_type: 'task',
    expected: { version: 0, head_hash: null },
    schema_version: 1,
    events: [{ type: 'TaskCreated', data }],
    row,
    actor_id: USER,
    metadata: { ...ids, ip: '127.0.0.1' },

    command: undefined,
  }
}

let lastId = 10_000_000

async function timesOf(store: EventStore<TaskEvent, TaskView>, texts: typeof typical) {
  const times: number[] = []
  for (let n = 0; n < WRITES; n++) {
    const append = creation(task(++lastId, texts()))
    const began = performance.now()
    await store.append(append)
    times.push(performance.now() - began)
  }
  return [0.5, 0.99, 1].map((share) => percentile(times, share).toFixed(2)).join('/')
}

async function write(database: ScratchDatabase): Promise<void> {
  const db = openDatabase(connectionOf(database))
  const keys = postgresUserKeys(db, wrap)
  const store = encryptedEventStore(postgresEventStore<TaskEvent, TaskView>(db), keys)
  const cost = async (what: string) => {
    const [one, other] = [await timesOf(store, typical), await timesOf(store, long)]
    console.log(what.padEnd(32), `a typical task ${one}, one of 10,000 characters ${other}`)
  }
  console.log('writing, ms, median/p99/longest')
  await cost('with the index')
  await database.sql.query('drop index tasks_by_ngrams')
  await cost('without it')
  await db.close()
}

const database = await scratchDatabase()
try {
  console.log(`filling in ${TASKS} tasks`)
  await fill(database)
  console.log('ms, p50/p95'.padEnd(32), 'first page, from the middle')
  const slowest = await search(database)
  await write(database)
  const verdict = slowest <= LIMIT_MS ? 'within' : 'OVER'
  console.log(`slowest median of a search: ${slowest.toFixed(1)} ms, ${verdict} ${LIMIT_MS} ms`)
  if (slowest > LIMIT_MS) process.exitCode = 1
} finally {
  await database.drop()
}
