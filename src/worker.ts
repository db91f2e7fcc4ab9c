import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Container, ContainerModule } from 'inversify'
import { v7 as uuidv7 } from 'uuid'
import type { ObjectStorage } from './app/ports/object-storage.ts'
import type { Clock, Log } from './app/ports/process.ts'
import { commandLine } from './command-line.ts'
import { type WorkerConfig, workerConfig } from './config.ts'
import { type Service, service, strictRouter } from './http/server.ts'
import { workerRoutes } from './http/worker.ts'
import { secretLogSigner } from './infra/credentials/note-signers.ts'
import { rewrappingUserKeys } from './infra/encryption/rewrap-user-keys.ts'
import { type KeyWrap, secretKeyWrap } from './infra/encryption/text-cipher.ts'
import { postgresUserKeys } from './infra/encryption/user-keys.ts'
import { thumbnailsApart } from './infra/images/thumbnails-apart.ts'
import { origins } from './infra/places/origins.ts'
import { type ErasedRows, erasedRows } from './infra/postgres/accounts/erased-rows.ts'
import { postgresOutbox } from './infra/postgres/accounts/mails.ts'
import { auditProjection } from './infra/postgres/audit/audit-projection.ts'
import { expiredRecords } from './infra/postgres/audit/expired-records.ts'
import { type Database, openDatabase } from './infra/postgres/connection/database.ts'
import { type LeaderSession, type Leadership, lead } from './infra/postgres/connection/leader.ts'
import { repeat } from './infra/postgres/connection/repeat.ts'
import { type Listener, listenForEvents } from './infra/postgres/connection/wake-up.ts'
import { expiredAnswers } from './infra/postgres/event-store/expired-answers.ts'
import { type KeyedDatabase, keyedDatabase } from './infra/postgres/keys/required-key.ts'
import { keepTextKey, logKey, textKey } from './infra/postgres/keys/stored-keys.ts'
import { postgresPhotoUpkeep } from './infra/postgres/photos/photo-upkeep.ts'
import { driftCheck } from './infra/postgres/projections/drift/drift-check.ts'
import { projectionStatus } from './infra/postgres/projections/projection-status.ts'
import { projector } from './infra/postgres/projections/projector.ts'
import { type WorkerMetrics, workerMetrics } from './infra/postgres/projections/worker-metrics.ts'
import { CheckpointRefused } from './infra/postgres/transparency-log/checkpoint-refused.ts'
import { logKeeper } from './infra/postgres/transparency-log/keep-log.ts'
import { LOG_SESSION, logWriter } from './infra/postgres/transparency-log/log-writer.ts'
import { unloggedSeconds } from './infra/postgres/transparency-log/unlogged.ts'
import { WitnessContradicts } from './infra/witnesses/witness-contradicts.ts'
import { witnesses } from './infra/witnesses/witnesses.ts'
import { mailJobs } from './mail-jobs.ts'
import { openObjectStorage } from './object-storage.ts'
import { photoJobs } from './photo-jobs.ts'
import { configured, type Running, run, serviceUsage } from './process.ts'
import { token } from './token.ts'

const ROLE = 'tasktrail_worker'
const LAG_MS = 15_000
const DRIFT_MS = 1_000
/** Between two looks whether what was changed is as it was. */
const REFUSED_MS = 5_000
const REWRAP_AGAIN_MS = 30_000

/** A background job that runs until it is closed. */
type Background = { readonly close: () => Promise<void> }

const Token = {
  config: token<WorkerConfig>('config'),
  log: token<Log>('log'),
  clock: token<Clock>('clock'),
  db: token<KeyedDatabase>('db'),
  keyWrap: token<KeyWrap>('keyWrap'),
  listener: token<Listener>('listener'),
  metrics: token<WorkerMetrics>('metrics'),
  erased: token<ErasedRows>('erased'),
  records: token<Background>('records'),
  expired: token<Background>('expired'),
  audit: token<Leadership>('audit'),
  checkpoints: token<Background>('checkpoints'),
  drift: token<Background>('drift'),
  rewrap: token<Background>('rewrap'),
  state: token<State>('state'),
  lag: token<Background>('lag'),
  service: token<Service>('service'),
}

const adapters = new ContainerModule(({ bind }) => {
  bind(Token.db)
    .toResolvedValue(
      ({ database, TEXT_KEY, TEXT_KEY_PREVIOUS, LOG_KEY }, log) =>
        keyedDatabase(openDatabase({ ...database, role: ROLE, log }), [
          textKey(TEXT_KEY, TEXT_KEY_PREVIOUS),
          logKey(LOG_KEY),
        ]),
      [Token.config, Token.log],
    )
    .inSingletonScope()
  bind(Token.keyWrap).toResolvedValue(
    ({ TEXT_KEY, TEXT_KEY_PREVIOUS }) => secretKeyWrap(TEXT_KEY, TEXT_KEY_PREVIOUS),
    [Token.config],
  )
  bind(Token.listener)
    .toResolvedValue(
      ({ database: { connection } }, log) => listenForEvents({ connection, role: ROLE, log }),
      [Token.config, Token.log],
    )
    .inSingletonScope()
  bind(Token.metrics).toResolvedValue(workerMetrics).inSingletonScope()
})

const background = new ContainerModule(({ bind }) => {
  bind(Token.erased)
    .toResolvedValue((db, log) => erasedRows(db, log), [Token.db, Token.log])
    .inSingletonScope()
  bind(Token.records)
    .toResolvedValue(
      (db, { ACCESS_RETENTION_DAYS, SECURITY_EVENT_RETENTION_DAYS }, log) => {
        const days = {
          audit_accesses: ACCESS_RETENTION_DAYS,
          security_events: SECURITY_EVENT_RETENTION_DAYS,
        }
        return expiredRecords(db, days, log)
      },
      [Token.db, Token.config, Token.log],
    )
    .inSingletonScope()
  bind(Token.expired)
    .toResolvedValue(
      (db, metrics, log) => expiredAnswers(db, log, metrics.expiredAnswers),
      [Token.db, Token.metrics, Token.log],
    )
    .inSingletonScope()
  bind(Token.audit)
    .toResolvedValue(audit, [
      Token.config,
      Token.db,
      Token.listener,
      Token.metrics,
      Token.erased,
      Token.log,
    ])
    .inSingletonScope()
  bind(Token.checkpoints)
    .toResolvedValue(checkpoints, [Token.config, Token.db, Token.metrics, Token.log])
    .inSingletonScope()
  bind(Token.drift)
    .toResolvedValue(drift, [Token.config, Token.db, Token.keyWrap, Token.metrics, Token.log])
    .inSingletonScope()
  bind(Token.rewrap)
    .toResolvedValue(rewrap, [Token.config, Token.db, Token.keyWrap, Token.log])
    .inSingletonScope()
  bind(Token.state).toResolvedValue(state, [Token.db, Token.audit, Token.metrics])
  bind(Token.lag).toResolvedValue(lag, [Token.db, Token.state, Token.log]).inSingletonScope()
})

/** The background jobs, in the order in which they are closed. */
const BACKGROUND = [
  Token.lag,
  Token.drift,
  Token.checkpoints,
  Token.rewrap,
  Token.audit,
  Token.erased,
  Token.records,
  Token.expired,
  Token.listener,
]

const http = new ContainerModule(({ bind }) => {
  bind(Token.service)
    .toResolvedValue(httpService, [Token.log, Token.db, Token.state, Token.metrics])
    .inSingletonScope()
})

function audit(
  { database: { connection } }: WorkerConfig,
  db: Database,
  wake: Listener,
  metrics: WorkerMetrics,
  erased: ErasedRows,
  log: Log,
): Leadership {
  const projection = auditProjection()
  return projector({
    projection,
    connection,
    role: ROLE,
    db,
    wake,
    log,
    onBatch(events) {
      metrics.batch(projection.name, events.length)
      if (events.some(({ type }) => type === 'UserErased')) erased.look()
    },
  })
}

function checkpoints(
  { database: { connection }, ...settings }: WorkerConfig,
  db: KeyedDatabase,
  metrics: WorkerMetrics,
  log: Log,
): Background {
  const { LOG_ORIGIN: origin, LOG_KEY, LOG_KEY_PREVIOUS, LOG_INTERVAL_MS, WITNESSES } = settings
  const previous = LOG_KEY_PREVIOUS === undefined ? [] : [secretLogSigner(origin, LOG_KEY_PREVIOUS)]
  const signer = secretLogSigner(origin, LOG_KEY)
  const cosigners = WITNESSES === undefined ? null : witnesses(WITNESSES, { log })
  const signers = [signer, ...previous] as const
  const writer = logWriter({ origin, signers, witnessed: cosigners !== null })
  const keeper = logKeeper(writer, cosigners, ({ events }) => metrics.logged(events))
  const work = async (session: LeaderSession) => {
    await db.requireKeys()
    try {
      await keeper.round(session)
      await session.rest(LOG_INTERVAL_MS)
    } catch (error) {
      // It stays the leader: another process that does not know of the change would sign instead.
      const isRefusal = error instanceof CheckpointRefused || error instanceof WitnessContradicts
      if (!isRefusal) throw error
      metrics.checkpointRefused()
      log.error({ origin, err: error.message }, `signing has stopped: ${error.why}`)
      await session.rest(REFUSED_MS)
    }
  }
  const lock = { name: 'checkpoints', connection, role: ROLE, log, settings: LOG_SESSION }
  return lead({ ...lock, work })
}

function drift(
  { database: { connection } }: WorkerConfig,
  db: Database,
  wrap: KeyWrap,
  metrics: WorkerMetrics,
  log: Log,
): Background {
  const { round } = driftCheck({
    db,
    keys: postgresUserKeys(db, wrap),
    log,
    onChecked: metrics.checked,
    onDrift: ({ projection }) => metrics.drift(projection),
  })
  const work = async (session: LeaderSession) => {
    await round()
    await session.rest(DRIFT_MS)
  }
  return lead({ name: 'drift', connection, role: ROLE, log, work })
}

/** Until all data keys are wrapped with the current key; from then on the texts need no other. */
function rewrap({ TEXT_KEY }: WorkerConfig, db: Database, wrap: KeyWrap, log: Log): Background {
  const work = rewrappingUserKeys(db, wrap, log)
  return repeat(REWRAP_AGAIN_MS, async (signal) => {
    if ((await work(signal)) === 'again') return 'again'
    return keepTextKey(db.query, TEXT_KEY).then(
      () => 'done' as const,
      () => 'again' as const,
    )
  })
}

type State = () => Promise<{ readonly projections: readonly ProjectionState[] } | null>
type ProjectionState = Awaited<ReturnType<typeof projectionStatus>>[number] & {
  /** Whether this process updates it. */
  readonly leader: boolean
}

function state(db: Database, audit: Leadership, metrics: WorkerMetrics): State {
  return async () => {
    const found = await projectionStatus(db.query).catch(() => null)
    metrics.lag(found)
    if (found === null) return null
    const projections = found.map((status) => {
      return { ...status, leader: status.name === 'audit' && audit.leads() }
    })
    return { projections }
  }
}

/** Logs one line per projection and one for the log; metrics are derived from them. */
function lag({ query }: Database, state: State, log: Log): Background {
  return repeat(LAG_MS, async () => {
    for (const status of (await state())?.projections ?? []) {
      const { name: projection, lag_positions, lag_seconds, parked_streams, leader } = status
      const { state, position, head } = status
      const figures = { lag_positions, lag_seconds, parked_streams, position, head }
      log.info({ projection, state, leader, ...figures }, 'projection lag')
    }
    const unlogged_seconds = await unloggedSeconds(query).catch(() => null)
    if (unlogged_seconds !== null) log.info({ unlogged_seconds }, 'log lag')
    return 'again'
  })
}

function httpService(log: Log, db: Database, state: State, metrics: WorkerMetrics): Service {
  const router = strictRouter()
  workerRoutes(router, { state, metrics, ping: db.ping })
  return service(router, { log, newId: uuidv7, maxEventLoopDelay: 0, spared: [] })
}

/** What the worker starts for each photo: beside this program, in the source as in an image. */
const THUMBNAILS = fileURLToPath(
  new URL(`thumbnails${extname(fileURLToPath(import.meta.url))}`, import.meta.url),
)

/** None, if no place for photos is configured. */
function photos(
  { photos: place, database: { connection } }: WorkerConfig,
  storage: ObjectStorage,
  db: Database,
  metrics: WorkerMetrics,
  clock: Clock,
  log: Log,
): readonly Background[] {
  if (place === null) return []
  const upkeep = postgresPhotoUpkeep(db)
  const thumbnailer = thumbnailsApart({ program: THUMBNAILS })
  return photoJobs({ upkeep, storage, thumbnailer, connection, role: ROLE, metrics, clock, log })
}

function mails(
  { mail: config, COUNTRY_DATABASE, database: { connection } }: WorkerConfig,
  db: Database,
  metrics: WorkerMetrics,
  clock: Clock,
  log: Log,
): Background {
  const outbox = postgresOutbox(db)
  const words = origins(COUNTRY_DATABASE)
  return mailJobs({ outbox, config, origins: words, connection, role: ROLE, metrics, clock, log })
}

/** All of the worker, running; not yet listening. */
export async function worker(config: WorkerConfig, log: Log, clock: Clock): Promise<Running> {
  const storage = await openObjectStorage(config.photos)
  const container = new Container()
  container.bind(Token.config).toConstantValue(config)
  container.bind(Token.log).toConstantValue(log)
  container.bind(Token.clock).toConstantValue(clock)
  container.load(adapters, background, http)
  const [db, metrics] = [container.get(Token.db), container.get(Token.metrics)]
  const running = [
    ...photos(config, storage, db, metrics, clock, log),
    mails(config, db, metrics, clock, log),
    ...BACKGROUND.map((token): Background => container.get(token)),
  ]
  return {
    service: container.get(Token.service),
    requireKeys: container.get(Token.db).requireKeys,
    dispose: async () => {
      for (const { close } of running) await close()
      storage.close()
      await container.get(Token.db).close()
    },
  }
}

if (import.meta.main) {
  commandLine({ usage: serviceUsage('start:worker', 'the worker') })
  const config = configured(workerConfig)
  await run('worker', config, (log) => worker(config, log, () => new Date()))
}
