import { MOST_BYTES } from '../domain/task/photos.ts'
import { AppError } from './errors.ts'
import { isObjectKey, type KeyPrefix } from './object-keys.ts'
import {
  ALL_PHOTOS,
  KEPT_DAYS,
  photoKey,
  photoPrefix,
  readPhotoKey,
  THUMBNAIL_TYPE,
  userPrefix,
} from './photo-keys.ts'
import type { Thumbnails as Images, Thumbnailer } from './ports/images.ts'
import type { ListedVersion, ObjectStorage, ObjectVersion } from './ports/object-storage.ts'
import type { KeptPhoto, KnownPhoto, PhotoToShrink, PhotoUpkeep } from './ports/photo-upkeep.ts'
import type { ThumbnailSize } from './ports/photos.ts'
import type { Clock } from './ports/process.ts'

/** From the end of an upload until nobody waits for its completion any more. */
const COMPLETE_WITHIN_SECONDS = 3_600
/** An upload that began in time may take that much longer, and a thumbnail that was being made much less. */
const ARRIVES_WITHIN_SECONDS = 900
/** An object younger than that may have been stored by somebody who is about to note it. */
const SWEPT_AFTER_MS = 3_600_000
/** Until a storage that is away may be back. */
const AGAIN_SECONDS = 30

export type Shrunk = KeptPhoto & {
  /** Null: the thumbnails are made. */
  readonly failed: string | null
}

/** Makes the thumbnails of the next photo, if there is one. Errors: `database_unavailable`, `storage_unavailable`. */
export function shrinkNext(
  upkeep: Pick<PhotoUpkeep, 'next' | 'made' | 'failed' | 'postponed'>,
  storage: ObjectStorage,
  thumbnailer: Thumbnailer,
): () => Promise<Shrunk | null> {
  const stored = async (photo: PhotoToShrink, images: Images, size: ThumbnailSize) => {
    const { bytes, width, height } = images[size]
    const object = { key: photoKey(photo, size), contentType: THUMBNAIL_TYPE }
    const { version } = await storage.put(object, bytes)
    return { version, width, height }
  }

  const shrink = async (photo: PhotoToShrink): Promise<string | null> => {
    const { version } = photo
    const bytes = await storage.read({ key: photoKey(photo, 'original'), version }, MOST_BYTES)
    if (bytes === null) return 'not_there'
    const images = await thumbnailer(bytes)
    if (typeof images === 'string') return images
    const small = await stored(photo, images, 'small')
    const large = await stored(photo, images, 'large')
    if (await upkeep.made(photo.id, { small, large })) return null
    await storage.remove({ key: photoKey(photo, 'small'), version: small.version })
    await storage.remove({ key: photoKey(photo, 'large'), version: large.version })
    return null
  }

  return async () => {
    const photo = await upkeep.next()
    if (photo === null) return null
    try {
      const failed = await shrink(photo)
      if (failed !== null) await upkeep.failed(photo.id, failed)
      return { ...photo, failed }
    } catch (error) {
      if (error instanceof AppError) await upkeep.postponed(photo.id, AGAIN_SECONDS)
      else await upkeep.failed(photo.id, 'error')
      throw error
    }
  }
}

export type Removed = { readonly photos: number; readonly users: number }

/**
 * Removes the objects of what has to go: photos that were removed long ago, uploads that nobody completed, and all of
 * erased users. What is interrupted goes on from there. Errors: `database_unavailable`, `storage_unavailable`.
 */
export function removePhotos(upkeep: PhotoUpkeep, storage: ObjectStorage): () => Promise<Removed> {
  const empty = async (prefix: KeyPrefix) => {
    while ((await storage.removeSome(prefix)).more);
  }
  return async () => {
    let users = 0
    for (const { user_id, isSettled } of await upkeep.erasedUsers(ARRIVES_WITHIN_SECONDS)) {
      await empty(userPrefix(user_id))
      if (isSettled && (await upkeep.erased(user_id))) users++
    }
    await upkeep.letGo(KEPT_DAYS, COMPLETE_WITHIN_SECONDS)
    const going = await upkeep.going()
    for (const photo of going) {
      await empty(photoPrefix(photo))
      await upkeep.forget(photo.id)
    }
    return { photos: going.length, users }
  }
}

export type Swept = { readonly looked: number; readonly removed: number }

/**
 * Looks at every object, and removes those that nobody knows: of a photo that there is not, another version than the
 * one that was looked at, thumbnails that were not noted. Errors: `database_unavailable`, `storage_unavailable`.
 */
export async function sweep(
  { known }: Pick<PhotoUpkeep, 'known'>,
  storage: ObjectStorage,
  clock: Clock,
  over: AbortSignal,
): Promise<Swept> {
  let looked = 0
  let removed = 0
  for (let after: string | null | undefined; after !== null && !over.aborted; ) {
    const { versions, next } = await storage.list(ALL_PHOTOS, after)
    const photos = await known([
      ...new Set(versions.flatMap(({ key }) => readPhotoKey(key)?.id ?? [])),
    ])
    const byId = new Map(photos.map((photo) => [photo.id, photo]))
    const before = new Date(clock().getTime() - SWEPT_AFTER_MS).toISOString()
    for (const version of versions) {
      looked++
      if (version.modified >= before || isKnown(version, byId)) continue
      await storage.remove(objectOf(version))
      removed++
    }
    after = next
  }
  return { looked, removed }
}

function isKnown(
  { key, version, isMarker }: ListedVersion,
  photos: ReadonlyMap<string, KnownPhoto>,
): boolean {
  const named = readPhotoKey(key)
  const photo = named && photos.get(named.id)
  if (isMarker || !photo || photo.user_id !== named.user_id) return false
  const { part } = named
  if (part !== 'original') return photo.thumbnails?.[part].version === version
  return photo.version === null || photo.version === version
}

function objectOf({ key, version }: ListedVersion): ObjectVersion {
  if (!isObjectKey(key)) throw new Error(`somebody else stores objects in our place: ${key}`)
  return { key, version }
}
