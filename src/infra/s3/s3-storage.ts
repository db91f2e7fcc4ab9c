import { createHash } from 'node:crypto'
import {
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3'
import { createPresignedPost } from '@aws-sdk/s3-presigned-post'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { contentDisposition } from '../../app/content-disposition.ts'
import type { ObjectStorage } from '../../app/ports/object-storage.ts'
import { orNull, within } from './s3-calls.ts'
import { listVersions } from './s3-versions.ts'

export type S3Options = {
  /** Must keep versions. */
  readonly bucket: string
  readonly region: string
  /** An http(s) URL, as clients reach it too. @default that of AWS */
  readonly endpoint?: string | undefined
  /** The bucket in the path instead of in the host's name. @default false */
  readonly forcePathStyle?: boolean
  /** @default what the SDK finds: the environment, its files, the role of the task */
  readonly credentials?: S3ClientConfig['credentials']
  /** How long one call may take. @default 5000 */
  readonly timeoutMs?: number
}

/** Any server that speaks S3: AWS, the gateway of Ceph, and others. */
export function s3Storage(options: S3Options): ObjectStorage {
  const { bucket: Bucket, timeoutMs = 5_000 } = options
  const client = s3Client(options)
  const inTime = <T>(call: (signal: AbortSignal) => Promise<T>) => within(timeoutMs, call)

  return {
    offerUpload: ({ key, contentType, size, sha256 }, seconds) =>
      inTime(async () => {
        const expires = Date.now() + seconds * 1_000
        const { url, fields } = await createPresignedPost(client, {
          Bucket,
          Key: key,
          Expires: seconds,
          Conditions: [['content-length-range', size, size]],
          // AWS compares it with what arrives, and stores nothing else. Others keep it for later, or not at all.
          Fields: {
            'Content-Type': contentType,
            'x-amz-checksum-algorithm': 'SHA256',
            'x-amz-checksum-sha256': Buffer.from(sha256, 'hex').toString('base64'),
          },
        })
        return { url, fields, expires_at: new Date(expires).toISOString() }
      }),

    put: ({ key, contentType }, bytes) =>
      inTime(async (abortSignal) => {
        const ChecksumSHA256 = createHash('sha256').update(bytes).digest('base64')
        const facts = { Bucket, Key: key, ContentType: contentType, ChecksumSHA256 }
        const command = new PutObjectCommand({ ...facts, Body: bytes })
        const { VersionId } = await client.send(command, { abortSignal })
        return { key, version: required(VersionId) }
      }),

    head: (key, version) =>
      inTime(async (abortSignal) => {
        const place = { Bucket, Key: key, VersionId: version }
        const command = new HeadObjectCommand({ ...place, ChecksumMode: 'ENABLED' })
        const found = await orNull(client.send(command, { abortSignal }))
        if (found === null) return null
        const { ChecksumSHA256: sum } = found
        return {
          version: required(found.VersionId),
          size: found.ContentLength ?? 0,
          contentType: found.ContentType ?? '',
          sha256: sum === undefined ? null : Buffer.from(sum, 'base64').toString('hex'),
          modified: (found.LastModified ?? new Date(0)).toISOString(),
        }
      }),

    read: ({ key, version }, most) =>
      inTime(async (abortSignal) => {
        const place = { Bucket, Key: key, VersionId: version }
        const command = new GetObjectCommand({ ...place, Range: `bytes=0-${most - 1}` })
        const found = await orNull(client.send(command, { abortSignal }))
        return found === null ? null : beginning(found.Body as AsyncIterable<Uint8Array>, most)
      }),

    checksum: ({ key, version }) =>
      inTime(async (abortSignal) => {
        const command = new GetObjectCommand({ Bucket, Key: key, VersionId: version })
        const found = await orNull(client.send(command, { abortSignal }))
        if (found === null) return null
        const hash = createHash('sha256')
        for await (const chunk of found.Body as AsyncIterable<Uint8Array>) hash.update(chunk)
        return hash.digest('hex')
      }),

    offerDownload: ({ key, version, contentType, disposition, fileName }, seconds) =>
      inTime(() => {
        const command = new GetObjectCommand({
          Bucket,
          Key: key,
          VersionId: version,
          ResponseContentType: contentType,
          ResponseContentDisposition: contentDisposition(disposition, fileName),
        })
        return getSignedUrl(client, command, { expiresIn: seconds })
      }),

    remove: ({ key, version }) =>
      inTime(async (abortSignal) => {
        const command = new DeleteObjectCommand({ Bucket, Key: key, VersionId: version })
        await orNull(client.send(command, { abortSignal }))
      }),

    removeSome: (prefix) =>
      inTime(async (abortSignal) => {
        const { versions, next } = await listVersions({ client, Bucket, prefix, abortSignal })
        if (versions.length === 0) return { more: false }
        const Objects = versions.map(({ key, version }) => ({ Key: key, VersionId: version }))
        const command = new DeleteObjectsCommand({ Bucket, Delete: { Objects, Quiet: true } })
        const { Errors: [first] = [] } = await client.send(command, { abortSignal })
        if (first !== undefined) throw new Error(`S3 does not remove a version: ${first.Code}`)
        return { more: next !== null }
      }),

    list: (prefix, after) =>
      inTime((abortSignal) => listVersions({ client, Bucket, prefix, after, abortSignal })),

    ping: () =>
      inTime(async (abortSignal) => {
        await client.send(new HeadBucketCommand({ Bucket }), { abortSignal })
      }),

    close: () => client.destroy(),
  }
}

const s3Client = ({ region, endpoint, forcePathStyle, credentials }: S3Options): S3Client =>
  new S3Client({
    region,
    forcePathStyle: forcePathStyle ?? false,
    ...(endpoint !== undefined && { endpoint }),
    ...(credentials !== undefined && { credentials }),
    // Enough for a connection that has just been closed; whoever called can try again.
    maxAttempts: 3,
    requestHandler: { connectionTimeout: 1_000 },
    // Else the SDK adds a CRC32 that other servers need not know. What we store has its SHA-256 already.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  })

function required(version: string | undefined): string {
  if (version !== undefined) return version
  throw new Error('the bucket keeps no versions: switch versioning on')
}

/** A server may send more than it was asked for. */
async function beginning(bytes: AsyncIterable<Uint8Array>, most: number): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of bytes) {
    chunks.push(chunk)
    size += chunk.length
    if (size >= most) break
  }
  return Buffer.concat(chunks).subarray(0, most)
}
