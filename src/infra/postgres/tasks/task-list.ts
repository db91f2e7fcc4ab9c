import { AppError } from '../../../app/errors.ts'
import type { Ownership, TaskList, TaskQuery } from '../../../app/ports/tasks.ts'
import { type Candidates, cursorBy, fillPage } from '../../../app/task-pages.ts'
import { type TaskView, taskStreamId } from '../../../domain/task/view.ts'
import { ngramsToFind } from '../../encryption/blind-index.ts'
import { decryptTexts } from '../../encryption/encrypted-texts.ts'
import type { UserKeys, WrappedKey } from '../../encryption/user-keys.ts'
import type { Database } from '../connection/database.ts'
import { sharedStatement } from '../connection/shared-statements.ts'
import { recentTasks, type Stamp } from './recent-tasks.ts'
import { type Prepared, pageStamps, TASK_COLUMNS, taskPage, waysTo } from './task-page.ts'

/** Drawn in one statement; what a process draws and does not use is a gap. */
const IDS_AT_ONCE = 50
const NEXT_IDS = {
  name: 'next_task_ids',
  text: `select nextval('task_ids') as id from generate_series(1, ${IDS_AT_ONCE})`,
}

const FIND = {
  name: 'find_task',
  text: `
    select ${TASK_COLUMNS}, tasks.xmin as revision, wrapped_key, wrapped_by
    from tasks
      join (select user_id, wrapped_key, wrapped_by from user_keys where wrapped_key is not null) keys
        using (user_id)
    where id = any ($1::bigint[]) and deleted_at is null`,
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

/** A row as it is stored: its texts encrypted. */
type StoredTask = TaskView & Pick<Stamp, 'revision'>
type KeyedTask = StoredTask & WrappedKey
/** `wrapped_key` and `wrapped_by` stand in the first one. */
type PageRow = KeyedTask & { readonly found: number }

/** Which tasks a user's page has, of which writes, in their order; `ids` is null if there are none. */
type PageStamps = WrappedKey & {
  readonly ids: readonly number[] | null
  readonly versions: readonly number[]
  readonly revisions: readonly string[]
}

type AskedPage = Prepared & { readonly user_id: number }

export function postgresTaskList(db: Database, keys: UserKeys): TaskList {
  const recent = recentTasks()

  const inTheClear = (key: Buffer, { revision, ...row }: StoredTask): TaskView => {
    const { id, user_id } = row
    const clear = decryptTexts(row, taskStreamId(id), new Map([[user_id, key]]))
    if (clear === null) throw new Error(`the texts of task ${id} are of another user`)
    if (clear instanceof Error) throw new AppError('texts_unavailable', { cause: clear })
    recent.keep(key, revision, clear)
    return clear
  }

  const inTheClearAll = async (rows: readonly PageRow[]): Promise<TaskView[]> => {
    const [first] = rows
    if (first === undefined) return []
    const key = await keys.unwrap(first)
    return rows.map(({ found, wrapped_key, wrapped_by, ...task }) => {
      return recent.find(key, task) ?? inTheClear(key, task)
    })
  }

  const find = sharedStatement(async (ids: readonly number[]) => {
    const rows = await db.query<KeyedTask>(FIND, [ids])
    const byId = new Map(rows.map((row) => [row.id, row]))
    return ids.map((id) => byId.get(id))
  })

  /** Users who ask the same share a statement. */
  const stamps = sharedStatement(async (pages: readonly AskedPage[]) => {
    const alike = Map.groupBy(pages, ({ statement: { name }, values }) =>
      JSON.stringify([name, values]),
    )
    const answers = new Map<AskedPage, PageStamps>()
    const answer = async (group: readonly AskedPage[]) => {
      const [{ statement, values }] = group as [AskedPage]
      const users = [...new Set(group.map(({ user_id }) => user_id))]
      const rows = await db.query<PageStamps>(statement, [users, ...values])
      const byUser = new Map(rows.map((row) => [row.user_id, row]))
      for (const page of group) {
        const row = byUser.get(page.user_id)
        if (row !== undefined) answers.set(page, row)
      }
    }
    await Promise.all([...alike.values()].map(answer))
    return pages.map((page) => answers.get(page))
  })

  const ids: number[] = []
  let drawing: Promise<void> | undefined
  const draw = async () => {
    const rows = await db.query<{ id: number }>(NEXT_IDS, [])
    ids.push(...rows.map(({ id }) => id).reverse())
  }

  /** What the database finds, with one more than asked for, which tells that there is another page. */
  async function* candidates(
    query: TaskQuery,
    ngrams: readonly number[] = [],
  ): AsyncGenerator<Candidates> {
    const limit = Math.max(query.limit + 1, query.q === undefined ? 0 : SEARCHED_AT_ONCE)
    const [first = 'order', ...others] = waysTo(query)
    let way = first
    for (let { after } = query; ; ) {
      const { statement, values } = taskPage({ ...query, after }, way, limit, ngrams)
      const rows = await db.query<PageRow>(statement, values)
      const found = rows[0]?.found ?? 0
      const next = found < limit ? others.shift() : undefined
      if (next !== undefined) {
        way = next
        continue
      }
      const tasks = await inTheClearAll(rows)
      const last = tasks.at(-1)
      const more = last !== undefined && (found === limit || found > tasks.length)
      yield { tasks, more }
      if (!more) return
      after = cursorBy(query)(last)
    }
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
      if (row === undefined) return null
      const { wrapped_key, wrapped_by, ...task } = row
      const key = await keys.unwrap(row)
      return recent.find(key, task) ?? inTheClear(key, task)
    },

    async ownerOf(id) {
      const [row] = await db.query<Ownership>(OWNER_OF, [id])
      return row ?? null
    },

    async list(query) {
      const { q, user_id } = query
      if (q === undefined) return fillPage(query, candidates(query))
      const key = (await keys.find([user_id])).get(user_id)
      if (key === undefined) return { tasks: [], next: null }
      return fillPage(query, candidates(query, ngramsToFind(key, q)))
    },

    async recent(query) {
      if (waysTo(query)[0] !== 'order') return null
      const { user_id, limit } = query
      const page = await stamps({ user_id, ...pageStamps(query, limit + 1) })
      if (page === undefined) return { tasks: [], next: null }
      const { ids, versions, revisions } = page
      const key = await keys.unwrap(page)
      const tasks: TaskView[] = []
      for (const [n, id] of (ids ?? []).entries()) {
        const stamp = { id, version: versions[n] as number, revision: revisions[n] as string }
        const task = recent.find(key, stamp)
        if (task === undefined) return null
        tasks.push(task)
      }
      return fillPage(query, [{ tasks, more: false }])
    },
  }
}
