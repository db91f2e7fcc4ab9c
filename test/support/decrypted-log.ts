import type { Recorded } from '../../src/app/ports/event-store.ts'
import type { TaskEvent } from '../../src/domain/task/events.ts'
import { isTaskStreamId, type TaskView } from '../../src/domain/task/view.ts'
import { decryptEvents } from '../../src/infra/encryption/encrypted-texts.ts'
import { secretKeyWrap } from '../../src/infra/encryption/text-cipher.ts'
import { postgresUserKeys } from '../../src/infra/encryption/user-keys.ts'
import { openDatabase } from '../../src/infra/postgres/connection/database.ts'
import { postgresEventStore } from '../../src/infra/postgres/event-store/event-store.ts'
import { silent } from './log.ts'
import type { System } from './system.ts'

/** All events of all tasks in log order, with their texts in the clear. */
export async function decryptedLog({
  database,
  env,
}: System): Promise<readonly Recorded<TaskEvent>[]> {
  const db = openDatabase({ ...database.config, role: 'tasktrail_task', log: silent })
  const keys = postgresUserKeys(db, secretKeyWrap(env.TEXT_KEY ?? ''))
  const log: Recorded<TaskEvent>[] = []
  try {
    for (;;) {
      const store = postgresEventStore<TaskEvent, TaskView>(db)
      const page = await store.readAll(log.at(-1)?.position ?? 0, 1_000)
      if (page.length === 0) return log
      const ofTasks = page.filter(({ stream_id }) => isTaskStreamId(stream_id))
      log.push(...(await decryptEvents(ofTasks, keys)))
    }
  } finally {
    await db.close()
  }
}
