import { ListObjectVersionsCommand, type S3Client } from '@aws-sdk/client-s3'
import type { KeyPrefix } from '../../app/object-keys.ts'
import type { ListedVersion, VersionPage } from '../../app/ports/object-storage.ts'

type Listing = {
  readonly client: S3Client
  readonly Bucket: string
  readonly prefix: KeyPrefix
  /** The `next` of the page before. */
  readonly after?: string | undefined
  readonly abortSignal: AbortSignal
}

export async function listVersions(listing: Listing): Promise<VersionPage> {
  const { client, Bucket, prefix, after, abortSignal } = listing
  const [KeyMarker, VersionIdMarker] = after?.split('\n') ?? []
  const place = { Bucket, Prefix: prefix, KeyMarker, VersionIdMarker }
  const page = await client.send(new ListObjectVersionsCommand(place), { abortSignal })
  const versions = [
    ...(page.Versions ?? []).map((found) => listed(found, false)),
    ...(page.DeleteMarkers ?? []).map((found) => listed(found, true)),
  ]
  const next = [page.NextKeyMarker ?? '', page.NextVersionIdMarker ?? ''].join('\n')
  return {
    versions: versions.sort((a, b) => (a.key < b.key ? -1 : Number(a.key > b.key))),
    next: page.IsTruncated === true ? next : null,
  }
}

type Found = {
  readonly Key?: string | undefined
  readonly VersionId?: string | undefined
  readonly Size?: number | undefined
  readonly LastModified?: Date | undefined
}

const listed = (found: Found, isMarker: boolean): ListedVersion => ({
  key: found.Key ?? '',
  version: found.VersionId ?? '',
  size: found.Size ?? 0,
  modified: (found.LastModified ?? new Date(0)).toISOString(),
  isMarker,
})
