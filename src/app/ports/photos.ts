import type { Photo, PhotoType } from '../../domain/task/photos.ts'

/** What somebody is about to upload. */
export type PromisedPhoto = {
  /** A UUID. */
  readonly id: string
  readonly task_id: number
  readonly user_id: number
  /** As its owner calls it: any text in one line. */
  readonly name: string
  readonly content_type: PhotoType
  /** In bytes. */
  readonly size: number
  /** Lower-case hex. */
  readonly sha256: string
}

/** What was found in the storage, and is as promised. Width and height in pixels. */
export type FoundPhoto = Pick<Photo, 'version' | 'width' | 'height'>

export const THUMBNAIL_SIZES = ['small', 'large'] as const
export type ThumbnailSize = (typeof THUMBNAIL_SIZES)[number]
export type Thumbnails = Readonly<Record<ThumbnailSize, FoundPhoto>>

export type PhotoRecord = PromisedPhoto & {
  /** Null: nothing was uploaded, or nothing that is as promised. */
  readonly found: FoundPhoto | null
  /** When it came into its task; null: it did not yet. ISO 8601, like all times. */
  readonly added_at: string | null
  /** Null: they are not made yet, or cannot be made. */
  readonly thumbnails: Thumbnails | null
  /** Why no thumbnails can be made. */
  readonly thumbnails_failed: string | null
}

/** How much a user may store: photos, and bytes of them. Those that were removed count until their bytes are gone. */
export type PhotoQuotas = { readonly photos: number; readonly photo_bytes: number }

/**
 * What is known of photos besides the events of their tasks. A photo whose bytes are being removed is not found any
 * more. Error of every method: `database_unavailable`.
 */
export type PhotoRecords = {
  /**
   * Notes what is to be uploaded within so many seconds. Errors: `task_not_found`, `task_forbidden`, `session_ended`,
   * `too_many_photos`, `quota_exceeded`.
   */
  readonly offer: (photo: PromisedPhoto, seconds: number) => Promise<void>
  /** Error: `texts_unavailable`, if the name is damaged or its key is. */
  readonly find: (id: string) => Promise<PhotoRecord | null>
  /** Those that are in a task. Error: `texts_unavailable`. */
  readonly inTask: (task_id: number) => Promise<readonly PhotoRecord[]>
  /** Notes what was found of a photo; what was noted first stays. */
  readonly found: (id: string, found: FoundPhoto) => Promise<void>
}
