import { createReadStream } from 'node:fs'
import { mkdir, readdir, rm, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { v7 as uuid } from 'uuid'
import { isObjectKey, type KeyPrefix, type ObjectKey } from '../../../app/object-keys.ts'
import type { ObjectFacts, ObjectVersion } from '../../../app/ports/object-storage.ts'
import { type Fault, writeChecked } from './checked-write.ts'
import { flushUpTo, moveInto, removeEmptyUpTo, unless } from './directories.ts'

/** A version on disk, and where. */
export type VersionFile = ObjectVersion & {
  readonly contentType: string
  readonly sha256: string
  readonly path: string
}

/**
 * Each version is a file whose name says all of it, so that it is there as a whole or not at all. Several processes
 * may use one directory.
 */
export type VersionFiles = {
  /** What resolves survives a crash. A fault, or an error of `bytes`: nothing is left of it. */
  readonly add: (
    object: ObjectFacts,
    bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ) => Promise<ObjectVersion | Fault>
  /** The newest, or the one named. */
  readonly find: (key: ObjectKey, version?: string) => Promise<VersionFile | null>
  /** By key, the newest of each first. */
  readonly under: (prefix: KeyPrefix) => Promise<readonly VersionFile[]>
  readonly remove: (file: VersionFile) => Promise<void>
  readonly check: () => Promise<void>
}

const VERSION = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'
/** No key has a `~` in it. */
const NAME = new RegExp(`^(${VERSION})~([0-9a-f]{64})~([a-z0-9.+-]+)~([a-z0-9.+-]+)$`)
const CONTENT_TYPE = /^[a-z0-9.+-]{1,40}\/[a-z0-9.+-]{1,40}$/
/** What is left of a process that was killed while it wrote. */
const OLD_DRAFT_MS = 3_600_000

/** Makes the directory if it is missing. */
export function versionFiles(directory: string): VersionFiles {
  const [objects, drafts] = [join(directory, 'objects'), join(directory, 'drafts')]

  const filesOf = async (key: ObjectKey): Promise<readonly VersionFile[]> => {
    const names = (await entries(join(objects, key))).map(({ name }) => name)
    const files = names.flatMap((name) => versionFile(objects, key, name) ?? [])
    // A version begins with its time.
    return files.sort((a, b) => (a.version < b.version ? 1 : -1))
  }

  const walk = async (key: string): Promise<readonly VersionFile[]> => {
    const own = isObjectKey(key) ? await filesOf(key) : []
    const inner = (await entries(join(objects, key))).filter((entry) => entry.isDirectory())
    const below = await Promise.all(inner.map(({ name }) => walk(`${key}/${name}`)))
    return [...own, ...below.flat()]
  }

  return {
    async add(object, bytes) {
      const version = uuid()
      const [type, subtype] = partsOf(object.contentType)
      const draft = join(drafts, version)
      await mkdir(drafts, { recursive: true, mode: 0o700 })
      await removeOldDrafts(drafts)
      try {
        const fault = await writeChecked(draft, object, bytes)
        if (fault !== null) return fault
        const place = join(objects, object.key)
        moveInto(place, draft, [version, object.sha256, type, subtype].join('~'))
        await flushUpTo(directory, place)
        return { key: object.key, version }
      } finally {
        await rm(draft, { force: true })
      }
    },

    async find(key, version) {
      if (!isObjectKey(key)) return null
      const files = await filesOf(key)
      return files.find((file) => version === undefined || file.version === version) ?? null
    },

    async under(prefix) {
      const files = await walk(prefix.slice(0, -1))
      const inside = files.filter(({ key }) => key.startsWith(prefix))
      // Sorting is stable: the versions of a key stay as they are.
      return inside.sort((a, b) => (a.key < b.key ? -1 : Number(a.key > b.key)))
    },

    async remove({ path }) {
      await unlink(path).catch(unless('ENOENT'))
      await flushUpTo(objects, await removeEmptyUpTo(objects, dirname(path)))
    },

    async check() {
      await mkdir(objects, { recursive: true, mode: 0o700 })
      await entries(objects)
    },
  }
}

export const readVersion = (
  { path }: VersionFile,
  most?: number,
): AsyncIterable<Buffer> & { destroy: () => void } =>
  createReadStream(path, most === undefined ? {} : { end: most - 1 })

export async function sizeAndTime({
  path,
}: VersionFile): Promise<{ readonly size: number; readonly modified: string } | null> {
  const found = await stat(path).catch(unless('ENOENT'))
  return found === undefined ? null : { size: found.size, modified: found.mtime.toISOString() }
}

function partsOf(contentType: string): readonly [string, string] {
  const [type = '', subtype = ''] = contentType.split('/')
  if (CONTENT_TYPE.test(contentType)) return [type, subtype]
  throw new RangeError(`${JSON.stringify(contentType)} is no content type without parameters.`)
}

function versionFile(objects: string, key: ObjectKey, name: string): VersionFile | null {
  const [, version = '', sha256 = '', type, subtype] = NAME.exec(name) ?? []
  if (version === '') return null
  return { key, version, sha256, contentType: `${type}/${subtype}`, path: join(objects, key, name) }
}

async function removeOldDrafts(drafts: string): Promise<void> {
  for (const { name } of await entries(drafts)) {
    const path = join(drafts, name)
    const found = await stat(path).catch(unless('ENOENT'))
    if (found && Date.now() - found.mtimeMs > OLD_DRAFT_MS) await rm(path, { force: true })
  }
}

const entries = async (place: string) =>
  (await readdir(place, { withFileTypes: true }).catch(unless('ENOENT'))) ?? []
