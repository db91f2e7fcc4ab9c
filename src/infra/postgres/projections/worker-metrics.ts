import { Counter, Gauge, Registry } from 'prom-client'
import type { ProjectionStatus } from './projection-status.ts'

export type WorkerMetrics = {
  readonly batch: (projection: string, events: number) => void
  /** Null if unknown: then no lag is reported, rather than an old one. */
  readonly lag: (projections: readonly ProjectionStatus[] | null) => void
  readonly checked: (tasks: number) => void
  readonly drift: (projection: string) => void
  readonly logged: (events: number) => void
  readonly checkpointRefused: () => void
  readonly expiredAnswers: (answers: number) => void
  readonly thumbnails: (areMade: boolean) => void
  readonly removedPhotos: (photos: number) => void
  readonly swept: (objects: number) => void
  readonly mailed: (became: 'sent' | 'postponed' | 'given_up', mails: number) => void
  readonly mailsWaiting: (counts: { waiting: number; oldest_seconds: number }) => void
  /** In Prometheus format. */
  readonly text: () => Promise<string>
  readonly contentType: string
}

export function workerMetrics(): WorkerMetrics {
  const registers = [new Registry()]
  const [registry] = registers as [Registry]
  const byProjection = { registers, labelNames: ['projection'] as const }
  const counter = (name: string, help: string) => new Counter({ name, help, registers })
  const counterOf = (name: string, help: string) => new Counter({ name, help, ...byProjection })
  const gaugeOf = (name: string, help: string) => new Gauge({ name, help, ...byProjection })

  const batches = counterOf('tasktrail_projection_batches_total', 'Batches written')
  const events = counterOf('tasktrail_projection_events_total', 'Events projected')
  const positions = gaugeOf('tasktrail_projection_lag_positions', 'Positions behind the log')
  const seconds = gaugeOf(
    'tasktrail_projection_lag_seconds',
    'Age of the first event not projected',
  )
  const parked = gaugeOf('tasktrail_projection_parked_streams', 'Streams parked at a bad event')
  const checked = counter('tasktrail_drift_checked_tasks_total', 'Tasks compared with the log')
  const drift = counterOf('tasktrail_drift_differences_total', 'Differences from the log')
  const checkpoints = counter('tasktrail_checkpoints_total', 'Checkpoints signed')
  const expired = counter(
    'tasktrail_expired_answers_total',
    'Kept answers removed when they expired',
  )
  const refused = counter(
    'tasktrail_checkpoint_refusals_total',
    'Times that signing was refused because something was changed',
  )
  const loggedEvents = counter('tasktrail_logged_events_total', 'Events added to the log')

  const thumbnails = counter('tasktrail_thumbnails_total', 'Photos whose thumbnails were made')
  const failedThumbnails = counter(
    'tasktrail_thumbnail_failures_total',
    'Photos whose thumbnails cannot be made',
  )
  const removedPhotos = counter('tasktrail_removed_photos_total', 'Photos removed for good')
  const swept = counter('tasktrail_swept_objects_total', 'Objects removed that nobody knew')

  const mails = new Counter({
    name: 'tasktrail_mails_total',
    help: 'Tries to send a mail, by what became of it',
    registers,
    labelNames: ['became'] as const,
  })
  const waitingMails = new Gauge({
    name: 'tasktrail_mails_waiting',
    help: 'Mails that have not been sent yet',
    registers,
  })
  const oldestMail = new Gauge({
    name: 'tasktrail_mails_oldest_seconds',
    help: 'Age of the oldest mail that has not been sent yet',
    registers,
  })

  return {
    batch(projection, count) {
      batches.inc({ projection })
      events.inc({ projection }, count)
    },
    lag(projections) {
      // A projection that no longer exists, such as one of a finished rebuild, has no lag.
      for (const gauge of [positions, seconds, parked]) gauge.reset()
      for (const { name: projection, ...status } of projections ?? []) {
        positions.set({ projection }, status.lag_positions)
        seconds.set({ projection }, status.lag_seconds)
        parked.set({ projection }, status.parked_streams)
      }
    },
    checked: (tasks) => checked.inc(tasks),
    drift: (projection) => drift.inc({ projection }),
    logged(count) {
      checkpoints.inc()
      loggedEvents.inc(count)
    },
    checkpointRefused: () => refused.inc(),
    expiredAnswers: (answers) => expired.inc(answers),
    thumbnails: (areMade) => (areMade ? thumbnails : failedThumbnails).inc(),
    removedPhotos: (photos) => removedPhotos.inc(photos),
    swept: (objects) => swept.inc(objects),
    mailed: (became, count) => mails.inc({ became }, count),
    mailsWaiting({ waiting, oldest_seconds }) {
      waitingMails.set(waiting)
      oldestMail.set(oldest_seconds)
    },
    text: () => registry.metrics(),
    contentType: registry.contentType,
  }
}
