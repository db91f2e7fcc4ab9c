import { PAGE_BYTES } from '../../../app/full-texts.ts'
import type { TaskList, TaskQuery, TaskSort } from '../../../app/ports/tasks.ts'
import type { TaskView } from '../../../domain/task/view.ts'
import type { Database } from '../connection/database.ts'

const COLUMNS = `
  id, user_id, title, description, status, priority, due_date, created_at, updated_at, version,
  deleted_at`

const NEXT_ID = { name: 'next_task_id', text: `select nextval('task_ids') as id` }

const FIND = {
  name: 'find_task',
  text: `select ${COLUMNS} from tasks where id = $1 and deleted_at is null`,
}

// What each order sorts by, exactly as its index has it; tasks without a due date come last.
const SORT_KEYS: Record<TaskSort, { ascending: string; descending: string; type: string }> = {
  created_at: { ascending: 'created_at', descending: 'created_at', type: 'timestamptz' },
  updated_at: { ascending: 'updated_at', descending: 'updated_at', type: 'timestamptz' },
  priority: { ascending: 'priority', descending: 'priority', type: 'task_priority' },
  due_date: {
    ascending: `coalesce(due_date, timestamptz 'infinity')`,
    descending: `coalesce(due_date, timestamptz '-infinity')`,
    type: 'timestamptz',
  },
}

/** The texts differ only in their order, so that each can use the index made for it. */
function listStatement(sort: TaskSort, descending: boolean) {
  const key = SORT_KEYS[sort][descending ? 'descending' : 'ascending']
  const type = SORT_KEYS[sort].type
  const direction = descending ? 'desc' : 'asc'
  const beyond = descending ? '<' : '>'
  return {
    name: `list_by_${sort}_${direction}`,
    text: `
      select ${COLUMNS}, found from (
        select *, count(*) over () as found,
          sum(bytes) over (order by place) - bytes as bytes_before
        from (
          select ${COLUMNS},
            octet_length(title) + coalesce(octet_length(description), 0) as bytes,
            row_number() over (order by ${key} ${direction}, id ${direction}) as place
          from tasks
          where user_id = $1 and deleted_at is null
            and ($2::text[] is null or status = any ($2))
            and ($3::task_priority[] is null or priority = any ($3))
            and ($4::timestamptz is null or due_date >= $4)
            and ($5::timestamptz is null or due_date < $5)
            and ($6::boolean is null or (due_date is not null) = $6)
            and ($7::text is null or title ilike $7 or description ilike $7)
            and ($8::bigint is null or (${key}, id) ${beyond} ($9::${type}, $8))
          order by ${key} ${direction}, id ${direction}
          limit $10
        ) page
      ) measured
      where bytes_before < ${PAGE_BYTES}
      order by place`,
  }
}

/** `%`, `_` and the escape sign itself stand for themselves. */
const containing = (text: string): string => `%${text.replace(/[\\%_]/g, '\\$&')}%`

const noDueDate = (descending: boolean): string => (descending ? '-infinity' : 'infinity')

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

    async list(query) {
      const statement = listStatement(query.sort, query.descending)
      const rows = await db.query<TaskView & { found: number }>(statement, parameters(query))
      const tasks = rows.slice(0, query.limit).map(({ found, ...task }) => task)
      const last = tasks.at(-1)
      const more = last !== undefined && (rows[0]?.found ?? 0) > tasks.length
      return { tasks, next: more ? { value: last[query.sort], id: last.id } : null }
    },
  }
}

function parameters(query: TaskQuery): unknown[] {
  const { after, descending } = query
  return [
    query.user_id,
    query.status ?? null,
    query.priority ?? null,
    query.due_from ?? null,
    query.due_before ?? null,
    query.has_due_date ?? null,
    query.q === undefined ? null : containing(query.q),
    after?.id ?? null,
    after === undefined ? null : (after.value ?? noDueDate(descending)),
    // One more than asked for tells whether there is another page.
    query.limit + 1,
  ]
}
