import type { Recorded } from '../../src/app/ports/event-store.ts'
import type { TaskEvent } from '../../src/domain/task/events.ts'
import { isTaskStreamId, type TaskView } from '../../src/domain/task/view.ts'
import { decryptEvents } from '../../src/infra/encryption/encrypted-texts.ts'
import { postgresUserKeys } from '../../src/infra/encryption/user-keys.ts'
import { type Database, openDatabase } from '../../src/infra/postgres/connection/database.ts'
import { postgresEventStore } from '../../src/infra/postgres/event-store/event-store.ts'
import { silent } from './log.ts'
import type { System } from './system.ts'

/** All events of all tasks in log order, as they are stored. */
export const storedLog = (system: System): Promise<readonly Recorded<TaskEvent>[]> =>
  readLog(system, async (events) => events)

/** The same with their texts decrypted. */
export const decryptedLog = (system: System): Promise<readonly Recorded<TaskEvent>[]> =>
  readLog(system, (events, db) => decryptEvents(events, postgresUserKeys(db, system.keyWrap)))

async function readLog(
  { database }: System,
  read: (
    events: readonly Recorded<TaskEvent>[],
    db: Database,
  ) => Promise<readonly Recorded<TaskEvent>[]>,
): Promise<readonly Recorded<TaskEvent>[]> {
  const db = openDatabase({ ...database.config, role: 'tasktrail_task', log: silent })
  const log: Recorded<TaskEvent>[] = []
  try {
    const store = postgresEventStore<TaskEvent, TaskView>(db)
    for (;;) {
      const page = await store.readAll(log.at(-1)?.position ?? 0, 1_000)
      if (page.length === 0) return log
      log.push(
        ...(await read(
          page.filter(({ stream_id }) => isTaskStreamId(stream_id)),
          db,
        )),
      )
    }
  } finally {
    await db.close()
  }
}
