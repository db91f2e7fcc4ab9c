import type { Ownership, TaskList, TaskQuery } from '../../../app/ports/tasks.ts'
import { type Candidates, cursorBy, fillPage } from '../../../app/task-pages.ts'
import type { TaskView } from '../../../domain/task/view.ts'
import type { Database } from '../connection/database.ts'
import { TASK_COLUMNS, taskPage, waysTo } from './task-page.ts'

const NEXT_ID = { name: 'next_task_id', text: `select nextval('task_ids') as id` }

const FIND = {
  name: 'find_task',
  text: `select ${TASK_COLUMNS} from tasks where id = $1 and deleted_at is null`,
}

// The rows of an erased account are deleted; the first event stays.
const OWNER_OF = {
  name: 'owner_of_task',
  text: `
    select owner_id,
      exists (select from user_keys where user_id = owner_id and wrapped_key is null) as "isErased"
    from coalesce(
      (select user_id from tasks where id = $1),
      (select (data ->> 'user_id')::bigint from events
        where stream_id = 'task-' || $1 and version = 1)) owner_id
    where owner_id is not null`,
}

/** At least this many possible matches are read at once. */
const SEARCHED_AT_ONCE = 50

export function postgresTaskList(db: Database): TaskList {
  return {
    async nextId() {
      const [row] = await db.query<{ id: number }>(NEXT_ID, [])
      if (row === undefined) throw new Error('the sequence gave no id')
      return row.id
    },

    async find(id) {
      const [row] = await db.query<TaskView>(FIND, [id])
      return row ?? null
    },

    async ownerOf(id) {
      const [row] = await db.query<Ownership>(OWNER_OF, [id])
      return row ?? null
    },

    list: (query) => fillPage(query, candidates(db, query)),
  }
}

/** What the database finds, with one more than asked for, which shows that there is another page. */
async function* candidates(db: Database, query: TaskQuery): AsyncGenerator<Candidates> {
  const limit = Math.max(query.limit + 1, query.q === undefined ? 0 : SEARCHED_AT_ONCE)
  const [first = 'order', ...others] = waysTo(query)
  let way = first
  for (let { after } = query; ; ) {
    const { statement, values } = taskPage({ ...query, after }, way, limit)
    const rows = await db.query<TaskView & { found: number }>(statement, values)
    const tasks = rows.map(({ found, ...task }) => task)
    const found = rows[0]?.found ?? 0
    const next = found < limit ? others.shift() : undefined
    if (next !== undefined) {
      way = next
      continue
    }
    const last = tasks.at(-1)
    const more = last !== undefined && (found === limit || found > tasks.length)
    yield { tasks, more }
    if (!more) return
    after = cursorBy(query)(last)
  }
}
