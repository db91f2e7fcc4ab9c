import { createHash, randomUUID } from 'node:crypto'
import canonicalize from 'canonicalize'
import {
  type Append,
  type CommandKey,
  type Metadata,
  TIME_OF_APPEND,
} from '../../src/app/ports/event-store.ts'
import type { TaskEvent, TaskFields } from '../../src/domain/task/events.ts'
import { type TaskView, taskStreamId, viewTask } from '../../src/domain/task/view.ts'

export const metadata: Metadata = {
  request_id: 'r-1',
  correlation_id: 'r-1',
  causation_id: 'c-1',
  session_id: '0d2f5e0e-5a3b-4a43-a6f1-5d1d8bb6d4a1',
  ip: '127.0.0.1',
}

export const NEW = { version: 0, head_hash: null }

export const created = (fields: Partial<TaskFields> = {}): TaskEvent => ({
  type: 'TaskCreated',
  data: {
    user_id: 1,
    title: 'A task',
    description: null,
    status: 'pending',
    priority: 'medium',
    due_date: null,
    ...fields,
  },
})

export const renamed = (title: string): TaskEvent => ({ type: 'TaskRenamed', data: { title } })

export const key = (name: string, request: string): CommandKey => ({
  key: name,
  fingerprint: createHash('sha256').update(request).digest(),
})

/** An append to the stream of task `id` with what does not matter filled in. */
export function append(
  id: number,
  events: readonly TaskEvent[],
  facts: Partial<Append<TaskEvent, TaskView>> = {},
): Append<TaskEvent, TaskView> {
  const stream_id = taskStreamId(id)
  const { version } = facts.expected ?? NEW
  const before = version === 0 ? [] : [created()]
  const row = [...before, ...events].reduce<TaskView | null>((row, event) => {
    return viewTask(row, { ...event, stream_id, version: 0, occurred_at: TIME_OF_APPEND })
  }, null)
  return {
    stream_id,
    stream_type: 'task',
    expected: NEW,
    schema_version: 1,
    events,
    row: { ...(row as TaskView), version: version + events.length },
    actor_id: 1,
    metadata: { ...metadata, request_id: randomUUID(), causation_id: randomUUID() },
    command: undefined,
    ...facts,
  }
}

/** As append_events takes it. */
export const appendParameter = (append: Append<TaskEvent, TaskView>): object => ({
  ...append,
  expected_version: append.expected.version,
  prev_hash: append.expected.head_hash && `\\x${append.expected.head_hash}`,
  events: append.events.map(({ type, data }) => {
    return { event_id: randomUUID(), type, data: canonicalize(data) }
  }),
  metadata: canonicalize(append.metadata),
})

/** The append of a new task with that many events as a statement, for a transaction that stays open. */
export function appendStatement(id: number, events = 1): string {
  const deleted: TaskEvent = { type: 'TaskDeleted', data: {} }
  const facts = append(id, [created(), ...Array<TaskEvent>(events - 1).fill(deleted)])
  return `select append_events('${JSON.stringify([appendParameter(facts)])}', true)`
}

/** The same of a task of this user's, done by its owner. */
export const ownedBy = (
  user_id: number,
  { events, row, ...facts }: Append<TaskEvent, TaskView>,
): Append<TaskEvent, TaskView> => ({
  ...facts,
  actor_id: user_id,
  events: events.map((event) =>
    event.type === 'TaskCreated' ? { ...event, data: { ...event.data, user_id } } : event,
  ),
  row: { ...row, user_id },
})
