import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import pg from 'pg'
import type { TaskEvent } from '../../src/domain/task/events.ts'
import { type TaskView, taskStreamId } from '../../src/domain/task/view.ts'
import { encryptedEventStore } from '../../src/infra/encryption/encrypted-texts.ts'
import { secretKeyWrap } from '../../src/infra/encryption/text-cipher.ts'
import { postgresUserKeys } from '../../src/infra/encryption/user-keys.ts'
import { freePorts } from '../../src/infra/local/free-ports.ts'
import { MEMORY_FLAGS } from '../../src/infra/local/service-process.ts'
import { openDatabase } from '../../src/infra/postgres/connection/database.ts'
import { postgresEventStore } from '../../src/infra/postgres/event-store/event-store.ts'
import { append, created, ownedBy } from '../support/appends.ts'
import { silent } from '../support/log.ts'
import { killAll, until } from '../support/processes.ts'
import { projectAudit } from '../support/project-audit.ts'
import { giveRole } from '../support/roles.ts'
import { type System, startSystem } from '../support/system.ts'

/** How many times as much data, and the larger container too. */
const TIMES = Number(process.env.EXHAUSTION ?? 1)
const SIZES = process.env.EXHAUSTION === undefined ? [512] : [512, 1_024]
const VERSIONS = 300 * TIMES
const TASKS = 220 * TIMES
/** Histories asked for at once, and other things, and connections on which nobody reads. */
const HISTORIES = 90
const PARALLEL = 15 * TIMES
const CONNECTIONS = 50
const AT_ONCE = 30
const MAX = Number.MAX_SAFE_INTEGER

type User = Awaited<ReturnType<System['newUser']>>
/** A request, and whether anybody reads its answer. */
type Attack = {
  readonly user: User
  readonly method?: string
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: object
  readonly times: number
  readonly isRead: boolean
  /** What the service may say. @default what was asked for, or that there is no room for it now */
  readonly only?: readonly number[]
}

const SCRIPT =
  process.env.EXHAUSTION_SCRIPT ??
  fileURLToPath(new URL('../../src/task-service.ts', import.meta.url))
const FINE = [200, 201, 403, 404, 409, 422, 429, 503]

const NAMES = [
  'histories of the owner',
  'histories of a stranger',
  'histories of an auditor',
  'one task, now and then',
  'lists that nobody reads',
  'lists that somebody reads',
  'changes and streams',
  'undo and redo',
  'writes',
  'the trail and its exports',
] as const

describe('Whoever stores and asks for as much as they may', function () {
  this.timeout(300_000 * TIMES)
  let system: System
  let sql: pg.Client
  let owner: User
  let stranger: User
  let auditor: User
  let long: number
  // Four bytes each in UTF-8; in the process two units of two.
  const text = (n: number) => `${n} `.padEnd(8, '.') + '😀'.repeat(9_900)

  before(async () => {
    system = await startSystem()
    sql = new pg.Client(system.database.url)
    await sql.connect()
    owner = await system.newUser()
    stranger = await system.newUser()
    auditor = await system.newUser()
    await giveRole(sql, auditor.id, 'auditor')
    await fill()
  })
  after(async () => {
    await sql.end()
    await system.stop()
  })

  /** As the API would, but for many events at once. */
  const fill = async () => {
    const db = openDatabase({ ...system.database.config, role: 'tasktrail_task', log: silent })
    const keys = postgresUserKeys(db, secretKeyWrap(system.env.TEXT_KEY ?? ''))
    const store = encryptedEventStore(postgresEventStore<TaskEvent, TaskView>(db), keys)
    const nextId = async (): Promise<number> =>
      Number((await sql.query(`select nextval('task_ids') as id`)).rows[0].id)
    const write = async (id: number, events: readonly TaskEvent[]) => {
      const [last] = (await store.page(taskStreamId(id), { before: MAX }, 1)).events
      const expected = { version: last?.version ?? 0, head_hash: last?.hash ?? null }
      await store.append(ownedBy(owner.id, append(id, events, { expected })))
    }
    const first = () => created({ description: text(0) })
    long = await nextId()
    await write(long, [first()])
    for (let version = 1; version < VERSIONS; version += AT_ONCE) {
      const events = Array.from({ length: AT_ONCE }, (_, n): TaskEvent => {
        return { type: 'TaskDescribed', data: { description: text(version + n) } }
      })
      await write(long, events)
      await projectAudit(system.database)
    }
    for (let n = 0; n < TASKS; n++) {
      await write(await nextId(), [first()])
      if (n % AT_ONCE === 0) await projectAudit(system.database)
    }
    await db.close()
  }

  const attacks = (): Readonly<Record<(typeof NAMES)[number], readonly Attack[]>> => {
    const read = (user: User, path: string, more: Partial<Attack> = {}): Attack => {
      return { user, path, times: PARALLEL, isRead: true, ...more }
    }
    const unread = (user: User, path: string, more: Partial<Attack> = {}): Attack => {
      return { user, path, times: CONNECTIONS, isRead: false, ...more }
    }
    const task = `/tasks/${long}`
    const now = encodeURIComponent(new Date().toISOString())
    // From one small row: there is room for it.
    const refused = { only: [403] }
    const post = { method: 'POST', body: {} }
    // An export breaks off, even before its first byte, when nobody can say whether it may go on.
    const accept = (type: string) => ({ headers: { accept: type }, only: [...FINE, 0] })
    return {
      'histories of the owner': [
        read(owner, `${task}/history`, { times: HISTORIES }),
        unread(owner, `${task}/history`),
      ],
      'histories of a stranger': [
        read(stranger, `${task}/history`, { times: HISTORIES, ...refused }),
      ],
      'histories of an auditor': [
        read(auditor, `${task}/history`),
        unread(auditor, `${task}/history`),
      ],
      'one task, now and then': [
        read(owner, task),
        unread(owner, task),
        read(owner, `${task}?version=${VERSIONS - 1}`),
        read(owner, `${task}?as_of=${now}`),
        read(stranger, `${task}?version=${VERSIONS - 1}`),
      ],
      'lists that nobody reads': [
        unread(owner, '/tasks?limit=200'),
        unread(owner, '/tasks'),
        unread(owner, `/tasks?as_of=${now}`),
      ],
      'lists that somebody reads': [
        read(owner, '/tasks?limit=200'),
        read(owner, '/tasks'),
        read(owner, `/tasks?as_of=${now}&limit=200`),
        read(owner, `/tasks?q=${encodeURIComponent('😀😀😀')}&limit=200`),
      ],
      'changes and streams': [
        read(owner, '/tasks/changes?limit=200'),
        unread(owner, '/tasks/changes?limit=200'),
        unread(owner, '/tasks/stream', { headers: { 'last-event-id': '0' } }),
        unread(auditor, '/tasks/stream', { headers: { 'last-event-id': '0' } }),
      ],
      'undo and redo': [
        read(owner, `${task}/undo`, post),
        read(owner, `${task}/redo`, post),
        read(stranger, `${task}/undo`, post),
        read(owner, `${task}/undo`, { ...post, headers: { 'idempotency-key': 'the same' } }),
      ],
      writes: [
        read(owner, task, { method: 'PUT', body: { description: text(-1) } }),
        read(owner, '/tasks', { method: 'POST', body: { title: 'x', description: text(-2) } }),
        read(stranger, task, { method: 'PATCH', body: { description: text(-3) } }),
        unread(owner, task, { method: 'PUT', body: { description: text(-4) } }),
      ],
      'the trail and its exports': [
        read(owner, '/audit/events?limit=200'),
        read(auditor, '/audit/events?limit=200'),
        unread(auditor, '/audit/events?limit=200'),
        unread(owner, '/audit/events', accept('application/x-ndjson')),
        unread(auditor, '/audit/events', accept('text/csv')),
        read(auditor, '/audit/events', accept('application/x-ndjson')),
      ],
    }
  }

  for (const mib of SIZES) {
    describe(`does not end a task-service of ${mib} MiB`, () => {
      let port: number
      let pid: number
      let ended: string | undefined
      let clients: Socket[]

      before(async () => {
        clients = []
        ;[port = 0] = await freePorts(1)
        // What Node takes for its heap in a container of this size.
        const heap = `--max-old-space-size=${mib / 2}`
        const child = spawn(process.execPath, [...MEMORY_FLAGS, heap, SCRIPT], {
          env: {
            PATH: process.env.PATH,
            ...system.env,
            MAX_EVENT_LOOP_DELAY_MS: '1000',
            AUTH_SERVICE_URL: system.urls.auth,
            PORT: String(port),
          },
          stdio: ['ignore', 'ignore', 'pipe'],
        })
        pid = child.pid ?? -1
        let said = ''
        child.stderr.on('data', (some: Buffer) => {
          said += some
        })
        void once(child, 'exit').then(([code, signal]) => {
          ended = `code ${code}, signal ${signal}: ${said}`
        })
        await until(async () => (await statusOf('/tasks/health')) === 200, 'the service')
      })
      after(() => killAll([pid]))
      afterEach(() => {
        for (const client of clients.splice(0)) client.destroy()
      })

      const statusOf = (path: string) =>
        fetch(`http://127.0.0.1:${port}${path}`).then(
          async ({ status, body }) => {
            await body?.cancel()
            return status
          },
          () => 0,
        )

      const ask = async (attack: Attack): Promise<number> => {
        const { user, method = 'GET', path, headers = {}, body, isRead } = attack
        const content = body === undefined ? '' : JSON.stringify(body)
        const lines = Object.entries({
          host: '127.0.0.1',
          authorization: `Bearer ${user.token}`,
          'content-length': String(Buffer.byteLength(content)),
          ...(body && { 'content-type': 'application/json' }),
          ...(isRead && { connection: 'close' }),
          ...headers,
        }).map(([name, value]) => `${name}: ${value}\r\n`)
        const client = connect(port, '127.0.0.1')
        clients.push(client)
        const answered = new Promise<number>((resolve) => {
          client.once('data', (begin) => resolve(Number(String(begin).slice(9, 12))))
          // Without an answer: the connection was cut off.
          client.once('close', () => resolve(0))
          client.on('error', () => resolve(0))
        })
        client.write(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${content}`)
        const status = await answered
        if (!isRead) client.pause()
        else if (!client.closed) await once(client.resume(), 'close')
        return status
      }
      const peak = () => {
        const status = readFileSync(`/proc/${pid}/status`, 'utf8')
        return Math.round(Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]) / 1024)
      }

      for (const name of [...NAMES, 'all of it at once'] as const) {
        it(`with ${name}`, async () => {
          const all = attacks()
          const asked = name === 'all of it at once' ? Object.values(all).flat() : all[name]
          const answers = await Promise.all(
            asked.flatMap((attack) =>
              Array.from({ length: attack.times }, async () => {
                return { attack, status: await ask(attack) }
              }),
            ),
          )
          const counts = Object.groupBy(answers, ({ status }) => String(status))
          const seen = Object.entries(counts).map(([status, of]) => `${of?.length} × ${status}`)
          expect(ended, 'the end of the service').to.equal(undefined)
          console.log(`      ${name}: ${peak()} MiB at most so far; ${seen.join(', ')}`)
          for (const { attack, status } of answers) {
            const { only = FINE } = attack
            const fine = name === 'all of it at once' ? [...FINE, ...only] : only
            expect(fine, `${attack.method} ${attack.path}`).to.include(status)
          }
          expect(peak()).to.be.below(mib)
          for (const client of clients.splice(0)) client.destroy()
          await until(async () => (await statusOf('/tasks/health')) === 200, 'its health')
        })
      }
    })
  }
})
