import { keyPrefix, type ObjectKey, objectKey } from './object-keys.ts'
import type { ThumbnailSize } from './ports/photos.ts'

type Whose = { readonly id: string; readonly user_id: number }

const PHOTO = /^users\/([1-9]\d{0,15})\/photos\/([0-9a-f-]{36})\/(original|small|large)$/

/** What a photo's objects are: the bytes as they were uploaded, and its thumbnails. */
export type PhotoPart = 'original' | ThumbnailSize

/** Each photo has keys of its own, below one of its user, so that erasing the user finds them all. */
export const photoKey = ({ user_id, id }: Whose, part: PhotoPart): ObjectKey =>
  objectKey('users', String(user_id), 'photos', id, part)

/** Of all objects of a photo. */
export const photoPrefix = ({ user_id, id }: Whose) =>
  keyPrefix('users', String(user_id), 'photos', id)

/** Of all objects of a user. */
export const userPrefix = (user_id: number) => keyPrefix('users', String(user_id))

/** Of all objects of all users. */
export const ALL_PHOTOS = keyPrefix('users')

/** Null: that is no key of a photo's object. */
export function readPhotoKey(key: string): (Whose & { readonly part: PhotoPart }) | null {
  const [, user, id, part] = PHOTO.exec(key) ?? []
  if (user === undefined || id === undefined) return null
  return { user_id: Number(user), id, part: part as PhotoPart }
}

/** How long the bytes of a photo stay that was removed from its task, so that it can come back. */
export const KEPT_DAYS = 30

export const THUMBNAIL_TYPE = 'image/webp'
