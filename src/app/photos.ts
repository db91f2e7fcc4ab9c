import { DomainError } from '../domain/errors.ts'
import { isIn, type Photo } from '../domain/task/photos.ts'
import { type TaskView, taskStreamId } from '../domain/task/view.ts'
import { AppError } from './errors.ts'
import type { CommandContext, HandleCommand } from './handle-command.ts'
import { type PhotoPart, photoKey, THUMBNAIL_TYPE } from './photo-keys.ts'
import { type ImageInspector, INSPECTED_BYTES } from './ports/images.ts'
import type {
  DownloadOffer,
  LastingLink,
  ObjectStorage,
  UploadForm,
} from './ports/object-storage.ts'
import type {
  FoundPhoto,
  PhotoRecord,
  PhotoRecords,
  PromisedPhoto,
  ThumbnailSize,
} from './ports/photos.ts'
import type { TaskList } from './ports/tasks.ts'
import type { TaskRequest } from './task-aggregate.ts'

/** How long a form works. */
const UPLOAD_SECONDS = 300
/** How long a link works: as long as it takes to follow it. */
const DOWNLOAD_SECONDS = 60

export type Photos = ReturnType<typeof photos>

/** A photo that is in its task. */
export type ShownPhoto = Photo & {
  readonly name: string
  readonly added_at: string
  /** Null: they are not made yet, or cannot be made. */
  readonly thumbnails: Readonly<Record<ThumbnailSize, ShownThumbnail>> | null
  readonly thumbnails_failed: boolean
}
type ShownThumbnail = { readonly url: string; readonly width: number; readonly height: number }

export type PhotosPorts = {
  readonly records: PhotoRecords
  readonly storage: ObjectStorage
  /** Links that work for some minutes: a page of thumbnails is shown again and again. */
  readonly lastingLink: LastingLink
  readonly inspect: ImageInspector
  readonly tasks: Pick<TaskList, 'find'>
  readonly handle: HandleCommand<TaskRequest, TaskView>
}

/**
 * Photos of tasks. Their bytes go from the client to the storage and back by forms and links. Errors of every method:
 * `task_not_found`, `task_forbidden` (only the owner), `database_unavailable`, `storage_unavailable`.
 */
export function photos(ports: PhotosPorts) {
  const { records, storage, lastingLink, inspect, tasks, handle } = ports
  const ownTask = async (actor_id: number, task_id: number): Promise<TaskView> => {
    const task = await tasks.find(task_id)
    if (task === null) throw new DomainError('task_not_found')
    if (task.user_id !== actor_id) throw new DomainError('task_forbidden')
    return task
  }

  /** Of one that was promised for this task. Error: `photo_not_found`. */
  const recordOf = async (task_id: number, id: string): Promise<PhotoRecord> => {
    const record = await records.find(id)
    if (record?.task_id !== task_id) throw new DomainError('photo_not_found')
    return record
  }

  /** One that is in its task now. Error: `photo_not_found`. */
  const shown = async (actor_id: number, task_id: number, id: string): Promise<PhotoRecord> => {
    const task = await ownTask(actor_id, task_id)
    if (!isIn(task.photos, id)) throw new DomainError('photo_not_found')
    return recordOf(task_id, id)
  }

  const thumbnailOf = async (
    record: PhotoRecord,
    size: ThumbnailSize,
    { version, ...pixels }: FoundPhoto,
  ) => {
    return { url: await lastingLink(offerOf(record, size, version)), ...pixels }
  }

  const shownOf = async (
    record: PhotoRecord & Pick<ShownPhoto, 'added_at'>,
  ): Promise<ShownPhoto> => {
    const { name, added_at, thumbnails: made, thumbnails_failed } = record
    const thumbnails = made && {
      small: await thumbnailOf(record, 'small', made.small),
      large: await thumbnailOf(record, 'large', made.large),
    }
    const more = { name, added_at, thumbnails, thumbnails_failed: thumbnails_failed !== null }
    return { ...photoOf(record), ...more }
  }

  /** What was uploaded, if it is what was promised. */
  const lookAt = async (record: PhotoRecord): Promise<FoundPhoto> => {
    const key = photoKey(record, 'original')
    const object = await storage.head(key)
    if (object === null) throw new AppError('photo_not_uploaded')
    const { version } = object
    const sha256 = object.sha256 ?? (await storage.checksum({ key, version }))
    // Null: it was removed meanwhile, as nobody had completed it in time, or as its user is erased.
    if (sha256 === null) throw new AppError('photo_not_uploaded')
    if (object.size !== record.size || sha256 !== record.sha256) {
      throw new AppError('photo_differs')
    }
    const beginning = await storage.read({ key, version }, INSPECTED_BYTES)
    if (beginning === null) throw new AppError('photo_not_uploaded')
    const image = inspect(beginning)
    if (image === 'too_many_pixels') throw new AppError('too_many_pixels')
    if (typeof image === 'string' || image.contentType !== record.content_type) {
      throw new AppError('not_an_image')
    }
    return { version, width: image.width, height: image.height }
  }

  const completed = async (record: PhotoRecord, context: CommandContext<TaskView>) => {
    const { id, task_id, user_id } = record
    if (record.found === null) await records.found(id, await lookAt(record))
    // As the first call noted it, if there are several.
    const photo = photoOf(await recordOf(task_id, id))
    const command = { type: 'AddPhoto', actor_id: user_id, photo } as const
    const { row } = await handle(taskStreamId(task_id), command, context)
    return row
  }

  /** Harmless when repeated. */
  const complete = async (
    record: PhotoRecord,
    context: CommandContext<TaskView>,
  ): Promise<TaskView> => {
    const { task_id, id } = record
    const known = async () => {
      const task = await ownTask(context.actor_id, task_id)
      if (!isIn(task.photos, id)) throw new DomainError('photo_not_found')
      return task
    }
    if (record.added_at !== null) return known()
    try {
      return await completed(record, context)
    } catch (error) {
      const isGone = error instanceof AppError && error.code === 'photo_gone'
      // Another call was first, and perhaps somebody has removed it since.
      if (isGone && (await recordOf(task_id, id)).added_at !== null) return known()
      throw error
    }
  }

  return {
    /** A form that uploads just these bytes. Errors: `too_many_photos`, `quota_exceeded`, `session_ended`. */
    async offer(photo: PromisedPhoto): Promise<UploadForm> {
      await records.offer(photo, UPLOAD_SECONDS)
      const { content_type: contentType, size, sha256 } = photo
      const key = photoKey(photo, 'original')
      return storage.offerUpload({ key, contentType, size, sha256 }, UPLOAD_SECONDS)
    },

    /**
     * Looks at what was uploaded, and adds it to its task. Returns the task. Errors: `photo_not_found`,
     * `photo_not_uploaded`, `photo_differs` (size or checksum), `not_an_image` (of the promised type),
     * `too_many_pixels`, `too_many_photos`, `photo_gone`, and those of a command.
     */
    async complete(task_id: number, id: string, context: CommandContext<TaskView>) {
      await ownTask(context.actor_id, task_id)
      return complete(await recordOf(task_id, id), context)
    },

    /** The same for a storage that says by itself what has arrived. */
    async completeUploaded(id: string, context: Omit<CommandContext<TaskView>, 'actor_id'>) {
      const record = await records.find(id)
      if (record === null) throw new DomainError('photo_not_found')
      return complete(record, { ...context, actor_id: record.user_id })
    },

    /** Those that are in a task, in their order there. */
    async inTask(actor_id: number, task_id: number): Promise<readonly ShownPhoto[]> {
      const task = await ownTask(actor_id, task_id)
      const found = new Map((await records.inTask(task_id)).map((record) => [record.id, record]))
      const there = task.photos.flatMap(({ id }) => found.get(id) ?? [])
      return Promise.all(there.filter(isAdded).map(shownOf))
    },

    /** A link to the bytes. Error: `photo_not_found`. */
    async download(actor_id: number, task_id: number, id: string): Promise<string> {
      const record = await shown(actor_id, task_id, id)
      const offer = offerOf(record, 'original', photoOf(record).version)
      return storage.offerDownload(offer, DOWNLOAD_SECONDS)
    },

    /** A link to a thumbnail. Errors: `photo_not_found`, `thumbnail_not_found`. */
    async downloadThumbnail(
      actor_id: number,
      task_id: number,
      id: string,
      size: ThumbnailSize,
    ): Promise<string> {
      const record = await shown(actor_id, task_id, id)
      if (record.thumbnails === null) throw new AppError('thumbnail_not_found')
      return lastingLink(offerOf(record, size, record.thumbnails[size].version))
    },

    /** Puts a photo that was removed back into its task. Errors: `photo_not_found`, and those of a command. */
    async restore(task_id: number, id: string, context: CommandContext<TaskView>) {
      await ownTask(context.actor_id, task_id)
      const record = await recordOf(task_id, id)
      if (!isAdded(record)) throw new DomainError('photo_not_found')
      const { actor_id } = context
      const command = { type: 'RestorePhoto', actor_id, photo: photoOf(record) } as const
      return handle(taskStreamId(task_id), command, context)
    },
  }
}

/** What its event says. */
function photoOf({ id, content_type, size, sha256, found }: PhotoRecord): Photo {
  if (found === null) throw new Error(`nobody has looked at the photo ${id}`)
  return { id, content_type, size, sha256, ...found }
}

const isAdded = (record: PhotoRecord): record is PhotoRecord & { readonly added_at: string } =>
  record.added_at !== null

const offerOf = (record: PhotoRecord, part: PhotoPart, version: string): DownloadOffer => ({
  key: photoKey(record, part),
  version,
  contentType: part === 'original' ? record.content_type : THUMBNAIL_TYPE,
  disposition: 'inline',
  fileName: record.name,
})
