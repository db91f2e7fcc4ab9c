import { AppError } from '../../../app/errors.ts'
import type { Ownership, TaskList, TaskQuery } from '../../../app/ports/tasks.ts'
import { type Candidates, cursorBy, fillPage } from '../../../app/task-pages.ts'
import { type TaskView, taskStreamId } from '../../../domain/task/view.ts'
import { type BatchLimits, batches } from '../../batching/batches.ts'
import { ngramsToFind } from '../../encryption/blind-index.ts'
import { decryptTexts } from '../../encryption/encrypted-texts.ts'
import type { UserKeys, WrappedKey } from '../../encryption/user-keys.ts'
import type { Database } from '../connection/database.ts'
import { KEYS_AT_HAND, TASK_COLUMNS, taskPage, waysTo } from './task-page.ts'

/** Drawn in one statement; what a process draws and does not use is a gap. */
const IDS_AT_ONCE = 50
const NEXT_IDS = {
  name: 'next_task_ids',
  text: `select nextval('task_ids') as id from generate_series(1, ${IDS_AT_ONCE})`,
}

const FIND = {
  name: 'find_task',
  text: `
    select ${TASK_COLUMNS}, wrapped_key, wrapped_by from tasks join ${KEYS_AT_HAND} using (user_id)
    where id = any ($1::bigint[]) and deleted_at is null`,
}

/** Readers of single tasks who wait for the database wait for one statement. */
const READS: BatchLimits = {
  items: 100,
  bytes: Number.POSITIVE_INFINITY,
  waiting: 500,
  calls: 4,
  patience: 25,
  total: 2_500,
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

/** A row as it is stored: its texts encrypted, and the key that was wrapped for its user. */
type StoredTask = TaskView & WrappedKey

export function postgresTaskList(db: Database, keys: UserKeys): TaskList {
  const inTheClear = async ({ wrapped_key, wrapped_by, ...row }: StoredTask): Promise<TaskView> => {
    const { id, user_id } = row
    const key = await keys.unwrap({ user_id, wrapped_key, wrapped_by })
    const clear = decryptTexts(row, taskStreamId(id), new Map([[user_id, key]]))
    if (clear === null) throw new Error(`the texts of task ${id} are of another user`)
    if (clear instanceof Error) throw new AppError('texts_unavailable', { cause: clear })
    return clear
  }

  const find = batches<number, StoredTask | undefined>({
    async call(ids) {
      const rows = await db.query<StoredTask>(FIND, [ids])
      const byId = new Map(rows.map((row) => [row.id, row]))
      return ids.map((id) => byId.get(id))
    },
    sizeOf: () => 0,
    limits: READS,
    now: () => performance.now(),
    refusal: (cause) => new AppError('database_unavailable', { retryAfter: 1, cause }),
  })

  const ids: number[] = []
  let drawing: Promise<void> | undefined
  const draw = async () => {
    const rows = await db.query<{ id: number }>(NEXT_IDS, [])
    ids.push(...rows.map(({ id }) => id).reverse())
  }

  return {
    async nextId() {
      for (;;) {
        const id = ids.pop()
        if (id !== undefined) return id
        drawing ??= draw().finally(() => {
          drawing = undefined
        })
        await drawing
      }
    },

    async find(id) {
      const row = await find(id)
      return row === undefined ? null : inTheClear(row)
    },

    async ownerOf(id) {
      const [row] = await db.query<Ownership>(OWNER_OF, [id])
      return row ?? null
    },

    async list(query) {
      const { q, user_id } = query
      if (q === undefined) return fillPage(query, candidates(db, query, inTheClear))
      const key = (await keys.find([user_id])).get(user_id)
      if (key === undefined) return { tasks: [], next: null }
      return fillPage(query, candidates(db, query, inTheClear, ngramsToFind(key, q)))
    },
  }
}

/** What the database finds, with one more than asked for, which tells that there is another page. */
async function* candidates(
  db: Database,
  query: TaskQuery,
  inTheClear: (row: StoredTask) => Promise<TaskView>,
  ngrams: readonly number[] = [],
): AsyncGenerator<Candidates> {
  const limit = Math.max(query.limit + 1, query.q === undefined ? 0 : SEARCHED_AT_ONCE)
  const [first = 'order', ...others] = waysTo(query)
  let way = first
  for (let { after } = query; ; ) {
    const { statement, values } = taskPage({ ...query, after }, way, limit, ngrams)
    const rows = await db.query<StoredTask & { found: number }>(statement, values)
    const found = rows[0]?.found ?? 0
    const next = found < limit ? others.shift() : undefined
    if (next !== undefined) {
      way = next
      continue
    }
    const tasks = await Promise.all(rows.map(({ found, ...task }) => inTheClear(task)))
    const last = tasks.at(-1)
    const more = last !== undefined && (found === limit || found > tasks.length)
    yield { tasks, more }
    if (!more) return
    after = cursorBy(query)(last)
  }
}
