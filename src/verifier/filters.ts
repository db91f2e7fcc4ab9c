import type { ExportLine } from './export-lines.ts'
import { TEXTS } from './shown.ts'

/** Whether a line is of what was asked for. */
type Filter = (line: ExportLine, value: unknown) => boolean

/** What can be asked for. Whose a task is not every event tells. */
export const FILTERS: Readonly<Record<string, Filter>> = {
  user_id: ({ stored: { stream_id, data } }, id) =>
    stream_id.startsWith('user-')
      ? stream_id === `user-${id}`
      : [data.user_id, ...TEXTS.map((name) => userOf(data[name]))].every(
          (user) => user === undefined || user === id,
        ),
  task_id: ({ task_id }, id) => task_id === id,
  actor_id: ({ actor }, id) => actor.user_id === id,
  type: ({ type }, types) => Array.isArray(types) && types.includes(type),
  from: ({ recorded_at }, time) => typeof time === 'string' && recorded_at >= time,
  to: ({ recorded_at }, time) => typeof time === 'string' && recorded_at < time,
  request_id: ({ request_id }, id) => request_id === id,
}

/** Those that leave out whole streams, or nothing. */
export const WHOLE_STREAMS: readonly string[] = ['user_id', 'task_id']

export const inWords = ([name, value]: readonly [string, unknown]): string =>
  `${name}=${JSON.stringify(value)}`

const userOf = (text: unknown): unknown =>
  typeof text === 'object' && text !== null && 'user' in text ? text.user : undefined
