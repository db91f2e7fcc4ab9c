import type { WithPhotos } from './events.ts'

// Photo, like the events it stands in, is part of the storage format: see events.ts.

export const PHOTO_TYPES = ['image/jpeg', 'image/png', 'image/webp', 'image/avif'] as const
export type PhotoType = (typeof PHOTO_TYPES)[number]

/** What a task's events say of a photo: which bytes are meant, not what they are called. */
export type Photo = {
  /** A UUID. */
  readonly id: string
  readonly content_type: PhotoType
  /** In bytes. */
  readonly size: number
  /** Of the bytes, lower-case hex. */
  readonly sha256: string
  /** Of the object that holds the bytes; never written again. */
  readonly version: string
  /** In pixels, as the bytes say. */
  readonly width: number
  readonly height: number
}

/** Of a photo. */
export const MOST_BYTES = 25 * 1024 * 1024

/** Each event has the list, and a task's page all of them. */
export const MOST_PHOTOS = 20

type PhotoEvent = {
  readonly type: 'PhotoRemoved' | 'PhotoRestored'
  readonly data: WithPhotos
}

export const isIn = (photos: readonly Photo[], id: string): boolean =>
  photos.some((photo) => photo.id === id)

/** An undo or redo takes back what one command did, and so one photo. */
export function photosTo(now: readonly Photo[], then: readonly Photo[]): readonly PhotoEvent[] {
  if (now.length === then.length) return []
  const type = now.length > then.length ? 'PhotoRemoved' : 'PhotoRestored'
  return [{ type, data: { photos: then } }]
}
