import type { KeyPrefix, ObjectKey } from '../object-keys.ts'

/** Bytes that are to be stored. */
export type ObjectFacts = {
  readonly key: ObjectKey
  /** Such as `image/jpeg`, without parameters. */
  readonly contentType: string
  /** In bytes, 1 at least. */
  readonly size: number
  /** Lower-case hex. */
  readonly sha256: string
}

/**
 * An HTML form (multipart/form-data) that stores one object: POST it to `url`, with all `fields` and last the bytes
 * as `file`. 204 when it is stored; 4xx if it is not what was signed, and then nothing is stored.
 */
export type UploadForm = {
  readonly url: string
  readonly fields: Readonly<Record<string, string>>
  /** ISO 8601. */
  readonly expires_at: string
}

/** Every write of a key makes a version, which never changes. */
export type ObjectVersion = { readonly key: ObjectKey; readonly version: string }

export type StoredObject = {
  readonly version: string
  /** In bytes. */
  readonly size: number
  readonly contentType: string
  /**
   * Lower-case hex, as the storage has computed or compared it; null: it does not know checksums, and whoever relies
   * on one asks for `checksum`.
   */
  readonly sha256: string | null
  /** ISO 8601; when it was stored, to the second. */
  readonly modified: string
}

export type DownloadOffer = ObjectVersion & {
  /** What the answer says that it is, whatever was said on storing. */
  readonly contentType: string
  readonly disposition: 'attachment' | 'inline'
  /** As somebody wrote it: any text. */
  readonly fileName: string
}

/** What there is at a key: a version, or a marker that it was deleted, which has no bytes. */
export type ListedVersion = {
  readonly key: string
  readonly version: string
  readonly size: number
  /** ISO 8601. */
  readonly modified: string
  readonly isMarker: boolean
}

/** In the order of the keys. `next`: where the page after it begins; null: it is the last. */
export type VersionPage = {
  readonly versions: readonly ListedVersion[]
  readonly next: string | null
}

/**
 * Objects outside of the database, with all their versions. Error of every method: `storage_unavailable` (away,
 * slow, full, or it refuses us), within the time that the storage is given for one call.
 */
export type ObjectStorage = {
  /** Stores just these bytes under just this key. Until it expires, each use of the form makes a version. */
  readonly offerUpload: (object: ObjectFacts, seconds: number) => Promise<UploadForm>
  /** Stores bytes of our own. */
  readonly put: (
    object: Pick<ObjectFacts, 'key' | 'contentType'>,
    bytes: Uint8Array,
  ) => Promise<ObjectVersion>
  /** The newest version, or the one named; null: there is none. */
  readonly head: (key: ObjectKey, version?: string) => Promise<StoredObject | null>
  /** The first `most` bytes of a version, or all if it has fewer; null: there is no such version. */
  readonly read: (object: ObjectVersion, most: number) => Promise<Buffer | null>
  /** SHA-256 in lower-case hex of all bytes of a version, which are read for it; null: there is no such version. */
  readonly checksum: (object: ObjectVersion) => Promise<string | null>
  /** A URL that answers GET with the bytes of this version. */
  readonly offerDownload: (object: DownloadOffer, seconds: number) => Promise<string>
  /** For good. Nothing happens if there is no such version. */
  readonly remove: (object: ObjectVersion) => Promise<void>
  /**
   * Removes up to a thousand versions and markers under a prefix for good, and says whether there may be more. To be
   * called until there are none: after a crash too, it begins with what is still there. An upload that was offered
   * before can still come, until its form expires.
   */
  readonly removeSome: (prefix: KeyPrefix) => Promise<{ readonly more: boolean }>
  /** Up to a thousand versions and markers under a prefix; `after`: the `next` of the page before. */
  readonly list: (prefix: KeyPrefix, after?: string) => Promise<VersionPage>
  /** Resolves if the storage answers for our bucket. */
  readonly ping: () => Promise<void>
  /** Ends its connections. */
  readonly close: () => void
}

/** A URL as `offerDownload` makes it, which works for some minutes more. */
export type LastingLink = (offer: DownloadOffer) => Promise<string>

/** A version to be sent to a client, with headers as they were signed. */
export type SignedDownload = {
  readonly contentType: string
  readonly contentDisposition: string
  readonly size: number
  readonly bytes: AsyncIterable<Uint8Array>
}

/** Why a form or a URL was refused. */
export type SignedRefusal =
  | 'not_signed'
  | 'expired'
  | 'too_large'
  | 'too_small'
  | 'wrong_checksum'
  | 'not_found'

/**
 * The other side of forms and URLs, for a storage that has no server of its own. Error: `storage_unavailable`.
 */
export type SignedAccess = {
  /** Stores what a form brings; null: done. `bytes` may end with an error: then nothing is stored. */
  readonly receive: (
    fields: ReadonlyMap<string, string>,
    bytes: AsyncIterable<Uint8Array>,
  ) => Promise<SignedRefusal | null>
  /** `token`: the last word of a URL's path. */
  readonly open: (token: string) => Promise<SignedDownload | SignedRefusal>
}
