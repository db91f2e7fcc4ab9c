import { AppError } from './app/errors.ts'
import { removePhotos, shrinkNext, sweep } from './app/photo-upkeep.ts'
import type { Thumbnailer } from './app/ports/images.ts'
import type { ObjectStorage } from './app/ports/object-storage.ts'
import type { PhotoUpkeep } from './app/ports/photo-upkeep.ts'
import type { Clock, Log } from './app/ports/process.ts'
import type { DatabaseConfig } from './infra/postgres/connection/database.ts'
import { type LeaderSession, type Leadership, lead } from './infra/postgres/connection/leader.ts'
import type { WorkerMetrics } from './infra/postgres/projections/worker-metrics.ts'

/** How long to wait, in milliseconds. */
const IDLE = 1_000
const BETWEEN_REMOVALS = 10_000
const BETWEEN_SWEEPS = 6 * 3_600_000
/** A process that is started again and again need not look at everything each time. */
const BEFORE_SWEEP = 600_000
const AFTER_FAILURE = 5_000

export type PhotoJobs = {
  readonly upkeep: PhotoUpkeep
  readonly storage: ObjectStorage
  readonly thumbnailer: Thumbnailer
  readonly connection: DatabaseConfig['connection']
  readonly role: string
  readonly metrics: Pick<WorkerMetrics, 'thumbnails' | 'removedPhotos' | 'swept'>
  readonly clock: Clock
  readonly log: Log
}

/** What the worker does for photos, each on the one process that leads in it. */
export function photoJobs(jobs: PhotoJobs): readonly Leadership[] {
  const { upkeep, storage, thumbnailer, connection, role, metrics, clock, log } = jobs
  const shrink = shrinkNext(upkeep, storage, thumbnailer)
  const remove = removePhotos(upkeep, storage)

  const thumbnails = async (session: LeaderSession) => {
    const shrunk = await shrink()
    if (shrunk === null) return session.rest(IDLE)
    const { id, user_id, failed } = shrunk
    metrics.thumbnails(failed === null)
    if (failed === null) return
    log.error({ photo_id: id, user_id, why: failed }, 'cannot make thumbnails of a photo')
  }
  const removal = async (session: LeaderSession) => {
    const { photos, users } = await remove()
    metrics.removedPhotos(photos)
    if (photos + users > 0) log.info({ photos, users }, 'removed photos for good')
    // There may be more than one round takes.
    await session.rest(photos > 0 ? 0 : BETWEEN_REMOVALS)
  }
  const sweeping = async (session: LeaderSession) => {
    await session.rest(BEFORE_SWEEP)
    if (session.over.aborted) return
    const { looked, removed } = await sweep(upkeep, storage, clock, session.over)
    metrics.swept(removed)
    log.info({ objects: looked, removed }, 'looked for objects that nobody knows')
    await session.rest(BETWEEN_SWEEPS)
  }

  const job = (name: string, work: (session: LeaderSession) => Promise<void>) =>
    lead({
      name,
      connection,
      role,
      log,
      // The lock is kept: another process would find the same storage away.
      work: (session) =>
        work(session).catch(async (error: Error) => {
          if (!(error instanceof AppError)) throw error
          log.warn({ name, err: error.message }, 'cannot look after photos')
          await session.rest(AFTER_FAILURE)
        }),
    })
  return [
    job('thumbnails', thumbnails),
    job('photo-removal', removal),
    job('photo-sweep', sweeping),
  ]
}
