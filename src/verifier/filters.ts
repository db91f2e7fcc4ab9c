import type { ExportLine } from './export-lines.ts'
import { faultIn, fields, id, listOf, matching, moment, optional, type Shape } from './shapes.ts'
import { TEXTS } from './shown.ts'

/** Where in a stream events may be missing. */
export type Part = 'start' | 'middle' | 'end'

type Filter = {
  readonly value: Shape
  /** Whether a line matches. */
  readonly finds: (line: ExportLine, value: unknown) => boolean
  /** Which parts of a matching stream it leaves out. */
  readonly leavesOut: readonly Part[]
}

const ANYWHERE: readonly Part[] = ['start', 'middle', 'end']

/** The filters of an export. Not every event names the owner of its task; times in a stream never go backwards. */
const FILTERS: Readonly<Record<string, Filter>> = {
  user_id: {
    value: id,
    finds: ({ stored: { stream_id, data } }, user_id) =>
      stream_id.startsWith('user-')
        ? stream_id === `user-${user_id}`
        : [data.user_id, ...TEXTS.map((name) => userOf(data[name]))].every(
            (user) => user === undefined || user === user_id,
          ),
    leavesOut: [],
  },
  task_id: {
    value: id,
    finds: ({ task_id }, id) => task_id === id,
    leavesOut: [],
  },
  actor_id: {
    value: id,
    finds: ({ actor }, id) => actor.user_id === id,
    leavesOut: ANYWHERE,
  },
  type: {
    value: listOf(matching(/^[A-Z][A-Za-z]{0,99}$/)),
    finds: ({ type }, types) => Array.isArray(types) && types.includes(type),
    leavesOut: ANYWHERE,
  },
  from: {
    value: moment,
    finds: ({ recorded_at }, time) => recorded_at >= String(time),
    leavesOut: ['start'],
  },
  to: {
    value: moment,
    finds: ({ recorded_at }, time) => recorded_at < String(time),
    leavesOut: ['end'],
  },
  request_id: {
    value: matching(/^[A-Za-z0-9._-]{1,128}$/),
    finds: ({ request_id }, id) => request_id === id,
    leavesOut: ANYWHERE,
  },
}

type Query = Readonly<Record<string, unknown>>

const QUERY = fields(
  Object.fromEntries(Object.entries(FILTERS).map(([name, { value }]) => [name, optional(value)])),
)

/** An unknown filter would excuse missing events. */
export const faultInFilters = (query: Query): string | null => faultIn(QUERY, query, 'query')

export const partsLeftOut = (query: Query): ReadonlySet<Part> =>
  new Set(Object.keys(query).flatMap((name) => FILTERS[name]?.leavesOut ?? []))

/** The filter that a line does not match, if there is one. */
export const unmetFilter = (
  line: ExportLine,
  filters: readonly (readonly [name: string, value: unknown])[],
) => filters.find(([name, value]) => !FILTERS[name]?.finds(line, value))

export const inWords = ([name, value]: readonly [string, unknown]): string =>
  `${name}=${JSON.stringify(value)}`

const userOf = (text: unknown): unknown =>
  typeof text === 'object' && text !== null && 'user' in text ? text.user : undefined
