import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import pg from 'pg'
import { type Append, TIME_OF_APPEND } from '../../src/app/ports/event-store.ts'
import type { TaskEvent } from '../../src/domain/task/events.ts'
import { type TaskView, taskStreamId } from '../../src/domain/task/view.ts'
import {
  type Database,
  openDatabase,
  type Statement,
} from '../../src/infra/postgres/connection/database.ts'
import { postgresEventStore } from '../../src/infra/postgres/event-store/event-store.ts'

// As pg sends a value: pgbench sends the same.
const { prepareValue } = createRequire(import.meta.url)('pg/lib/utils')

const ROLE = 'tasktrail_task'
const IN_FLIGHT = 32
// As by default: what a user stores is counted.
const QUOTAS = { tasks: 100_000, bytes: 1_073_741_824, keyed_answers: 100_000 }
const POOL = 10

const fields = {
  title: 'A task',
  description: null,
  status: 'pending',
  priority: 'medium',
  due_date: null,
} as const

// Users as in the rest of the run: they wait for nobody but themselves.
const USERS = 64
const userOf = (id: number): number => 1 + (id % USERS)

/** What makes a task, as the service appends it. */
export function creation(id: number, user_id = userOf(id)): Append<TaskEvent, TaskView> {
  const request_id = randomUUID()
  const ids = { request_id, correlation_id: request_id, causation_id: request_id, session_id: null }
  const times = { created_at: TIME_OF_APPEND, updated_at: TIME_OF_APPEND, deleted_at: null }
  return {
    stream_id: taskStreamId(id),
    stream_type: 'task',
    expected: { version: 0, head_hash: null },
    schema_version: 1,
    events: [{ type: 'TaskCreated', data: { ...fields, user_id } }],
    row: { id, user_id, ...fields, photos: [], ...times, version: 1 },
    actor_id: user_id,
    metadata: { ...ids, ip: '127.0.0.1' },
    command: undefined,
  }
}

// Far above what the services have given; each run has its own.
let nextId = 1_000_000_000

/** Appends per second through the service's own store, from this process. */
export async function storeRate(databaseUrl: string, seconds: number): Promise<number> {
  const log = { info: () => {}, warn: () => {}, error: () => {} }
  const connection = { connectionString: databaseUrl }
  const db = openDatabase({ connection, poolMax: POOL, role: ROLE, log })
  const store = postgresEventStore<TaskEvent, TaskView>(db, QUOTAS)
  const began = performance.now()
  let count = 0
  const work = async () => {
    while (performance.now() - began < seconds * 1_000) {
      const { outcome } = await store.append(creation(nextId++))
      if (outcome !== 'appended') throw new Error(`an append gave ${outcome}`)
      count++
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, work))
  const rate = count / ((performance.now() - began) / 1_000)
  await db.close()
  return rate
}

/** Appends per second of the very statement that the store sends; null if there is no pgbench. */
export async function pgbenchRate(
  databaseUrl: string,
  seconds: number,
  directory: string,
): Promise<number | null> {
  const { statement, values } = await sent()
  const file = join(directory, 'append.sql')
  const { script, definitions } = await asScript(databaseUrl, statement, values)
  await writeFile(file, script)
  const options = [
    '-n',
    '-M',
    'prepared',
    '-c',
    String(IN_FLIGHT),
    '-T',
    String(seconds),
    '-f',
    file,
  ]
  // As the service connects.
  const env = { PATH: process.env.PATH, PGOPTIONS: `-c role=${ROLE}` }
  const child = spawn('pgbench', [...options, ...definitions, databaseUrl], { env })
  const failure = new Promise<Error>((resolve) => child.on('error', resolve))
  const answer = Promise.all([text(child.stdout), text(child.stderr)])
  const out = await Promise.race([answer, failure])
  if (out instanceof Error) return null
  const rate = Number(/^tps = ([\d.]+)/m.exec(out[0])?.[1])
  if (!(rate > 0) || /^number of failed transactions: [^0]/m.test(out[0])) {
    throw new Error(`pgbench: ${out.join('\n')}`)
  }
  return rate
}

const MARK = {
  id: 987_654_321_012,
  user: 876_543_210_987,
  uuid: '01234567-89ab-7cde-8f01-23456789abcd',
}

/** What stands in the place of each mark, in pgbench's words. */
const MARKED: Readonly<Record<string, string>> = {
  [MARK.id]: ':id::text',
  [MARK.uuid]: `lpad(:id::text, 32, '0')::uuid::text`,
  [MARK.user]: `(1 + :id::bigint % ${USERS})::text`,
}

type Sent = { readonly statement: Statement; readonly values: readonly unknown[] }

/** What the store sends for one append, with marks in the place of what differs each time. */
async function sent(): Promise<Sent> {
  let seen: Sent | undefined
  const db: Database = {
    async query(statement, values) {
      seen ??= { statement, values }
      throw new Error('only looked at')
    },
    ping: async () => true,
    close: async () => {},
  }
  await postgresEventStore<TaskEvent, TaskView>(db, QUOTAS)
    .append(creation(MARK.id, MARK.user))
    .catch(() => {})
  if (seen === undefined) throw new Error('the store sent nothing')
  return seen
}

const UUID_V7 = /[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/g

// Ids ascend in each client, as a sequence's do, and so do the events' ids, as UUIDs of version 7 do.
const script = (statement: string) => `
\\set n :n + 1
\\set id ${nextId} + :client_id * 10000000 + :n
${statement.trim().replaceAll(/\s*\n\s*/g, ' ')};
`

async function asScript(databaseUrl: string, { text }: Statement, values: readonly unknown[]) {
  const types = await parameterTypes(databaseUrl, text)
  const definitions = ['-D', 'n=0']
  const expressions = values.map((value, n) => {
    const name = `p${n + 1}`
    const plain = prepareValue(value)
    if (plain === null) return 'null'
    const marked = String(plain).replaceAll(UUID_V7, MARK.uuid)
    definitions.push('-D', `${name}=${marked}`)
    const expression = Object.entries(MARKED).reduce(
      (inner, [mark, own]) =>
        marked.includes(mark) ? `replace(${inner}, '${mark}', ${own})` : inner,
      `:${name}`,
    )
    return expression === `:${name}` ? expression : `${expression}::${types[n]}`
  })
  const statement = text.replaceAll(/\$(\d+)/g, (_, n) => expressions[Number(n) - 1] ?? 'null')
  const lines = script(statement)
  nextId += 1_000_000_000
  return { script: lines, definitions }
}

async function parameterTypes(databaseUrl: string, text: string): Promise<readonly string[]> {
  const sql = new pg.Client(databaseUrl)
  await sql.connect()
  await sql.query(`prepare looked_at as ${text}`)
  const { rows } = await sql.query(
    `select parameter_types::text[] as types from pg_prepared_statements where name = 'looked_at'`,
  )
  await sql.end()
  return rows[0].types
}
