import { AUDIT_EVENT_TYPES } from '../../app/audit-types.ts'
import type { AuditQuery } from '../../app/ports.ts'
import type { Statement } from './database.ts'

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

/**
 * A page of audit_events that is found by position whatever else is asked. Tasks and requests have
 * few events. For the rest each type of each index has a range of its own, read in order; the ranges
 * are merged row by row, so that a page costs as much at the end of ten million events as anywhere.
 * The texts are not prepared: a plan made for any user would be a bad one for some.
 */
export function auditQuery(
  query: AuditQuery,
  { above, below, descending, limit }: PositionRange,
): { readonly statement: Statement; readonly values: readonly unknown[] } {
  const values: unknown[] = []
  const put = (value: unknown) => `$${values.push(value)}`
  const everywhere = [
    `position > ${put(above)} and position < ${put(below)}`,
    // A filter only, by "is true": these times lie between the positions already.
    ...(query.from === undefined ? [] : [`(recorded_at >= ${put(query.from)}) is true`]),
    ...(query.to === undefined ? [] : [`(recorded_at < ${put(query.to)}) is true`]),
  ].join(' and ')
  const order = `order by position ${descending ? 'desc' : 'asc'} limit ${put(limit)}`
  const ranges = rangesOf(query, put).map(
    (range) => `select * from audit_events where ${[...range, everywhere].join(' and ')}`,
  )
  const text = `select ${COLUMNS} from (${ranges.join(' union all ')}) e ${order}`
  return { statement: { name: '', text }, values }
}

type Put = (value: unknown) => string

/** Conditions of each range that is read; every event that is wanted is in one of them. */
function rangesOf(query: AuditQuery, put: Put): readonly (readonly string[])[] {
  const { user_id, actor_id, task_id, type, request_id } = query
  if (task_id !== undefined || request_id !== undefined) {
    const equal = Object.entries({ task_id, request_id, user_id, actor_id })
      .filter(([, value]) => value !== undefined && value !== null)
      .map(([name, value]) => `${name} = ${put(value)}`)
    return [type === undefined ? equal : [...equal, `type = any (${put(type)})`]]
  }
  const people = peopleOf(user_id, actor_id, put)
  if (people.length === 0 && type === undefined) return [[]]
  const types = (type ?? AUDIT_EVENT_TYPES).map((each) => `type = ${put(each)}`)
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
    const who = put(actor_id)
    return [
      [OWN, `user_id = ${who}`],
      [OTHERS, `actor_id = ${who}`],
    ]
  }
  const user = `user_id = ${put(user_id)}`
  if (actor_id === undefined) {
    return [
      [OWN, user],
      [OTHERS, user],
    ]
  }
  return [actor_id === user_id ? [OWN, user] : [OTHERS, user, `actor_id = ${put(actor_id)}`]]
}
