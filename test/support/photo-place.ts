import type { ObjectStorage } from '../../src/app/ports/object-storage.ts'
import { s3Storage } from '../../src/infra/s3/s3-storage.ts'
import { startPhotoStorage } from './photo-storage.ts'
import { hasRadosGateway, startRadosGateway } from './rados-gateway.ts'

export type PhotoPlace = {
  /** For the report. */
  readonly name: string
  readonly storage: ObjectStorage
  /** Settings of services that keep photos there. */
  readonly env: Record<string, string>
  readonly stop: () => Promise<void>
}

export const PHOTO_PLACE = hasRadosGateway
  ? 'the gateway of Ceph'
  : 'a directory, as radosgw is not installed'

/** A storage as real as this machine has one. */
export async function startPhotoPlace(): Promise<PhotoPlace> {
  if (!hasRadosGateway) return { name: PHOTO_PLACE, ...(await startPhotoStorage()) }
  const gateway = await startRadosGateway()
  const { options } = gateway
  const bucket = await gateway.bucket()
  const { accessKeyId, secretAccessKey } = options.credentials as {
    accessKeyId: string
    secretAccessKey: string
  }
  // That of the test itself waits for as long as it takes.
  const storage = s3Storage({ ...options, bucket, timeoutMs: 60_000 })
  return {
    name: PHOTO_PLACE,
    storage,
    env: {
      PHOTOS_BUCKET: bucket,
      AWS_REGION: options.region,
      AWS_ENDPOINT_URL_S3: options.endpoint,
      S3_FORCE_PATH_STYLE: 'true',
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
    },
    stop: async () => {
      storage.close()
      await gateway.stop()
    },
  }
}
