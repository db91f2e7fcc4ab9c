import type { Context } from 'koa'
import { z } from 'zod'
import { AppError } from '../app/errors.ts'
import type { HandleCommand } from '../app/handle-command.ts'
import type { Caller } from '../app/ports/authorization.ts'
import type { TaskList, TaskPage, TaskSort } from '../app/ports/tasks.ts'
import type { TaskRequest } from '../app/task-aggregate.ts'
import type { Moment, TimeTravel } from '../app/time-travel.ts'
import { DomainError } from '../domain/errors.ts'
import { type TaskView, taskStreamId } from '../domain/task/view.ts'
import { admitToTask, type RecordAccess } from './audit-access.ts'
import { badCursor, linkNext, NEXT_LINK } from './cursors.ts'
import type { Endpoint, routes } from './endpoint.ts'
import { HttpError } from './errors.ts'
import type { RequirePast } from './known-position.ts'
import { type Enter, inPlace, places } from './places.ts'
import { firstFalse, preconditions } from './preconditions.ts'
import {
  CHANGING,
  commandContext,
  ETAG,
  KEYED,
  OWN,
  REPLAYED,
  showTask,
  taskAnswer,
} from './task-answers.ts'
import * as schema from './task-schemas.ts'
import { asWritten } from './versions.ts'
import { whenGone } from './when-gone.ts'

const createTask = {
  method: 'post',
  path: '/tasks',
  summary: 'Create a task',
  access: 'token',
  headers: schema.writeHeaders,
  body: schema.newTask,
  answers: { 201: taskAnswer('Created', { ...REPLAYED, Location: 'Path of the task' }) },
  errors: KEYED,
} as const satisfies Endpoint

const listTasks = {
  method: 'get',
  path: '/tasks',
  summary: "The caller's tasks",
  access: 'token',
  query: schema.listQuery,
  answers: {
    200: {
      description:
        'Tasks, newest first unless sorted otherwise; next_cursor is null on the last page',
      body: z.strictObject({
        tasks: z.array(schema.taskSchema),
        next_cursor: z.string().nullable().optional(),
      }),
      headers: NEXT_LINK,
    },
  },
} as const satisfies Endpoint

const getTask = {
  method: 'get',
  path: '/tasks/:id',
  summary: 'One task, as it is or as it was',
  description: 'For its owner, and for auditors, whose access is recorded.',
  access: 'token',
  params: schema.taskId,
  query: schema.momentQuery,
  headers: preconditions,
  answers: {
    200: taskAnswer('The task', {}),
    304: { description: 'The version in If-None-Match is current', headers: ETAG },
  },
  errors: [...OWN, 'version_not_found', 'task_not_there_then', 'version_mismatch'],
} as const satisfies Endpoint

const changing = {
  path: '/tasks/:id',
  summary: 'Change the fields that are present',
  access: 'token',
  params: schema.taskId,
  headers: schema.changeHeaders,
  body: schema.taskChanges,
  answers: { 200: taskAnswer('The task as it is now', REPLAYED) },
  errors: CHANGING,
} as const satisfies Omit<Endpoint, 'method'>
const putTask = { ...changing, method: 'put' } as const satisfies Endpoint
const patchTask = { ...changing, method: 'patch' } as const satisfies Endpoint

const deleteTask = {
  method: 'delete',
  path: '/tasks/:id',
  summary: 'Delete a task',
  access: 'token',
  params: schema.taskId,
  headers: schema.changeHeaders,
  answers: { 204: { description: 'Deleted', headers: REPLAYED } },
  errors: CHANGING,
} as const satisfies Endpoint

export const TASK_ENDPOINTS: readonly Endpoint[] = [
  createTask,
  listTasks,
  getTask,
  putTask,
  patchTask,
  deleteTask,
] as readonly Endpoint[]

export type TaskRoutes = {
  readonly handle: HandleCommand<TaskRequest, TaskView>
  readonly tasks: TaskList
  readonly past: TimeTravel
  /** Records that an auditor views the past of another user's task. */
  readonly look: RecordAccess
  readonly requirePast: RequirePast
  /** Places for answers that take some megabytes while they are built. */
  readonly reading: Enter
}

/** A longer list is available only page by page. */
const WHOLE_LIST = 10_000
const LONG_LISTS = { all: 1, ms: 2_000, retryAfter: 2 }
/** Lists up to this size can be built many at a time. */
const SHORT_LIST = 200
const SHORT_BYTES = 1024 * 1024

export function taskRoutes(
  on: ReturnType<typeof routes>,
  { handle, tasks, past, look, requirePast, reading }: TaskRoutes,
): void {
  // A long list takes some forty megabytes while it is built: a few at once would exhaust the process. A
  // list of the past takes as much, and longer: those requests wait only for each other.
  const longLists = places(LONG_LISTS)
  const pastLists = places(LONG_LISTS)

  on(createTask, async ({ body: fields, headers }, ctx, caller) => {
    const context = commandContext(ctx, caller, headers, fields)
    const command = { type: 'CreateTask', actor_id: caller.user_id, fields } as const
    const handled = await handle(taskStreamId(await tasks.nextId()), command, context)
    ctx.status = 201
    ctx.set('Location', asWritten(ctx, `/tasks/${handled.row.id}`))
    showTask(ctx, handled)
  })

  on(listTasks, async ({ query }, ctx, caller) => {
    const { sort: order, cursor, limit = WHOLE_LIST, as_of, ...filters } = query
    const { due_from, due_before } = filters
    if (due_from !== undefined && due_before !== undefined && due_from > due_before) {
      const faults = [{ field: 'due_from', message: 'due_from must not be later than due_before' }]
      throw new HttpError('validation_failed', { faults })
    }
    const after = cursor === undefined ? undefined : schema.readCursor(order, cursor)
    if (after === null) throw badCursor()
    const descending = order.startsWith('-')
    const sort = order.replace('-', '') as TaskSort
    const { user_id } = caller
    const list = { ...filters, user_id, sort, descending, after }
    const show = ({ tasks: rows, next }: TaskPage) => {
      const next_cursor = next && schema.writeCursor(order, next)
      if (next_cursor) linkNext(ctx, next_cursor)
      const isPaged = next_cursor || query.limit !== undefined
      const more = isPaged ? `,"next_cursor":${JSON.stringify(next_cursor)}` : ''
      ctx.body = `{"tasks":[${rows.map(schema.taskJson).join(',')}]${more}}`
      ctx.type = 'application/json'
    }
    if (as_of !== undefined) {
      await requirePast(as_of)
      const gone = whenGone(ctx)
      // A past list is folded from all of the user's events, however short the page.
      return inPlace(pastLists, user_id, async () =>
        show(await past.listAt({ ...list, limit }, as_of, gone)),
      )
    }
    const short = { ...list, limit: Math.min(limit, SHORT_LIST), bytes: SHORT_BYTES }
    const page =
      (await tasks.recent(short)) ?? (await inPlace(reading, user_id, () => tasks.list(short)))
    if (page.next === null || page.tasks.length === limit) return show(page)
    await inPlace(longLists, user_id, async () => show(await tasks.list({ ...list, limit })))
  })

  /** From the log: it knows of an erasure before the read table does. */
  const lookBack = async (ctx: Context, caller: Caller, id: number, moment: Moment) => {
    if (moment !== 'now' && 'as_of' in moment) await requirePast(moment.as_of)
    const ownership = await tasks.ownerOf(id)
    if (ownership === null || ownership.isErased) throw new DomainError('task_not_found')
    // Even if no task existed then: that too would say something about another user's task.
    const query = { task_id: id, ...(moment !== 'now' && moment) }
    await admitToTask(look, ctx, caller, ownership, query)
    const task = await inPlace(reading, caller.user_id, () => past.taskAt(id, moment))
    if (typeof task === 'string') throw new DomainError(task)
    return task
  }

  const lookAtPresent = async (ctx: Context, caller: Caller, id: number) => {
    const row = await tasks.find(id)
    if (row === null) throw new DomainError('task_not_found')
    return row.user_id === caller.user_id ? row : lookBack(ctx, caller, id, 'now')
  }

  on(getTask, async ({ params, query, headers }, ctx, caller) => {
    const moment = momentOf(query)
    const row = await (moment === 'now'
      ? lookAtPresent(ctx, caller, params.id)
      : lookBack(ctx, caller, params.id, moment))
    const failed = firstFalse(headers, row)
    if (failed === 'If-Match') throw new AppError('version_mismatch', { version: row.version })
    showTask(ctx, { row, replayed: false })
    // Not Koa's `fresh`: with `Cache-Control: no-cache`, which fetch adds, it takes everything for stale.
    if (failed === 'If-None-Match') ctx.status = 304
  })

  for (const endpoint of [putTask, patchTask]) {
    on(endpoint, async ({ params, body: changes, headers }, ctx, caller) => {
      const context = commandContext(ctx, caller, headers, changes)
      const command = { type: 'ChangeTask', actor_id: caller.user_id, changes } as const
      showTask(ctx, await handle(taskStreamId(params.id), command, context))
    })
  }

  on(deleteTask, async ({ params, headers }, ctx, caller) => {
    const context = commandContext(ctx, caller, headers, null)
    const command = { type: 'DeleteTask', actor_id: caller.user_id } as const
    const { replayed } = await handle(taskStreamId(params.id), command, context)
    if (replayed) ctx.set('Idempotent-Replayed', 'true')
    ctx.status = 204
  })
}

function momentOf({
  version,
  as_of,
}: {
  readonly version?: number | undefined
  readonly as_of?: string | undefined
}): Moment {
  if (version !== undefined && as_of !== undefined) {
    const faults = [{ field: 'as_of', message: 'as_of cannot be combined with version' }]
    throw new HttpError('validation_failed', { faults })
  }
  if (version !== undefined) return { version }
  return as_of === undefined ? 'now' : { as_of }
}
