import { createHash } from 'node:crypto'
import { PAGE_BYTES } from '../../../app/full-texts.ts'
import type { TaskQuery, TaskSort } from '../../../app/ports/tasks.ts'
import { TASK_PRIORITIES, TASK_STATUSES } from '../../../domain/task/events.ts'
import type { Statement } from '../connection/database.ts'

/** Those that `TaskView` has, its texts encrypted. */
export const TASK_COLUMNS = `
  id, user_id, title, description, status, priority, due_date, photos, created_at, updated_at,
  version, deleted_at`

const DUE_OR_LAST = `coalesce(due_date, timestamptz 'infinity')`
const DUE_OR_FIRST = `coalesce(due_date, timestamptz '-infinity')`

// What each order sorts by, exactly as its index has it; tasks without a due date come last.
const SORT_KEYS: Record<TaskSort, { ascending: string; descending: string; type: string }> = {
  created_at: { ascending: 'created_at', descending: 'created_at', type: 'timestamptz' },
  updated_at: { ascending: 'updated_at', descending: 'updated_at', type: 'timestamptz' },
  priority: { ascending: 'priority', descending: 'priority', type: 'task_priority' },
  due_date: { ascending: DUE_OR_LAST, descending: DUE_OR_FIRST, type: 'timestamptz' },
}

/** How many tasks are examined before the index of the conditions is used. */
const NEAR = 500

/**
 * How to look for a page. `order`: in the index of its order, which covers all conditions. `near`: there
 * too, but only among the next `NEAR` tasks: what many tasks match is found at once. `conditions`: in the
 * index of texts, or of due dates; all matches are sorted, and they are few if none were found near.
 */
export type Way = 'order' | 'near' | 'conditions'

/** The ways to try, one after the other, until one finds a page; the last one finds everything. */
export const waysTo = (query: TaskQuery): readonly Way[] =>
  query.q === undefined && (query.sort === 'due_date' || !asksForDue(query))
    ? ['order']
    : ['near', 'conditions']

const asksForDue = ({ due_from, due_before, has_due_date }: TaskQuery): boolean =>
  [due_from, due_before, has_due_date].some((asked) => asked !== undefined)

export type Prepared = { readonly statement: Statement; readonly values: readonly unknown[] }

/**
 * A page of rows. `found` in each is how many there are up to `limit`: those after `bytes` of texts are
 * left out. The user's wrapped key comes with the first row; a user whose key is destroyed has no rows.
 * `ngrams`: what `q` is found by. Each combination has an SQL text of its own, without "is null or", so
 * that it starts where the page starts, even under a generic plan.
 */
export function taskPage(
  query: TaskQuery,
  way: Way,
  limit: number,
  ngrams: readonly number[],
): Prepared {
  const { values, put } = parameters()
  const user = put(query.user_id, 'bigint')
  const asked = askedOf(query, user, put, ngrams, limit)
  const { bytes } = query
  const statement = known([way, bytes], asked, () => inFull(WAYS[way](asked), asked, user, bytes))
  return { statement, values }
}

/**
 * The same page of several users, in the way `order`, without what is in its rows: which they are, and as
 * of which write. `values` come after the users.
 */
export function pageStamps(query: TaskQuery, limit: number): Prepared {
  const { values, put } = parameters()
  const users = put([], 'bigint[]')
  const asked = askedOf(query, 'asked.user_id', put, [], limit)
  const stamps = () => `
    select asked.user_id, wrapped_key, wrapped_by, ids, versions, revisions
    from unnest(${users}) asked (user_id)
      cross join lateral (${keyOf('asked.user_id')}) keys
      cross join lateral (
        select array_agg(id) as ids, array_agg(version) as versions, array_agg(revision) as revisions
        from (${WAYS.order(asked)}) page) stamps`
  const statement = known(['stamps'], asked, stamps)
  return { statement, values: values.slice(1) }
}

function parameters(): { readonly values: unknown[]; readonly put: Put } {
  const values: unknown[] = []
  return { values, put: (value, type) => `$${values.push(value)}::${type}` }
}

function askedOf(
  query: TaskQuery,
  user: string,
  put: Put,
  ngrams: readonly number[],
  limit: number,
): Asked {
  const { q, sort, descending } = query
  const key = SORT_KEYS[sort][descending ? 'descending' : 'ascending']
  const direction = descending ? 'desc' : 'asc'
  return {
    key,
    order: `key ${direction}, id ${direction}`,
    isByDue: sort === 'due_date',
    user: `user_id = ${user}`,
    statuses: TASK_STATUSES.map((each) => put(ifAsked(query.status, each), 'text')),
    priorities: TASK_PRIORITIES.map((each) => put(ifAsked(query.priority, each), 'task_priority')),
    after: afterCursor(query, key, put),
    due: dueWithin(query, sort === 'due_date' ? key : DUE_OR_LAST, put),
    texts: q === undefined ? [] : [`ngrams @> ${put(ngrams, 'int[]')}`],
    limit: put(limit, 'int'),
  }
}

/** Nothing equals null: of what is not asked for, nothing is found, and nothing looked at. */
const ifAsked = <T>(wanted: readonly T[] | undefined, one: T): T | null =>
  wanted === undefined || wanted.includes(one) ? one : null

/** By the pieces that their texts are made of: one for each combination of what can be asked. */
const statements = new Map<string, Statement>()

/** Made once: the text is long, and so its name takes longer than all else about the question. */
function known(how: readonly unknown[], asked: Asked, make: () => string): Statement {
  const pieces = [...how, ...Object.values(asked)].join('\n')
  const made = statements.get(pieces)
  if (made !== undefined) return made
  const text = make()
  const name = createHash('sha256').update(text).digest('base64url').slice(0, 16)
  const statement = { name: `tasks_${name}`, text }
  statements.set(pieces, statement)
  return statement
}

type Put = (value: unknown, type: string) => string

function afterCursor({ sort, descending, after }: TaskQuery, key: string, put: Put): string[] {
  if (after === undefined) return []
  const value = put(after.value ?? noDueDate(descending), SORT_KEYS[sort].type)
  return [`(${key}, id) ${descending ? '<' : '>'} (${value}, ${put(after.id, 'bigint')})`]
}

/** No due date is earlier, see `time` in src/http/fields.ts; a missing one is, when it sorts first. */
const EARLIEST = '0001-01-01T00:00:00Z'

const noDueDate = (descending: boolean): string => (descending ? '-infinity' : 'infinity')

/** On a key that puts tasks without a due date beyond all others. */
function dueWithin(query: TaskQuery, key: string, put: Put): string[] {
  if (!asksForDue(query)) return []
  const { due_from, due_before, has_due_date } = query
  const isBounded = due_from !== undefined || due_before !== undefined
  return [
    ...(has_due_date === false
      ? [`${key} = timestamptz '${noDueDate(key === DUE_OR_FIRST)}'`]
      : []),
    ...(has_due_date === true || isBounded
      ? [
          `${key} >= ${put(due_from ?? EARLIEST, 'timestamptz')}`,
          `${key} < ${put(due_before ?? 'infinity', 'timestamptz')}`,
        ]
      : []),
  ]
}

/** Pieces of SQL: conditions, parameters, and the expression of `key`. */
type Asked = {
  readonly key: string
  readonly order: string
  readonly isByDue: boolean
  readonly user: string
  readonly statuses: readonly string[]
  readonly priorities: readonly string[]
  readonly after: readonly string[]
  readonly due: readonly string[]
  readonly texts: readonly string[]
  readonly limit: string
}

const all = (...conditions: readonly string[]): string => conditions.join(' and ')

// Each gives ids and keys, in order; `order` also what tells one write of a row from another.
const WAYS: Record<Way, (asked: Asked) => string> = {
  order: (asked) => {
    const { after, due, order, limit } = asked
    const each = ranges(asked, [...after, ...due], limit, ['version', 'xmin as revision'])
    return `select * from (${each}) page order by ${order} limit ${limit}`
  },

  near: (asked) => {
    const { after, due, isByDue, texts, order, limit } = asked
    const next = ranges(asked, [...after, ...(isByDue ? due : [])], String(NEAR))
    return `
      select near.id, near.key from (
          select * from (${next}) next order by ${order} limit ${NEAR}) near
        cross join lateral (
          select from tasks where ${all('id = near.id', ...due, ...texts)} limit 1) fits
      order by ${order} limit ${limit}`
  },

  conditions: (asked) => {
    const { key, user, statuses, priorities, after, due, texts, order, limit } = asked
    if (texts.length === 0) {
      const matches = ranges(asked, [...due, ...after])
      return `select * from (${matches}) matches order by ${order} limit ${limit}`
    }
    // Only this index leads to few of them, whatever the planner believes of one user's tasks.
    const some = [`status in (${statuses})`, `priority in (${priorities})`]
    return `
      select id, ${key} as key from (select * from tasks where ${all(...texts)} offset 0) found
      where ${all(user, 'deleted_at is null', ...some, ...due, ...after)}
      order by ${order} limit ${limit}`
  },
}

/**
 * An index keeps the tasks of each status and priority together; of each the first, or all. Each is a scan
 * of its own, of which no more is read than the page takes. They are parameters, so that no plan is made for
 * a status that few other users have.
 */
function ranges(
  { key, user, statuses, priorities, order }: Asked,
  conditions: readonly string[],
  first?: string,
  more: readonly string[] = [],
): string {
  const columns = ['id', `${key} as key`, ...more].join(', ')
  const end = first === undefined ? '' : `order by ${order} limit ${first}`
  const range = (status: string, priority: string) => {
    const own = [user, 'deleted_at is null', `status = ${status}`, `priority = ${priority}`]
    return `(select ${columns} from tasks where ${all(...own, ...conditions)} ${end})`
  }
  const each = statuses.flatMap((status) => priorities.map((priority) => range(status, priority)))
  return each.join(' union all ')
}

/** One row, or none if the key is destroyed; looked up by the user, however many users there are. */
const keyOf = (user: string): string =>
  `select wrapped_key, wrapped_by from user_keys
    where user_id = ${user} and wrapped_key is not null limit 1`

/** The rows, each looked up by its id: a plan for many would read all rows there are. */
const inFull = (page: string, { order }: Asked, user: string, bytes = PAGE_BYTES): string => `
  with keys as materialized (${keyOf(user)})
  select ${TASK_COLUMNS}, revision, found, case when place = 1 then wrapped_key end as wrapped_key,
    case when place = 1 then wrapped_by end as wrapped_by
  from keys cross join (
    select *, count(*) over () as found, sum(bytes) over (order by place) - bytes as before from (
      select task.*, pg_column_size(title) + coalesce(pg_column_size(description), 0) +
          pg_column_size(photos) as bytes,
        row_number() over (order by page.${order.replace(', ', ', page.')}) as place
      from (${page}) page
        cross join lateral (
          select ${TASK_COLUMNS}, xmin as revision from tasks where id = page.id limit 1) task
    ) placed
  ) measured
  where before < ${bytes}
  order by place`
