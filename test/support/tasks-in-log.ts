import type { TaskEvent } from '../../src/domain/task/events.ts'
import { taskStreamId } from '../../src/domain/task/view.ts'
import { openDatabase } from '../../src/infra/postgres/connection/database.ts'
import { postgresEventStore } from '../../src/infra/postgres/event-store/event-store.ts'
import { append, created, renamed } from './appends.ts'
import { load } from './load.ts'
import { silent } from './log.ts'
import type { TestDatabase } from './postgres.ts'

/** Writes events of tasks as task-service does, without its HTTP. */
export function tasksInLog({ config }: TestDatabase) {
  const db = openDatabase({ ...config, role: 'tasktrail_task', log: silent })
  const store = postgresEventStore<TaskEvent, never>(db)
  let nextId = 1
  const add = async (id: number, events: readonly TaskEvent[]) => {
    const { version, head_hash } = await load(store, taskStreamId(id))
    await store.append(append(id, events, { expected: { version, head_hash } }) as never)
  }
  return {
    add,
    /** A new task with some events; its id. */
    async create(renames = 0): Promise<number> {
      const id = nextId++
      const names = Array.from({ length: renames }, (_, n) => renamed(`Name ${n}`))
      await add(id, [created({ title: `Task ${id}` }), ...names])
      return id
    },
    close: () => db.close(),
  }
}
