import pg from 'pg'
import { type HandleCommand, handleCommand } from '../../src/app/handle-command.ts'
import type { AuditEvent } from '../../src/app/ports/audit.ts'
import type { Recorded } from '../../src/app/ports/event-store.ts'
import { type TaskRequest, taskAggregate } from '../../src/app/task-aggregate.ts'
import type { TaskEvent, TaskFields } from '../../src/domain/task/events.ts'
import {
  isTaskStreamId,
  type TaskView,
  taskStreamId,
  viewTask,
} from '../../src/domain/task/view.ts'
import { ngramsOf } from '../../src/infra/encryption/blind-index.ts'
import {
  decryptEvents,
  encryptedEventStore,
  textsOf,
} from '../../src/infra/encryption/encrypted-texts.ts'
import { secretKeyWrap } from '../../src/infra/encryption/text-cipher.ts'
import { postgresUserKeys, type UserKeys } from '../../src/infra/encryption/user-keys.ts'
import { type Database, openDatabase } from '../../src/infra/postgres/connection/database.ts'
import { postgresEventStore } from '../../src/infra/postgres/event-store/event-store.ts'
import { metadata } from './appends.ts'
import { historiesOf } from './histories.ts'
import { silent } from './log.ts'
import { type TestDatabase, testDatabase } from './postgres.ts'
import { until } from './processes.ts'

export const TEXT_KEY = 'a key for texts of at least 32 characters'

export const FIELDS: TaskFields = {
  title: 'A task',
  description: 'What it is',
  status: 'pending',
  priority: 'medium',
  due_date: '2027-01-01T00:00:00.000Z',
}

export type TaskWorld = {
  readonly test: TestDatabase
  /** As the superuser. */
  readonly sql: pg.Client
  /** As the worker. */
  readonly db: Database
  readonly keys: UserKeys
  readonly handle: (id: number, command: TaskRequest) => Promise<TaskView>
  readonly create: (id: number, user_id?: number) => Promise<TaskView>
  readonly rows: () => Promise<readonly TaskView[]>
  /** The rows as they follow from the log. */
  readonly folded: () => Promise<readonly TaskView[]>
  readonly auditRows: () => Promise<readonly AuditEvent[]>
  readonly foldedAudit: () => Promise<readonly AuditEvent[]>
  readonly close: () => Promise<void>
}

/** A database with everything that writes tasks, and without HTTP. */
export async function taskWorld(): Promise<TaskWorld> {
  const test = await testDatabase()
  const writing = openDatabase({ ...test.config, role: 'tasktrail_task', log: silent })
  const db = openDatabase({ ...test.config, role: 'tasktrail_worker', log: silent })
  const store = postgresEventStore<TaskEvent, TaskView>(writing)
  const writingKeys = postgresUserKeys(writing, secretKeyWrap(TEXT_KEY))
  const handleTask: HandleCommand<TaskRequest, TaskView> = handleCommand(
    taskAggregate,
    encryptedEventStore(store, writingKeys),
  )
  const sql = new pg.Client(test.url)
  sql.on('error', () => {})
  await sql.connect()
  const keys = postgresUserKeys(db, secretKeyWrap(TEXT_KEY))

  const log = async (): Promise<readonly Recorded<TaskEvent>[]> => {
    const events: Recorded<TaskEvent>[] = []
    for (;;) {
      const page = await store.readAll(events.at(-1)?.position ?? 0, 1_000)
      if (page.length === 0) break
      events.push(...page)
    }
    return events.filter(({ stream_id }) => isTaskStreamId(stream_id))
  }
  const byStream = (events: readonly Recorded<TaskEvent>[]) => [
    ...Map.groupBy(events, ({ stream_id }) => stream_id).values(),
  ]
  const handle = async (id: number, command: TaskRequest) => {
    const context = { actor_id: command.actor_id, metadata, now: new Date() }
    const { row } = await handleTask(taskStreamId(id), command, {
      ...context,
      precondition: undefined,
      command: undefined,
    })
    return row
  }

  return {
    test,
    sql,
    db,
    keys,
    handle,
    create: (id, user_id = 1) =>
      handle(id, { type: 'CreateTask', actor_id: user_id, fields: FIELDS }),
    rows: () => db.query<TaskView>({ name: 'rows', text: 'select * from tasks order by id' }, []),

    async folded() {
      const events = await log()
      const foldEach = (events: readonly Recorded<TaskEvent>[]) =>
        byStream(events).flatMap((stream) => stream.reduce<TaskView | null>(viewTask, null) ?? [])
      const stored = foldEach(events)
      const clear = foldEach(await decryptEvents(events, keys))
      const known = await keys.find(stored.map(({ user_id }) => user_id))
      return stored
        .flatMap((row, index) => {
          const key = known.get(row.user_id)
          if (typeof row.title === 'string') return { ...row, ngrams: null }
          return key ? { ...row, ngrams: ngramsOf(key, textsOf(clear[index] ?? {})) } : []
        })
        .toSorted((a, b) => a.id - b.id)
    },

    auditRows: () =>
      db.query<AuditEvent>(
        {
          name: 'audit_rows',
          text: `
            select position, task_id, user_id, version, type, actor_id, occurred_at, recorded_at,
              request_id, changes, to_jsonb(undoes) as undoes, encode(hash, 'hex') as hash
            from audit_events where task_id is not null order by position`,
        },
        [],
      ),

    async foldedAudit() {
      const rows = historiesOf(await log())
      return rows.map((row) => ({ undoes: null, ...row }) as unknown as AuditEvent)
    },

    async close() {
      await writing.close()
      await db.close()
      await sql.end()
      await test.drop()
    },
  }
}

/** Writers that change tasks of their own as fast as they can, until told to stop. */
export function busyWriters(world: TaskWorld, writers: number, firstId: number) {
  let stopped = false
  const written = { commands: 0, failures: [] as unknown[] }
  const all = Array.from({ length: writers }, async (_, writer) => {
    for (let n = 0; !stopped && written.failures.length === 0; n++) {
      const id = firstId + writer + writers * Math.floor(n / 5)
      const title = `Title ${n} of writer ${writer}`
      const change: TaskRequest = { type: 'ChangeTask', actor_id: 1, changes: { title } }
      await (n % 5 === 0 ? world.create(id) : world.handle(id, change)).then(
        () => written.commands++,
        (error: unknown) => written.failures.push(error),
      )
    }
  })
  return {
    written,
    /** Resolves when that many more commands are done. */
    more: (count: number) => {
      const enough = written.commands + count
      return until(() => written.commands >= enough || written.failures.length > 0, 'writes')
    },
    async stop() {
      stopped = true
      await Promise.all(all)
    },
  }
}
