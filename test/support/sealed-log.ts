import type pg from 'pg'
import type { EventStore } from '../../src/app/ports/event-store.ts'
import type { TaskEvent } from '../../src/domain/task/events.ts'
import { type TaskView, taskStreamId } from '../../src/domain/task/view.ts'
import { encryptedEventStore } from '../../src/infra/encryption/encrypted-texts.ts'
import { secretKeyWrap } from '../../src/infra/encryption/text-cipher.ts'
import { postgresUserKeys, type UserKeys } from '../../src/infra/encryption/user-keys.ts'
import { SUPERUSER } from '../../src/infra/local/postgres-data.ts'
import { secretSealSigner } from '../../src/infra/postgres/audit/seal-signer.ts'
import { postgresSealer, type Sealed } from '../../src/infra/postgres/audit/sealer.ts'
import { openDatabase, singleConnection } from '../../src/infra/postgres/connection/database.ts'
import { postgresEventStore } from '../../src/infra/postgres/event-store/event-store.ts'
import type { Query } from '../../src/infra/postgres/projections/projection.ts'
import { readKey } from '../../src/verifier/formats.ts'
import { append, created, NEW, ownedBy, renamed } from './appends.ts'
import { load } from './load.ts'
import { silent } from './log.ts'
import { type TestDatabase, testDatabase } from './postgres.ts'

export const LOG_KEY = 'a secret to seal with, long enough'
export const signer = secretSealSigner(LOG_KEY)
export const logKey = readKey(signer.publicKey)

/** A database with a log of encrypted events in it that can be sealed. */
export type SealedLog = {
  readonly database: TestDatabase
  readonly store: EventStore<TaskEvent, TaskView>
  /** The same with texts as they are stored. */
  readonly stored: EventStore<TaskEvent, TaskView>
  readonly keys: UserKeys
  readonly sealer: { readonly seal: () => Promise<Sealed | null> }
  /** A connection of the superuser, with values as the application reads them. */
  readonly root: pg.Client
  readonly query: Query
  /** Appends to a task, of user 1 unless told; creates it when it is not there. */
  readonly write: (id: number, events?: readonly TaskEvent[], user_id?: number) => Promise<void>
  readonly stop: () => Promise<void>
}

export const queryOf =
  (client: pg.Client): Query =>
  async (statement, values) =>
    (await client.query({ ...statement, values: [...values] })).rows

export async function openLog(given?: TestDatabase): Promise<SealedLog> {
  const database = given ?? (await testDatabase())
  const { config } = database
  const task = openDatabase({ ...config, role: 'tasktrail_task', log: silent })
  const worker = openDatabase({ ...config, role: 'tasktrail_worker', log: silent })
  const root = singleConnection(config.connection, SUPERUSER)
  await root.connect()
  const keys = postgresUserKeys(task, secretKeyWrap('a secret to wrap with, long enough too'))
  const stored = postgresEventStore<TaskEvent, TaskView>(task)
  const store = encryptedEventStore(stored, keys)
  const { seal } = postgresSealer(signer, () => new Date())

  return {
    database,
    store,
    stored,
    keys,
    sealer: { seal: () => seal(worker.query) },
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
      await Promise.all([task.close(), worker.close(), root.end()])
      await database.drop()
    },
  }
}
