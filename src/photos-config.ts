import { z } from 'zod'
import type { LocalStorageOptions } from './infra/local/objects/local-storage.ts'
import type { S3Options } from './infra/s3/s3-storage.ts'
import { type Env, filled, httpUrl, parse, present, secret } from './settings.ts'

/** Photos in a bucket; the SDK finds the credentials by itself. */
const photosInS3 = z.object({
  PHOTOS_BUCKET: z
    .string()
    .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'must be the name of a bucket'),
  AWS_REGION: filled,
  AWS_ENDPOINT_URL_S3: httpUrl.optional(),
  S3_FORCE_PATH_STYLE: z.enum(['true', 'false'], 'must be true or false').default('false'),
})

/** Photos in a directory, as `npm start` has them. */
const photosInDirectory = z.object({
  PHOTOS_DIR: filled,
  PHOTOS_URL: httpUrl,
  PHOTOS_KEY: secret(32),
})

/** Where photos are; null: nowhere. */
export type PhotosConfig =
  | { readonly s3: S3Options }
  | { readonly directory: LocalStorageOptions }
  | null

export const photosVariables = Object.keys({ ...photosInS3.shape, ...photosInDirectory.shape })

/** The settings for photos, if the environment names a place for them. */
export function placeOfPhotos(env: Env): z.ZodRawShape {
  const { PHOTOS_BUCKET, PHOTOS_DIR } = present(env)
  if (PHOTOS_BUCKET !== undefined) return photosInS3.shape
  return PHOTOS_DIR === undefined ? {} : photosInDirectory.shape
}

/** The place for photos alone; null: the environment names none. */
export const photosConfig = (env: Env): PhotosConfig =>
  photosOf(parse(z.object(placeOfPhotos(env)), env))

/** Of settings that `placeOfPhotos` is among. */
export function photosOf(settings: object): PhotosConfig {
  if ('PHOTOS_BUCKET' in settings) {
    const named = settings as z.output<typeof photosInS3>
    const { PHOTOS_BUCKET: bucket, AWS_REGION: region, AWS_ENDPOINT_URL_S3: endpoint } = named
    return {
      s3: { bucket, region, endpoint, forcePathStyle: named.S3_FORCE_PATH_STYLE === 'true' },
    }
  }
  if (!('PHOTOS_DIR' in settings)) return null
  const named = settings as z.output<typeof photosInDirectory>
  const { PHOTOS_DIR: directory, PHOTOS_URL: url, PHOTOS_KEY: secret } = named
  return { directory: { directory, url, secret } }
}
