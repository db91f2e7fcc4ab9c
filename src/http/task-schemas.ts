import { z } from 'zod'
import type { TaskCursor, TaskSort } from '../app/ports/tasks.ts'
import { TASK_PRIORITIES, TASK_STATUSES } from '../domain/task/events.ts'
import { PHOTO_TYPES, type Photo } from '../domain/task/photos.ts'
import type { TaskView } from '../domain/task/view.ts'
import { id, instant, listOf, pageSize, text, time } from './fields.ts'
import { preconditions } from './preconditions.ts'

const title = text(1, 200, { trim: true, empty: 'is required' }).meta({
  description: 'One line with a visible character; blanks around it are removed',
})
const description = text(0, 10_000, { lines: true }).nullable()
const status = z.enum(TASK_STATUSES)
const priority = z.enum(TASK_PRIORITIES)
const due_date = time.nullable()

export const newTask = z
  .strictObject({
    title,
    description: description.default(null),
    status: status.default('pending'),
    priority: priority.default('medium'),
    due_date: due_date.default(null),
  })
  .meta({ id: 'NewTask' })

export const taskChanges = z
  .strictObject({
    title: title.exactOptional(),
    description: description.exactOptional(),
    status: status.exactOptional(),
    priority: priority.exactOptional(),
    due_date: due_date.exactOptional(),
  })
  .meta({
    id: 'TaskChanges',
    description: 'Absent fields stay as they are; null clears description and due_date',
  })

export const taskId = { id }

const SORTS = ['created_at', 'updated_at', 'due_date', 'priority'] as const satisfies TaskSort[]
const ORDERS = SORTS.flatMap((sort) => [sort, `-${sort}`] as const)

export const listQuery = {
  limit: pageSize
    .optional()
    .meta({ description: 'Page size, 1 to 200; without it, at most 10,000 tasks' }),
  cursor: z.string().max(500, 'must be a cursor of this list').optional().meta({
    description: 'next_cursor of the previous page, with the same sort',
  }),
  status: listOf(TASK_STATUSES).optional().meta({ description: 'Comma-separated' }),
  priority: listOf(TASK_PRIORITIES).optional().meta({ description: 'Comma-separated' }),
  due_from: time.optional().meta({ description: 'Due at this time or later' }),
  due_before: time.optional().meta({ description: 'Due before this time' }),
  has_due_date: z
    .enum(['true', 'false'])
    .transform((value) => value === 'true')
    .optional(),
  q: text(1, 200, { lines: true })
    .optional()
    .meta({
      description:
        'Contained in title or description; letter case and compatibility forms make no difference, ' +
        'accents do',
    }),
  as_of: time.optional().meta({ description: 'The list as it was then' }),
  sort: z.enum(ORDERS).default('-created_at').meta({ description: '- for descending' }),
}

export const momentQuery = {
  version: z
    .string()
    .regex(/^[1-9]\d{0,14}$/, 'must be a positive integer')
    .transform(Number)
    .optional()
    .meta({ description: 'As it was at this version' }),
  as_of: time.optional().meta({ description: 'As it was then' }),
}

export const undoing = z
  .strictObject({
    version: z
      .int('must be a positive integer')
      .min(1, 'must be a positive integer')
      .exactOptional(),
  })
  .meta({
    id: 'Undo',
    description:
      'Undoes everything that the request behind this version changed; without a version, the latest ' +
      'change that is not undone yet',
  })

export const redoing = z.strictObject({}).meta({ id: 'Redo' })

export const historyQuery = {
  order: z.enum(['asc', 'desc']).default('asc').meta({ description: 'desc: newest first' }),
  limit: pageSize.default(100).meta({ description: 'Page size, 1 to 200' }),
  cursor: z.string().max(100, 'must be a cursor of this list').optional().meta({
    description: 'next_cursor of the previous page, with the same order',
  }),
}

const nextSteps = {
  next_undo: z.int().nullable().meta({
    description: 'The version that the next undo undoes; null: nothing is left to undo',
  }),
  next_redo: z.int().nullable().meta({
    description: 'The version of the undo that the next redo reverts; null: nothing to redo',
  }),
}

export const undone = {
  undone: z.int().meta({ description: 'The version that was undone' }),
  ...nextSteps,
}

export const redone = {
  redone: z
    .int()
    .meta({ description: 'The version whose undo was reverted: it is in effect again' }),
  ...nextSteps,
}

export const restoring = z.strictObject({}).meta({
  id: 'Restoration',
  description: 'Restores the task as it was when it was deleted; the body is empty',
})

const position = z
  .string()
  .regex(/^\d{1,15}$/, 'must be a position that was given')
  .transform(Number)

export const changesQuery = {
  since: position
    .optional()
    .meta({ description: 'next_cursor of the previous answer; 0: from the beginning' }),
  limit: pageSize.default(100).meta({ description: 'Page size, 1 to 200' }),
}

export const streamHeaders = {
  'Last-Event-ID': position
    .optional()
    .meta({ description: 'The last id seen; without it, only what happens from now on' }),
}

export const writeHeaders = {
  'Idempotency-Key': z
    .string()
    .regex(/^[\x20-\x7e]{1,255}$/, 'must be 1 to 255 printable ASCII characters')
    .optional()
    .meta({ description: 'A repeated request with the same key is executed once (for 24 hours)' }),
}

export const changeHeaders = { ...writeHeaders, ...preconditions }

/** Which bytes are meant; `/tasks/{id}/photos` has names and thumbnails. */
export const photoFacts = z
  .strictObject({
    id: z.uuid(),
    content_type: z.enum(PHOTO_TYPES),
    size: z.int(),
    sha256: z.string(),
    version: z.string(),
    width: z.int(),
    height: z.int(),
  })
  .meta({ id: 'PhotoFacts' })

/** In the order of the schema: PostgreSQL has one of its own. */
function photoFactsOf(photo: Photo): z.output<typeof photoFacts> {
  const { id, content_type, size, sha256, version, width, height } = photo
  return { id, content_type, size, sha256, version, width, height }
}

export const taskSchema = z
  .strictObject({
    id: z.int(),
    user_id: z.int(),
    title: z.string(),
    description: z.string().nullable(),
    status,
    priority,
    due_date: instant.nullable(),
    photos: z.array(photoFacts),
    created_at: instant,
    updated_at: instant,
    version: z.int(),
  })
  .meta({ id: 'Task' })

/** In the order of the schema, even for a row that PostgreSQL kept as jsonb, in an order of its own. */
function taskOf(row: TaskView): z.output<typeof taskSchema> {
  const { id, user_id, title, description, status, priority, due_date } = row
  const { created_at, updated_at, version } = row
  const fields = { id, user_id, title, description, status, priority, due_date }
  const photos = row.photos.map(photoFactsOf)
  return { ...fields, photos, created_at, updated_at, version }
}

const written = new WeakMap<TaskView, string>()

/** As JSON, made once for each row: one that is at hand is shown again and again. */
export function taskJson(row: TaskView): string {
  const known = written.get(row)
  if (known !== undefined) return known
  const json = JSON.stringify(taskOf(row))
  written.set(row, json)
  return json
}

// A cursor names its order: with another one it would silently skip tasks.
const dated = z.tuple([
  z.enum(['created_at', '-created_at', 'updated_at', '-updated_at']),
  time,
  z.int(),
])
const due = z.tuple([z.enum(['due_date', '-due_date']), time.nullable(), z.int()])
const ranked = z.tuple([z.enum(['priority', '-priority']), priority, z.int()])
const cursor = z.union([dated, due, ranked])

export const writeCursor = (order: string, { value, id }: TaskCursor): string =>
  Buffer.from(JSON.stringify([order, value, id])).toString('base64url')

/** Null if it is not a cursor of a list in this order. */
export function readCursor(order: string, written: string): TaskCursor | null {
  try {
    const result = cursor.safeParse(JSON.parse(Buffer.from(written, 'base64url').toString()))
    if (!result.success || result.data[0] !== order) return null
    const [, value, id] = result.data
    return { value, id }
  } catch {
    return null
  }
}
