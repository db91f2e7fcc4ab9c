import type { Context } from 'koa'
import { v7 as uuidv7 } from 'uuid'
import { z } from 'zod'
import type { HandleCommand } from '../app/handle-command.ts'
import { readPhotoKey } from '../app/photo-keys.ts'
import type { Photos } from '../app/photos.ts'
import type { ThumbnailSize } from '../app/ports/photos.ts'
import type { TaskRequest } from '../app/task-aggregate.ts'
import { DomainError } from '../domain/errors.ts'
import { type TaskView, taskStreamId } from '../domain/task/view.ts'
import type { Endpoint, routes } from './endpoint.ts'
import type { ErrorCode } from './errors.ts'
import * as schema from './photo-schemas.ts'
import { type Enter, inPlace } from './places.ts'
import { etagOf } from './preconditions.ts'
import type { RateLimit } from './rate-limit.ts'
import {
  CHANGING,
  commandContext,
  ETAG,
  OWN,
  REPLAYED,
  showTask,
  taskAnswer,
} from './task-answers.ts'
import { changeHeaders } from './task-schemas.ts'

/** Of an upload, whoever says that it is complete. */
const COMPLETION: readonly ErrorCode[] = [
  ...OWN,
  'photo_not_found',
  'photo_gone',
  'photo_not_uploaded',
  'photo_differs',
  'not_an_image',
  'too_many_pixels',
  'too_many_photos',
  'quota_exceeded',
  'write_conflict',
  'storage_unavailable',
  'photos_not_kept',
]

const offer = {
  method: 'post',
  path: '/tasks/:id/photos',
  summary: 'Begin to upload a photo',
  description:
    'Answers a form that uploads just these bytes to the object storage, for five minutes. The photo is in the task ' +
    'once `complete` has looked at them.',
  access: 'token',
  params: schema.taskId,
  body: schema.newPhoto,
  answers: { 201: { description: 'Where to upload it', body: schema.uploadForm } },
  errors: [...OWN, 'too_many_photos', 'quota_exceeded', 'storage_unavailable', 'photos_not_kept'],
} as const satisfies Endpoint

const complete = {
  method: 'post',
  path: '/tasks/:id/photos/:photo_id/complete',
  summary: 'Add an uploaded photo to its task',
  description:
    'If it is an image, of the type, size and checksum that were promised. Harmless when repeated.',
  access: 'token',
  params: schema.photoId,
  body: schema.completing,
  answers: { 200: taskAnswer('The task as it is now', {}) },
  errors: COMPLETION,
} as const satisfies Endpoint

const list = {
  method: 'get',
  path: '/tasks/:id/photos',
  summary: 'The photos of a task',
  description: 'For its owner only.',
  access: 'token',
  params: schema.taskId,
  answers: {
    200: {
      description: 'In the order in which they came',
      body: z.strictObject({ photos: z.array(schema.photo) }),
    },
  },
  errors: [...OWN, 'texts_unavailable', 'storage_unavailable'],
} as const satisfies Endpoint

const download = {
  method: 'get',
  path: '/tasks/:id/photos/:photo_id',
  summary: 'Download a photo, or a thumbnail of it',
  description:
    'Leads to the object storage. The link works for a minute, that of a thumbnail for some.',
  access: 'token',
  params: schema.photoId,
  query: schema.sizeQuery,
  answers: {
    302: {
      description: 'Where it is',
      headers: { Location: 'URL that answers GET with the bytes' },
    },
  },
  errors: [
    ...OWN,
    'photo_not_found',
    'thumbnail_not_found',
    'texts_unavailable',
    'storage_unavailable',
    'photos_not_kept',
  ],
} as const satisfies Endpoint

const link = {
  method: 'get',
  path: '/tasks/:id/photos/:photo_id/link',
  summary: 'The link to a photo, or to a thumbnail of it',
  description:
    'The one that the download leads to, for a page: a browser that is led from here to a third origin no longer says ' +
    'whose page it is.',
  access: 'token',
  params: schema.photoId,
  query: schema.sizeQuery,
  answers: { 200: { description: 'A URL that answers GET with the bytes', body: schema.link } },
  errors: download.errors,
} as const satisfies Endpoint

const remove = {
  method: 'delete',
  path: '/tasks/:id/photos/:photo_id',
  summary: 'Remove a photo from its task',
  description: 'It can be brought back for 30 days: by undo, or by `restore`.',
  access: 'token',
  params: schema.photoId,
  headers: changeHeaders,
  answers: { 204: { description: 'Removed', headers: { ...ETAG, ...REPLAYED } } },
  errors: [...CHANGING, 'photo_not_found'],
} as const satisfies Endpoint

const restore = {
  method: 'post',
  path: '/tasks/:id/photos/:photo_id/restore',
  summary: 'Put a removed photo back into its task',
  access: 'token',
  params: schema.photoId,
  headers: changeHeaders,
  body: schema.restoring,
  answers: { 200: taskAnswer('The task as it is now', REPLAYED) },
  errors: [...CHANGING, 'photo_not_found', 'photo_gone', 'too_many_photos', 'texts_unavailable'],
} as const satisfies Endpoint

const uploaded = {
  method: 'post',
  path: '/internal/photo-uploads',
  summary: 'An object has been uploaded',
  description:
    'For the notifications of the object storage, not reachable from outside: does what `complete` does.',
  access: 'internal',
  body: schema.uploaded,
  answers: { 204: { description: 'The photo is in its task' } },
  errors: [...COMPLETION, 'database_unavailable'],
} as const satisfies Endpoint

export const PHOTO_ENDPOINTS: readonly Endpoint[] = [
  offer,
  list,
  download,
  link,
  complete,
  remove,
  restore,
  uploaded,
] as readonly Endpoint[]

export type PhotoRoutes = {
  readonly photos: Photos
  readonly handle: HandleCommand<TaskRequest, TaskView>
  /** How often a user may begin and complete uploads. */
  readonly limit: RateLimit
  /** Places for those whose bytes are looked at. */
  readonly reading: Enter
}

export function photoRoutes(
  on: ReturnType<typeof routes>,
  { photos, handle, limit, reading }: PhotoRoutes,
): void {
  on(offer, async ({ params, body }, ctx, { user_id }) => {
    await limit(ctx, String(user_id))
    const photo_id = uuidv7()
    const upload = await photos.offer({ ...body, id: photo_id, task_id: params.id, user_id })
    ctx.status = 201
    ctx.set('Cache-Control', 'no-store')
    ctx.body = { photo_id, upload }
  })

  on(complete, async ({ params: { id, photo_id } }, ctx, caller) => {
    await limit(ctx, String(caller.user_id))
    const context = commandContext(ctx, caller, {}, null)
    const row = await inPlace(reading, caller.user_id, () => photos.complete(id, photo_id, context))
    showTask(ctx, { row, replayed: false })
  })

  on(list, async ({ params }, ctx, { user_id }) => {
    ctx.set('Cache-Control', 'private, no-cache')
    ctx.body = { photos: await photos.inTask(user_id, params.id) }
  })

  const linkTo = (user_id: number, id: number, photo_id: string, size?: ThumbnailSize) =>
    size === undefined
      ? photos.download(user_id, id, photo_id)
      : photos.downloadThumbnail(user_id, id, photo_id, size)

  on(download, async ({ params: { id, photo_id }, query: { size } }, ctx, { user_id }) => {
    // Not Koa's `redirect`, which writes the URL anew, and says it in a body as well.
    ctx.set('Location', await linkTo(user_id, id, photo_id, size))
    ctx.set('Cache-Control', 'no-store')
    ctx.status = 302
  })

  on(link, async ({ params: { id, photo_id }, query: { size } }, ctx, { user_id }) => {
    ctx.set('Cache-Control', 'no-store')
    ctx.body = { url: await linkTo(user_id, id, photo_id, size) }
  })

  on(remove, async ({ params: { id, photo_id }, headers }, ctx, caller) => {
    const context = commandContext(ctx, caller, headers, null)
    const command = { type: 'RemovePhoto', actor_id: caller.user_id, id: photo_id } as const
    const { row, replayed } = await handle(taskStreamId(id), command, context)
    if (replayed) ctx.set('Idempotent-Replayed', 'true')
    ctx.set('ETag', etagOf(row))
    ctx.status = 204
  })

  on(restore, async ({ params: { id, photo_id }, headers, body }, ctx, caller) => {
    showTask(ctx, await photos.restore(id, photo_id, commandContext(ctx, caller, headers, body)))
  })

  on(uploaded, async ({ body: { key } }, ctx) => {
    const object = readPhotoKey(key)
    if (object?.part !== 'original') throw new DomainError('photo_not_found')
    const { user_id, id } = object
    await inPlace(reading, user_id, () => photos.completeUploaded(id, ofStorage(ctx)))
    ctx.status = 204
  })
}

/** No session: nobody asked but the storage. */
function ofStorage(ctx: Context) {
  const { request_id } = ctx.state
  const correlation = { request_id, correlation_id: request_id, causation_id: uuidv7() }
  const metadata = { ...correlation, session_id: null, ip: null }
  return { metadata, precondition: undefined, command: undefined }
}
