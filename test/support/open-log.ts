import type pg from 'pg'
import type { EventStore } from '../../src/app/ports/event-store.ts'
import type { TaskEvent } from '../../src/domain/task/events.ts'
import { type TaskView, taskStreamId } from '../../src/domain/task/view.ts'
import { secretLogSigner } from '../../src/infra/credentials/note-signers.ts'
import { encryptedEventStore } from '../../src/infra/encryption/encrypted-texts.ts'
import { secretKeyWrap } from '../../src/infra/encryption/text-cipher.ts'
import { postgresUserKeys, type UserKeys } from '../../src/infra/encryption/user-keys.ts'
import { SUPERUSER } from '../../src/infra/local/postgres-data.ts'
import {
  openDatabase,
  singleConnection,
  transaction,
} from '../../src/infra/postgres/connection/database.ts'
import { postgresEventStore } from '../../src/infra/postgres/event-store/event-store.ts'
import type { Query } from '../../src/infra/postgres/projections/projection.ts'
import {
  type Logged,
  type LogWriter,
  logWriter,
  type Session,
} from '../../src/infra/postgres/transparency-log/log-writer.ts'
import { append, created, NEW, ownedBy, renamed } from './appends.ts'
import { load } from './load.ts'
import { silent } from './log.ts'
import { type TestDatabase, testDatabase } from './postgres.ts'

export const LOG_KEY = 'a secret to sign with, long enough'
export const ORIGIN = 'tasktrail.test/log'
export const signer = secretLogSigner(ORIGIN, LOG_KEY)

/** A database with a log of encrypted events in it whose checkpoints can be signed. */
export type OpenLog = {
  readonly database: TestDatabase
  readonly store: EventStore<TaskEvent, TaskView>
  /** The same with texts as they are stored. */
  readonly stored: EventStore<TaskEvent, TaskView>
  readonly keys: UserKeys
  readonly writer: LogWriter
  /** Adds all that there is, by a writer that has written before; the last that it added. */
  readonly log: () => Promise<Logged | null>
  /** The session of a worker. */
  readonly session: Session
  /** A connection of the superuser, with values as the application reads them. */
  readonly root: pg.Client
  readonly query: Query
  /** Appends to a task, of user 1 unless told; creates it when it is not there. */
  readonly write: (id: number, events?: readonly TaskEvent[], user_id?: number) => Promise<void>
  readonly stop: () => Promise<void>
}

export const sessionOf = (client: pg.Client): Session => ({
  query: queryOf(client),
  transaction: (work) => transaction(client, work),
})

export const queryOf =
  (client: pg.Client): Query =>
  async (statement, values) =>
    (await client.query({ ...statement, values: [...values] })).rows

export async function openLog(given?: TestDatabase): Promise<OpenLog> {
  const database = given ?? (await testDatabase())
  const { config } = database
  const task = openDatabase({ ...config, role: 'tasktrail_task', log: silent })
  const worker = singleConnection(config.connection, 'tasktrail_worker')
  await worker.connect()
  const root = singleConnection(config.connection, SUPERUSER)
  await root.connect()
  const keys = postgresUserKeys(task, secretKeyWrap('a secret to wrap with, long enough too'))
  const stored = postgresEventStore<TaskEvent, TaskView>(task)
  const store = encryptedEventStore(stored, keys)
  const writer = logWriter({ origin: ORIGIN, signers: [signer], witnessed: false })
  const session = sessionOf(worker)

  return {
    database,
    store,
    stored,
    keys,
    writer,
    session,
    async log() {
      let last: Logged | null = null
      for (;;) {
        const logged = await writer.write(session)
        if (logged === null) return last
        last = logged
      }
    },
    root,
    query: queryOf(root),
    async write(id, events, user_id = 1) {
      const { version, head_hash } = await load(store, taskStreamId(id))
      const isNew = version === 0
      const next = events ?? (isNew ? [created({ title: `Task ${id}` })] : [renamed(`${version}`)])
      const expected = isNew ? NEW : { version, head_hash }
      const { outcome } = await store.append(ownedBy(user_id, append(id, next, { expected })))
      if (outcome !== 'appended') throw new Error(outcome)
    },
    async stop() {
      await Promise.all([task.close(), worker.end(), root.end()])
      await database.drop()
    },
  }
}
