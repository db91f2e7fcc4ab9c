import { AppError } from './app/errors.ts'
import type { ObjectStorage } from './app/ports/object-storage.ts'
import type { PhotosConfig } from './photos-config.ts'

const refuse = () => Promise.reject(new AppError('photos_not_kept'))

/** Where the environment names no place for photos. */
const NOWHERE: ObjectStorage = {
  offerUpload: refuse,
  put: refuse,
  head: refuse,
  read: refuse,
  checksum: refuse,
  offerDownload: refuse,
  remove: refuse,
  removeSome: refuse,
  list: refuse,
  ping: async () => {},
  close: () => {},
}

/** The SDK of AWS takes 1.8 MB of a bundle, 200 ms and 18 MB of memory: only where there is a bucket. */
export async function openObjectStorage(photos: PhotosConfig): Promise<ObjectStorage> {
  if (photos === null) return NOWHERE
  if ('s3' in photos) {
    const { s3Storage } = await import('./infra/s3/s3-storage.ts')
    return s3Storage(photos.s3)
  }
  const { localStorage } = await import('./infra/local/objects/local-storage.ts')
  return localStorage(photos.directory)
}
