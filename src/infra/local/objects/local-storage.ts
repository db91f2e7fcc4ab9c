import { createHash } from 'node:crypto'
import { contentDisposition } from '../../../app/content-disposition.ts'
import { AppError } from '../../../app/errors.ts'
import type {
  DownloadOffer,
  ListedVersion,
  ObjectFacts,
  ObjectStorage,
  SignedAccess,
} from '../../../app/ports/object-storage.ts'
import { signedTokens } from './signed-tokens.ts'
import { readVersion, sizeAndTime, type VersionFile, versionFiles } from './version-files.ts'

export type LocalStorageOptions = {
  /** Holds nothing else; made if it is missing. Processes may share it. */
  readonly directory: string
  /** Where `SignedAccess` is served, as clients reach it, without a slash at the end. */
  readonly url: string
  /** Signs forms and URLs; every process of an installation has the same. */
  readonly secret: string
  readonly now?: () => number
}

/** `expires`: milliseconds since 1970. */
type Expiring<Facts> = Facts & { readonly expires: number }

const PAGE = 1_000

/** Objects in a directory, for `npm start`: one machine, and as many objects as one person makes. */
export function localStorage(options: LocalStorageOptions): ObjectStorage & SignedAccess {
  const { directory, url, secret, now = Date.now } = options
  const files = versionFiles(directory)
  const uploads = signedTokens<Expiring<ObjectFacts>>(secret, 'upload')
  const downloads = signedTokens<Expiring<DownloadOffer>>(secret, 'download')
  const expiresIn = (seconds: number) => now() + seconds * 1_000

  const pageUnder: ObjectStorage['list'] = async (prefix, after) => {
    const [key = '', version = ''] = after?.split('\n') ?? []
    const isLeft = (file: VersionFile) =>
      file.key > key || (file.key === key && file.version < version)
    const left = (await files.under(prefix)).filter((file) => after === undefined || isLeft(file))
    const page = left.slice(0, PAGE)
    const listed = await Promise.all(page.map(described))
    const last = page.at(-1)
    return {
      versions: listed.flatMap((each) => each ?? []),
      next: left.length > PAGE && last ? `${last.key}\n${last.version}` : null,
    }
  }

  return {
    async offerUpload(object, seconds) {
      const expires = expiresIn(seconds)
      const fields = { token: uploads.sign({ ...object, expires }) }
      return { url, fields, expires_at: new Date(expires).toISOString() }
    },

    put: (object, bytes) =>
      fromDisk(async () => {
        const sha256 = createHash('sha256').update(bytes).digest('hex')
        const added = await files.add({ ...object, size: bytes.length, sha256 }, [bytes])
        if (typeof added === 'string') throw new Error(added)
        return added
      }),

    head: (key, version) =>
      fromDisk(async () => {
        const file = await files.find(key, version)
        const found = file && (await described(file))
        if (!found) return null
        const { contentType, sha256 } = file
        const { size, modified } = found
        return { version: file.version, size, contentType, sha256, modified }
      }),

    read: ({ key, version }, most) =>
      fromDisk(async () => {
        const file = await files.find(key, version)
        return file && Buffer.concat(await Array.fromAsync(readVersion(file, most)))
      }),

    checksum: ({ key, version }) =>
      fromDisk(async () => {
        const file = await files.find(key, version)
        if (file === null) return null
        const hash = createHash('sha256')
        for await (const chunk of readVersion(file)) hash.update(chunk)
        return hash.digest('hex')
      }),

    async offerDownload(offer, seconds) {
      return `${url}/${downloads.sign({ ...offer, expires: expiresIn(seconds) })}`
    },

    remove: ({ key, version }) =>
      fromDisk(async () => {
        const file = await files.find(key, version)
        if (file !== null) await files.remove(file)
      }),

    removeSome: (prefix) =>
      fromDisk(async () => {
        const there = await files.under(prefix)
        for (const file of there.slice(0, PAGE)) await files.remove(file)
        return { more: there.length > PAGE }
      }),

    list: (prefix, after) => fromDisk(() => pageUnder(prefix, after)),
    ping: () => fromDisk(files.check),
    close: () => {},

    async receive(fields, bytes) {
      const object = uploads.verify(fields.get('token') ?? '')
      if (object === null || fields.size > 1) return 'not_signed'
      if (object.expires <= now()) return 'expired'
      const added = await fromDisk(() => files.add(object, bytes))
      return typeof added === 'string' ? added : null
    },

    async open(token) {
      const offer = downloads.verify(token)
      if (offer === null) return 'not_signed'
      if (offer.expires <= now()) return 'expired'
      return fromDisk(async () => {
        const file = await files.find(offer.key, offer.version)
        const found = file && (await sizeAndTime(file))
        if (!found) return 'not_found'
        return {
          contentType: offer.contentType,
          contentDisposition: contentDisposition(offer.disposition, offer.fileName),
          size: found.size,
          bytes: readVersion(file),
        }
      })
    },
  }
}

async function described(file: VersionFile): Promise<ListedVersion | null> {
  const found = await sizeAndTime(file)
  return found && { key: file.key, version: file.version, ...found, isMarker: false }
}

/** A disk that is full or does not answer, and bytes that do not come. */
async function fromDisk<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    if (cause instanceof RangeError) throw cause
    throw new AppError('storage_unavailable', { retryAfter: 1, cause })
  }
}
