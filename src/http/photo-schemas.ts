import { z } from 'zod'
import { THUMBNAIL_SIZES } from '../app/ports/photos.ts'
import { MOST_BYTES, PHOTO_TYPES } from '../domain/task/photos.ts'
import { id, instant, text } from './fields.ts'

const content_type = z.enum(PHOTO_TYPES)
const size = z
  .int('must be a whole number')
  .min(1, `must be from 1 to ${MOST_BYTES}`)
  .max(MOST_BYTES, `must be from 1 to ${MOST_BYTES}`)
  .meta({ description: 'In bytes' })
const sha256 = z
  .string()
  .regex(/^[0-9a-f]{64}$/, 'must be the SHA-256 of the bytes in lower-case hex')

export const newPhoto = z
  .strictObject({
    name: text(1, 255, { trim: true, empty: 'is required' }).meta({
      description: 'What a download is called; one line with a visible character',
    }),
    content_type,
    size,
    sha256,
  })
  .meta({ id: 'NewPhoto' })

export const completing = z.strictObject({}).meta({ id: 'Completion' })
export const restoring = z.strictObject({}).meta({ id: 'PhotoRestoration' })

export const uploaded = z
  .strictObject({
    key: z.string().max(1_024, 'must have at most 1024 characters'),
    version: z
      .string()
      .max(1_024, 'must have at most 1024 characters')
      .exactOptional()
      .meta({ description: 'For the log of whoever reports it: the newest is looked at' }),
  })
  .meta({ id: 'UploadedObject' })

const uuid = z
  .string()
  .regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, 'must be the id of a photo')

export const taskId = { id }
export const photoId = { id, photo_id: uuid }

export const sizeQuery = {
  size: z
    .enum(THUMBNAIL_SIZES)
    .optional()
    .meta({ description: 'A thumbnail that fits 320 x 320 or 1280 x 1280; without it, the photo' }),
}

export const link = z.strictObject({ url: z.string() }).meta({ id: 'PhotoLink' })

export const uploadForm = z
  .strictObject({
    photo_id: uuid,
    upload: z.strictObject({
      url: z.string(),
      fields: z.record(z.string(), z.string()),
      expires_at: instant,
    }),
  })
  .meta({
    id: 'PhotoUpload',
    description:
      'POST to `url` as multipart/form-data: all `fields`, and then the bytes as `file`. Then call `complete`',
  })

const thumbnail = z
  .strictObject({ url: z.string(), width: z.int(), height: z.int() })
  .meta({ id: 'Thumbnail', description: 'A WebP; the URL works for some minutes' })

export const photo = z
  .strictObject({
    id: uuid,
    name: z.string(),
    content_type,
    size,
    sha256,
    version: z.string().meta({ description: 'Of the object that holds the bytes' }),
    width: z.int().meta({ description: 'In pixels, before it is turned upright' }),
    height: z.int(),
    added_at: instant,
    thumbnails: z
      .strictObject({ small: thumbnail, large: thumbnail })
      .nullable()
      .meta({ description: 'null: not made yet, or they cannot be made' }),
    thumbnails_failed: z.boolean().meta({ description: 'They cannot be made' }),
  })
  .meta({ id: 'Photo' })
