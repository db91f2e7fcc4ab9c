import { createHash } from 'node:crypto'
import { AUDIT_EVENT_TYPES } from '../../../app/audit-types.ts'
import type { AuditQuery } from '../../../app/ports/audit.ts'
import type { Statement } from '../connection/database.ts'

/**
 * Planner settings for reading audit_events: always in the order of an index, never by collecting and
 * sorting, which is good for a user with few events and takes minutes for one with a million. Then nothing
 * depends on whose events they are, and one plan serves all.
 */
export const INDEX_ORDER_SETTINGS = {
  enable_bitmapscan: 'off',
  enable_sort: 'off',
  jit: 'off',
  plan_cache_mode: 'force_generic_plan',
}

export type PositionRange = {
  /** Exclusive bounds. */
  readonly above: number
  readonly below: number
  readonly descending: boolean
  readonly limit: number
}

const COLUMNS = `
  position, task_id, user_id, version, type, actor_id, occurred_at, recorded_at, request_id, changes,
  undoes, encode(hash, 'hex') as hash`

const OWN = '(actor_id = user_id) is true'
const OTHERS = '(actor_id = user_id) is not true'

export type Prepared = { readonly statement: Statement; readonly values: readonly unknown[] }

/**
 * A page of audit_events, found by position whatever the conditions are. Tasks and requests have few
 * events; a client that gives a million events one request id, and then asks for those of a rare type, runs
 * into the time limit, and holds at most one connection. For the rest each type of each index has a range
 * of its own, read in order; the ranges are merged row by row, so that a page costs as much at the end of
 * ten million events as anywhere. `around` may wrap the query in another.
 */
export function auditQuery(
  query: AuditQuery,
  { above, below, descending, limit }: PositionRange,
  around = (page: string) => page,
): Prepared {
  const values: unknown[] = []
  const put = (value: unknown, type: string) => `$${values.push(value)}::${type}`
  const everywhere = between(query, above, below, put)
  const count = put(limit, 'int')
  const ranges = rangesOf(query, put)
  // The primary key has one order, all other indexes the other.
  const [up, down] = ranges.some((range) => range.length > 0)
    ? ['asc nulls first', 'desc nulls last']
    : ['asc', 'desc']
  const order = `order by position ${descending ? down : up} limit ${count}`
  const selects = ranges.map(
    (range) =>
      `(select * from audit_events where ${[...range, everywhere].join(' and ')} ${order})`,
  )
  const text = around(`select ${COLUMNS} from (${selects.join(' union all ')}) e ${order}`)
  return { statement: { name: `audit_${digest(text)}`, text }, values }
}

/** Of the same events, how many there are by type and day; in whatever order is quickest. */
export function auditCounts(
  query: AuditQuery,
  { above, below }: Pick<PositionRange, 'above' | 'below'>,
): Prepared {
  const values: unknown[] = []
  const put = (value: unknown, type: string) => `$${values.push(value)}::${type}`
  const everywhere = between(query, above, below, put)
  const selects = rangesOf(query, put).map(
    (range) =>
      `select type, recorded_at from audit_events where ${[...range, everywhere].join(' and ')}`,
  )
  const text = `
    select type, to_char(recorded_at at time zone 'UTC', 'YYYY-MM-DD') as day, count(*) as events
    from (${selects.join(' union all ')}) e group by 1, 2`
  return { statement: { name: `audit_counts_${digest(text)}`, text }, values }
}

function between({ from, to }: AuditQuery, above: number, below: number, put: Put): string {
  return [
    `position > ${put(above, 'bigint')} and position < ${put(below, 'bigint')}`,
    // Nearly all of them lie between the positions.
    ...(from === undefined ? [] : [`recorded_at >= ${put(from, 'timestamptz')}`]),
    ...(to === undefined ? [] : [`recorded_at < ${put(to, 'timestamptz')}`]),
  ].join(' and ')
}

const digest = (text: string): string =>
  createHash('sha256').update(text).digest('base64url').slice(0, 16)

type Put = (value: unknown, type: string) => string

/** The conditions of each range to read; every wanted event is in one of them. */
function rangesOf(query: AuditQuery, put: Put): readonly (readonly string[])[] {
  const { user_id, actor_id, task_id, type, request_id } = query
  if (task_id !== undefined || request_id !== undefined) {
    return [
      [
        ...(task_id === undefined ? [] : [`task_id = ${put(task_id, 'bigint')}`]),
        ...(request_id === undefined ? [] : [`request_id = ${put(request_id, 'text')}`]),
        ...(user_id === null ? [] : [`user_id = ${put(user_id, 'bigint')}`]),
        ...(actor_id === undefined ? [] : [`actor_id = ${put(actor_id, 'bigint')}`]),
        ...(type === undefined ? [] : [`type = any (${put(type, 'text[]')})`]),
      ],
    ]
  }
  const people = peopleOf(user_id, actor_id, put)
  if (people.length === 0 && type === undefined) return [[]]
  const types = (type ?? AUDIT_EVENT_TYPES).map((each) => `type = ${put(each, 'text')}`)
  if (people.length === 0) return types.map((each) => [each])
  return people.flatMap((who) => types.map((each) => [...who, each]))
}

function peopleOf(
  user_id: number | null,
  actor_id: number | undefined,
  put: Put,
): readonly (readonly string[])[] {
  if (user_id === null && actor_id === undefined) return []
  if (user_id === null) {
    const who = put(actor_id, 'bigint')
    return [
      [OWN, `user_id = ${who}`],
      [OTHERS, `actor_id = ${who}`],
    ]
  }
  const user = `user_id = ${put(user_id, 'bigint')}`
  if (actor_id === undefined) {
    return [
      [OWN, user],
      [OTHERS, user],
    ]
  }
  if (actor_id === user_id) return [[OWN, user]]
  return [[OTHERS, user, `actor_id = ${put(actor_id, 'bigint')}`]]
}
