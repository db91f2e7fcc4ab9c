import { photoKey } from './photo-keys.ts'
import type { ObjectStorage } from './ports/object-storage.ts'
import type { CheckedPhoto, PhotoUpkeep } from './ports/photo-upkeep.ts'
import { THUMBNAIL_SIZES } from './ports/photos.ts'

const BEFORE_ALL = '00000000-0000-0000-0000-000000000000'
/** Asked of the storage at the same time. */
const AT_ONCE = 16

export type Checked = { readonly photos: number; readonly differences: readonly string[] }

/**
 * Whether the table of photos, the rows of their tasks and the storage agree: each object that a photo needs is there,
 * and each photo is shown where its events say. Errors: `database_unavailable`, `storage_unavailable`.
 */
export async function checkPhotos(
  { all }: Pick<PhotoUpkeep, 'all'>,
  storage: Pick<ObjectStorage, 'head'>,
): Promise<Checked> {
  const differences: string[] = []
  let photos = 0
  for (let page = await all(BEFORE_ALL); page.length > 0; page = await all(last(page).id)) {
    photos += page.length
    for (let at = 0; at < page.length; at += AT_ONCE) {
      const some = page.slice(at, at + AT_ONCE)
      const found = await Promise.all(some.map((photo) => differencesOf(photo, storage)))
      differences.push(...found.flat())
    }
  }
  return { photos, differences }
}

const last = (page: readonly CheckedPhoto[]): CheckedPhoto => page.at(-1) as CheckedPhoto

async function differencesOf(
  photo: CheckedPhoto,
  storage: Pick<ObjectStorage, 'head'>,
): Promise<readonly string[]> {
  const { id, task_id, version, thumbnails, isInTask, isShown } = photo
  const differences: string[] = []
  if (isInTask !== isShown) {
    const how = isInTask ? 'is not shown in' : 'is shown in, but was removed from'
    differences.push(`photo ${id} ${how} task ${task_id}`)
  }
  if (version === null) return differences
  const original = await storage.head(photoKey(photo, 'original'), version)
  if (original?.size !== photo.size) differences.push(`the bytes of photo ${id} are not there`)
  for (const size of thumbnails === null ? [] : THUMBNAIL_SIZES) {
    const thumbnail = await storage.head(photoKey(photo, size), thumbnails?.[size].version)
    if (thumbnail === null) differences.push(`the ${size} thumbnail of photo ${id} is not there`)
  }
  return differences
}
