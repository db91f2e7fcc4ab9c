import { checkPhotos } from './app/photo-check.ts'
import { sweep } from './app/photo-upkeep.ts'
import type { ObjectStorage } from './app/ports/object-storage.ts'
import type { PhotoUpkeep } from './app/ports/photo-upkeep.ts'
import { command, UsageError } from './command-line.ts'
import { databaseFailure, findDatabase, keptSecret } from './find-database.ts'
import { photosDirectory } from './infra/local/data-dir.ts'
import { openDatabase } from './infra/postgres/connection/database.ts'
import { requireReachable } from './infra/postgres/connection/reachable.ts'
import { postgresPhotoUpkeep } from './infra/postgres/photos/photo-upkeep.ts'
import { openObjectStorage } from './object-storage.ts'
import { photosConfig } from './photos-config.ts'
import type { Env } from './settings.ts'

const USAGE = `Usage: npm run photos [-- status]       how many there are, and whose thumbnails cannot be made
       npm run photos -- retry [photo]  tries again to make thumbnails, of one photo or of all
       npm run photos -- check          whether tasks, photos and stored objects agree
       npm run photos -- sweep          removes stored objects that nobody knows

Uses the database and the place for photos that the environment names, or those of "npm start".`

type Command = (
  upkeep: PhotoUpkeep,
  storage: ObjectStorage,
  argument: string | undefined,
) => Promise<readonly string[]>

const COMMANDS: Readonly<Record<string, Command>> = {
  async status(upkeep) {
    const { in_tasks, bytes, removed, offered, going, waiting, failed } = await upkeep.status()
    return [
      `${in_tasks} photos in tasks, ${removed} removed that can come back: ${bytes} bytes`,
      `${offered} uploads that are not completed, ${going} photos whose bytes are being removed`,
      `${waiting} photos wait for thumbnails, and of ${failed.length} they cannot be made`,
      ...failed.map(({ id, user_id, why }) => `  ${id} of user ${user_id}: ${why}`),
    ]
  },

  async retry(upkeep, _storage, id) {
    if (id !== undefined && !UUID.test(id)) throw new UsageError(`'${id}' is not a photo's id.`)
    const photos = await upkeep.retry(id ?? null)
    return [`The worker makes thumbnails of ${photos} photos again.`]
  },

  async check(upkeep, storage) {
    const { photos, differences } = await checkPhotos(upkeep, storage)
    if (differences.length === 0) return [`${photos} photos: tasks, photos and objects agree.`]
    process.exitCode = 1
    return [`${photos} photos, ${differences.length} differences:`, ...differences]
  },

  async sweep(upkeep, storage) {
    const never = new AbortController().signal
    const { looked, removed } = await sweep(upkeep, storage, () => new Date(), never)
    return [`${looked} objects, of which ${removed} were known to nobody and are removed.`]
  },
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** A lost connection fails the statement, and that is reported. */
const silent = { info: () => {}, warn: () => {}, error: () => {} }

/** That of the environment, or of "npm start". */
async function storageOf(env: Env): Promise<ObjectStorage> {
  const named = photosConfig(env)
  if (named !== null) return openObjectStorage(named)
  const secret = await keptSecret(env, 'PHOTOS_KEY')
  if (secret === undefined) {
    throw new Error(
      'No place for photos: set PHOTOS_BUCKET, or DATA_DIR to where "npm start" keeps its data.',
    )
  }
  // Nobody follows its links.
  const url = 'http://localhost'
  return openObjectStorage({ directory: { directory: photosDirectory(env), url, secret } })
}

async function run([name = 'status', argument]: readonly string[]): Promise<readonly string[]> {
  const wanted = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (wanted === undefined) {
    throw new UsageError(`There is no "${name}": use ${Object.keys(COMMANDS).join(', ')}.`)
  }
  if (argument !== undefined && name !== 'retry') {
    throw new UsageError(`Unexpected argument '${argument}'.`)
  }
  const config = await findDatabase(process.env)
  await requireReachable(config)
  const storage = await storageOf(process.env)
  const db = openDatabase({ ...config, role: 'tasktrail_worker', log: silent })
  return wanted(postgresPhotoUpkeep(db), storage, argument).finally(() => {
    storage.close()
    return db.close()
  })
}

await command({ usage: USAGE, takes: [0, 2] }, ({ args }) => run(args), databaseFailure)
