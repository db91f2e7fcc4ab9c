import { z } from 'zod'
import type { CommandContext, HandleCommand } from '../app/handle-command.ts'
import { historyPage } from '../app/history.ts'
import type { Caller } from '../app/ports/authorization.ts'
import type { EventStore } from '../app/ports/event-store.ts'
import type { TaskList } from '../app/ports/tasks.ts'
import type { TaskRequest } from '../app/task-aggregate.ts'
import type { TaskChanges } from '../app/task-changes.ts'
import type { UndoSteps } from '../app/undo.ts'
import { DomainError } from '../domain/errors.ts'
import type { TaskEvent } from '../domain/task/events.ts'
import type { UndoCommand } from '../domain/task/task.ts'
import { type TaskView, taskStreamId } from '../domain/task/view.ts'
import { admitToTask, type RecordAccess } from './audit-access.ts'
import { auditEvent, auditEventOf } from './audit-schemas.ts'
import { linkNext, NEXT_LINK, readCursor, writeCursor } from './cursors.ts'
import type { Endpoint, routes } from './endpoint.ts'
import type { RequireKnownPosition } from './known-position.ts'
import { type Enter, inPlace, places } from './places.ts'
import { CHANGING, commandContext, OWN, REPLAYED, showTask, taskAnswer } from './task-answers.ts'
import * as schema from './task-schemas.ts'
import type { streamTaskEvents } from './task-stream.ts'

const history = {
  method: 'get',
  path: '/tasks/:id/history',
  summary: 'The history of a task, even of a deleted one',
  description:
    'For its owner, and for auditors, whose access is recorded. A page ends early once its texts fill 1 MiB.',
  access: 'token',
  params: schema.taskId,
  query: schema.historyQuery,
  answers: {
    200: {
      description:
        'Events, each with the values before and after; next_cursor is null on the last page',
      body: z.strictObject({
        events: z.array(auditEvent),
        next_cursor: z.string().nullable(),
      }),
      headers: NEXT_LINK,
    },
  },
  errors: OWN,
} as const satisfies Endpoint

const undo = {
  method: 'post',
  path: '/tasks/:id/undo',
  summary: 'Undo a change',
  description:
    'Without a version, undoes the latest change that is not undone yet: each further call goes back ' +
    'one more, finally to before the creation, which deletes the task. A change is undone as a whole, ' +
    'or not at all if one of its fields has been changed since, even at the same moment, or if it would ' +
    'bring back a photo whose bytes are gone. The answer says which version was undone, and which are next.',
  access: 'token',
  params: schema.taskId,
  headers: schema.changeHeaders,
  body: schema.undoing,
  answers: { 200: taskAnswer('The task as it is now', REPLAYED, schema.undone) },
  errors: [...CHANGING, 'undo_conflict', 'change_not_found', 'nothing_to_undo', 'photo_gone'],
} as const satisfies Endpoint

const redo = {
  method: 'post',
  path: '/tasks/:id/redo',
  summary: 'Revert the latest undo',
  description:
    'As in an editor: as many times in a row as there were undos, until a new change is made.',
  access: 'token',
  params: schema.taskId,
  headers: schema.changeHeaders,
  body: schema.redoing,
  answers: { 200: taskAnswer('The task as it is now', REPLAYED, schema.redone) },
  errors: [...CHANGING, 'undo_conflict', 'nothing_to_redo', 'photo_gone'],
} as const satisfies Endpoint

const restore = {
  method: 'post',
  path: '/tasks/:id/restore',
  summary: 'Restore a deleted task, with its id',
  access: 'token',
  params: schema.taskId,
  headers: schema.changeHeaders,
  body: schema.restoring,
  answers: { 200: taskAnswer('The task as it is now', REPLAYED) },
  errors: CHANGING,
} as const satisfies Endpoint

const changes = {
  method: 'get',
  path: '/tasks/changes',
  summary: "The caller's changes in order",
  access: 'token',
  query: schema.changesQuery,
  answers: {
    200: {
      description: 'What followed; continue with next_cursor, even if there was nothing',
      body: z.strictObject({ events: z.array(auditEvent), next_cursor: z.string() }),
      headers: NEXT_LINK,
    },
  },
} as const satisfies Endpoint

const stream = {
  method: 'get',
  path: '/tasks/stream',
  summary: "The caller's changes as they happen",
  description:
    'Server-Sent Events: the id is the position, the event the type, the data an AuditEvent. The ' +
    'stream ends with an event named "end" when the session does.',
  access: 'token',
  headers: schema.streamHeaders,
  answers: {
    200: {
      description: 'Stays open until one side closes it',
      type: 'text/event-stream',
      body: z.string(),
    },
  },
  errors: ['too_many_streams'],
} as const satisfies Endpoint

export const TASK_HISTORY_ENDPOINTS: readonly Endpoint[] = [
  history,
  undo,
  redo,
  restore,
  changes,
  stream,
] as readonly Endpoint[]

export type TaskHistoryRoutes = {
  readonly handle: HandleCommand<TaskRequest, TaskView>
  readonly undoSteps: (row: TaskView) => Promise<UndoSteps>
  readonly events: EventStore<TaskEvent, TaskView>
  readonly tasks: Pick<TaskList, 'ownerOf'>
  readonly changes: TaskChanges
  readonly stream: ReturnType<typeof streamTaskEvents>
  readonly requireKnownPosition: RequireKnownPosition
  readonly look: RecordAccess
  /** Places for answers that take some megabytes while they are built. */
  readonly reading: Enter
}

/** Before the routes of single tasks: /tasks/changes and /tasks/stream are not ids. */
export function taskHistoryRoutes(
  on: ReturnType<typeof routes>,
  dependencies: TaskHistoryRoutes,
): void {
  const { handle, events, look, tasks, reading } = dependencies
  // One whose change is long ago may walk a long way back: few do so at once.
  const undoing = places({ all: 6, each: 5, waiting: 20, ms: 5_000, retryAfter: 2 })

  const goBack = (
    caller: Caller,
    id: number,
    command: UndoCommand,
    context: CommandContext<TaskView>,
  ) =>
    inPlace(undoing, caller.user_id, async () => {
      const handled = await handle(taskStreamId(id), command, context)
      return { handled, steps: await dependencies.undoSteps(handled.row) }
    })

  on(history, async ({ params: { id }, query }, ctx, caller) => {
    const { order, limit } = query
    const cursor = readCursor(`history ${order}`, query.cursor)
    const ownership = await tasks.ownerOf(id)
    if (ownership === null) throw new DomainError('task_not_found')
    await admitToTask(look, ctx, caller, ownership, { task_id: id, history: true, order, cursor })
    const place =
      order === 'asc' ? { after: cursor ?? 0 } : { before: cursor ?? Number.MAX_SAFE_INTEGER }
    const { events: found, more } = await inPlace(reading, caller.user_id, () =>
      historyPage(events, id, place, limit),
    )
    const last = found.at(-1)
    if (last === undefined && cursor === undefined) throw new DomainError('task_not_found')
    const next_cursor = more && last ? writeCursor(`history ${order}`, last.version) : null
    if (next_cursor !== null) linkNext(ctx, next_cursor)
    ctx.body = { events: found.map(auditEventOf), next_cursor }
  })

  on(undo, async ({ params, body, headers }, ctx, caller) => {
    const { version } = body
    const context = commandContext(ctx, caller, headers, body)
    const command = { type: 'UndoTask', actor_id: caller.user_id, version } as const
    const { handled, steps } = await goBack(caller, params.id, command, context)
    const { redone, ...answer } = steps
    showTask(ctx, handled, answer)
  })

  on(redo, async ({ params, headers }, ctx, caller) => {
    const context = commandContext(ctx, caller, headers, null)
    const command = { type: 'RedoTask', actor_id: caller.user_id } as const
    const { handled, steps } = await goBack(caller, params.id, command, context)
    const { undone, ...answer } = steps
    showTask(ctx, handled, answer)
  })

  on(restore, async ({ params, headers }, ctx, caller) => {
    const context = commandContext(ctx, caller, headers, null)
    const command = { type: 'RestoreTask', actor_id: caller.user_id } as const
    showTask(ctx, await handle(taskStreamId(params.id), command, context))
  })

  on(changes, async ({ query }, ctx, caller) => {
    const { since = 0, limit } = query
    const { events: found, more } = await inPlace(reading, caller.user_id, () =>
      dependencies.changes(caller.user_id, since, limit),
    )
    if (found.length === 0) await dependencies.requireKnownPosition('since', since)
    const next_cursor = String(found.at(-1)?.position ?? since)
    if (more) linkNext(ctx, next_cursor, 'since')
    ctx.body = { events: found.map(auditEventOf), next_cursor }
  })

  on(stream, ({ headers }, ctx, caller) =>
    dependencies.stream(ctx, caller, headers['Last-Event-ID']),
  )
}
