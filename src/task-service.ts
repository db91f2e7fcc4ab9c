import { Container, ContainerModule } from 'inversify'
import { v7 as uuidv7 } from 'uuid'
import packageJson from '../package.json' with { type: 'json' }
import { exportAudit } from './app/audit-export.ts'
import { type HandleCommand, handleCommand } from './app/handle-command.ts'
import { type Photos, photos } from './app/photos.ts'
import type { AuditAccesses, AuditFacets, AuditTrail } from './app/ports/audit.ts'
import type { AuditRecords } from './app/ports/audit-records.ts'
import type { ClosableCounters } from './app/ports/counters.ts'
import type { AppendNotifier, EventStore } from './app/ports/event-store.ts'
import type { ObjectStorage } from './app/ports/object-storage.ts'
import type { PhotoRecords } from './app/ports/photos.ts'
import type { Clock, Log } from './app/ports/process.ts'
import type { TaskList } from './app/ports/tasks.ts'
import type { TransparencyLog } from './app/ports/transparency-log.ts'
import { exportRecords } from './app/records-export.ts'
import { type TaskRequest, taskAggregate } from './app/task-aggregate.ts'
import { STREAM_BATCH, taskChanges } from './app/task-changes.ts'
import { timeTravel } from './app/time-travel.ts'
import { undoSteps } from './app/undo.ts'
import { commandLine } from './command-line.ts'
import { type TaskServiceConfig, taskServiceConfig } from './config.ts'
import type { TaskEvent } from './domain/task/events.ts'
import type { TaskView } from './domain/task/view.ts'
import { AUDIT_ENDPOINTS, auditRoutes } from './http/audit.ts'
import { lookAt, oncePerMinute } from './http/audit-access.ts'
import { sendExport } from './http/audit-exports.ts'
import { AUDIT_RECORD_ENDPOINTS, auditRecordRoutes } from './http/audit-records.ts'
import { admission, recheck } from './http/authenticate.ts'
import { docsRoutes } from './http/docs.ts'
import { routes } from './http/endpoint.ts'
import { healthEndpoints, healthRoutes, wholeHealth, wholeHealthRoute } from './http/health.ts'
import { requireKnownPosition, requirePast } from './http/known-position.ts'
import { LOG_ENDPOINTS, logRoutes } from './http/log.ts'
import { openApi } from './http/openapi.ts'
import { PERSON_EXPORT_ENDPOINTS, personExportRoutes } from './http/person-export.ts'
import { PHOTO_ENDPOINTS, photoRoutes } from './http/photos.ts'
import { places } from './http/places.ts'
import { rateLimit, refusalLimit } from './http/rate-limit.ts'
import { type Service, service, strictRouter } from './http/server.ts'
import { requireOwnPage } from './http/session-cookies.ts'
import { TASK_HISTORY_ENDPOINTS, taskHistoryRoutes } from './http/task-history.ts'
import { streamTaskEvents } from './http/task-stream.ts'
import { TASK_ENDPOINTS, taskRoutes } from './http/tasks.ts'
import {
  type AuthServiceClient,
  authServiceClient,
} from './infra/auth-client/auth-service-client.ts'
import { serviceDiscovery } from './infra/auth-client/service-discovery.ts'
import { sharedCounters } from './infra/counters/shared-counters.ts'
import { encryptedEventStore } from './infra/encryption/encrypted-texts.ts'
import { secretKeyWrap } from './infra/encryption/text-cipher.ts'
import { answering, postgresUserKeys, type UserKeys } from './infra/encryption/user-keys.ts'
import { inspectImage } from './infra/images/inspect-image.ts'
import { lastingLinks } from './infra/object-links/lasting-links.ts'
import { postgresAuditAccesses } from './infra/postgres/audit/audit-accesses.ts'
import { postgresAuditFacets } from './infra/postgres/audit/audit-facets.ts'
import { INDEX_ORDER_SETTINGS } from './infra/postgres/audit/audit-query.ts'
import { postgresAuditRecords } from './infra/postgres/audit/audit-records.ts'
import { postgresAuditTrail } from './infra/postgres/audit/audit-trail.ts'
import { type Database, openDatabase, PLANNED_ONCE } from './infra/postgres/connection/database.ts'
import { followReplica, type Replica } from './infra/postgres/connection/replica.ts'
import {
  type Listener,
  listenForEvents,
  notifyingEventStore,
} from './infra/postgres/connection/wake-up.ts'
import { postgresAppendNotifier } from './infra/postgres/event-store/append-notifier.ts'
import { postgresEventStore } from './infra/postgres/event-store/event-store.ts'
import { type KeyedDatabase, keyedDatabase } from './infra/postgres/keys/required-key.ts'
import { textKey } from './infra/postgres/keys/stored-keys.ts'
import { postgresPhotoRecords } from './infra/postgres/photos/photo-records.ts'
import { postgresTaskList } from './infra/postgres/tasks/task-list.ts'
import { postgresTransparencyLog } from './infra/postgres/transparency-log/log-reader.ts'
import { openObjectStorage } from './object-storage.ts'
import { configured, type Running, run, serviceUsage } from './process.ts'
import { redisConfig } from './redis-config.ts'
import { token } from './token.ts'

const BASE = '/tasks'
const ROLE = 'tasktrail_task'
// A small pool of its own, so that reports and exports do not delay work on tasks.
const AUDIT_DATABASE = { poolMax: 3, settings: INDEX_ORDER_SETTINGS }
/** Expensive calls of one user. */
const COSTLY_PER_SECOND = 10

/** Pages and the like: each takes up to ten megabytes while it is built. */
const READING = { all: 8, each: 4, waiting: 100, ms: 5_000, retryAfter: 1 }

type AuthService = Omit<AuthServiceClient, 'close'>

const Token = {
  config: token<TaskServiceConfig>('config'),
  log: token<Log>('log'),
  clock: token<Clock>('clock'),
  db: token<KeyedDatabase>('db'),
  auditDb: token<Database>('auditDb'),
  auditReads: token<Database>('auditReads'),
  replica: token<Replica | null>('replica'),
  userKeys: token<UserKeys>('userKeys'),
  events: token<EventStore<TaskEvent, TaskView>>('events'),
  pastEvents: token<EventStore<TaskEvent, TaskView>>('pastEvents'),
  tasks: token<TaskList>('tasks'),
  authService: token<AuthService & { close: () => void }>('authService'),
  counters: token<ClosableCounters>('counters'),
  accesses: token<AuditAccesses>('accesses'),
  trail: token<AuditTrail>('trail'),
  facets: token<AuditFacets>('facets'),
  records: token<AuditRecords>('records'),
  published: token<TransparencyLog>('published'),
  storage: token<ObjectStorage>('storage'),
  photoRecords: token<PhotoRecords>('photoRecords'),
  listener: token<Listener>('listener'),
  notifier: token<AppendNotifier>('appendNotifier'),
  handle: token<HandleCommand<TaskRequest, TaskView>>('handle'),
  photos: token<Photos>('photos'),
  service: token<Service>('service'),
}

const adapters = new ContainerModule(({ bind }) => {
  bind(Token.db)
    .toResolvedValue(
      ({ database, TEXT_KEY, TEXT_KEY_PREVIOUS }, log) =>
        keyedDatabase(openDatabase({ ...database, role: ROLE, settings: PLANNED_ONCE, log }), [
          textKey(TEXT_KEY, TEXT_KEY_PREVIOUS),
        ]),
      [Token.config, Token.log],
    )
    .inSingletonScope()
  bind(Token.userKeys)
    .toResolvedValue(
      ({ TEXT_KEY, TEXT_KEY_PREVIOUS }, db) =>
        postgresUserKeys(db, answering(secretKeyWrap(TEXT_KEY, TEXT_KEY_PREVIOUS))),
      [Token.config, Token.db],
    )
    .inSingletonScope()
  bind(Token.events)
    .toResolvedValue(
      ({ QUOTA_TASKS, QUOTA_BYTES, QUOTA_KEYED_ANSWERS }, db, keys, log) => {
        const quotas = {
          tasks: QUOTA_TASKS,
          bytes: QUOTA_BYTES,
          keyed_answers: QUOTA_KEYED_ANSWERS,
        }
        const stored = postgresEventStore<TaskEvent, TaskView>(db, quotas)
        return notifyingEventStore(encryptedEventStore(stored, keys), db, log)
      },
      [Token.config, Token.db, Token.userKeys, Token.log],
    )
    .inSingletonScope()
  bind(Token.replica)
    .toResolvedValue(
      ({ replica }, db, log) =>
        replica && followReplica({ ...replica, role: ROLE, primary: db, log }),
      [Token.config, Token.db, Token.log],
    )
    .inSingletonScope()
  bind(Token.pastEvents)
    .toResolvedValue(
      (db, replica, keys) => {
        const log = replica?.orElse(db, { settings: PLANNED_ONCE }) ?? db
        return encryptedEventStore(postgresEventStore<TaskEvent, TaskView>(db, null, log), keys)
      },
      [Token.db, Token.replica, Token.userKeys],
    )
    .inSingletonScope()
  bind(Token.accesses).toResolvedValue(postgresAuditAccesses, [Token.db])
  bind(Token.auditDb)
    .toResolvedValue(
      ({ database }, log) => openDatabase({ ...database, ...AUDIT_DATABASE, role: ROLE, log }),
      [Token.config, Token.log],
    )
    .inSingletonScope()
  bind(Token.auditReads)
    .toResolvedValue(
      (db, replica) => replica?.orElse(db, AUDIT_DATABASE) ?? db,
      [Token.auditDb, Token.replica],
    )
    .inSingletonScope()
  bind(Token.trail)
    .toResolvedValue(postgresAuditTrail, [Token.auditReads, Token.userKeys, Token.log])
    .inSingletonScope()
  bind(Token.facets)
    .toResolvedValue((db) => postgresAuditFacets(db), [Token.auditReads])
    .inSingletonScope()
  bind(Token.records).toResolvedValue(postgresAuditRecords, [Token.auditReads])
  bind(Token.published)
    .toResolvedValue(postgresTransparencyLog, [Token.auditReads])
    .inSingletonScope()
  bind(Token.listener)
    .toResolvedValue(
      ({ database: { connection } }, log) => listenForEvents({ connection, role: ROLE, log }),
      [Token.config, Token.log],
    )
    .inSingletonScope()
  bind(Token.notifier).toResolvedValue(postgresAppendNotifier, [
    Token.db,
    Token.listener,
    Token.log,
  ])
  bind(Token.tasks).toResolvedValue(postgresTaskList, [Token.db, Token.userKeys])
  bind(Token.photoRecords).toResolvedValue(
    ({ QUOTA_PHOTOS, QUOTA_PHOTO_BYTES }, db, keys) => {
      const quotas = { photos: QUOTA_PHOTOS, photo_bytes: QUOTA_PHOTO_BYTES }
      return postgresPhotoRecords(db, keys, quotas)
    },
    [Token.config, Token.db, Token.userKeys],
  )
  bind(Token.authService)
    .toResolvedValue(
      ({ AUTH_SERVICE_URL: url, INTERNAL_API_KEY: apiKey }, log) =>
        authServiceClient({ url, apiKey, discovery: serviceDiscovery({ log }), log }),
      [Token.config, Token.log],
    )
    .inSingletonScope()
  bind(Token.counters)
    .toResolvedValue(
      (config, log) => sharedCounters(redisConfig(config), config.INTERNAL_API_KEY, log),
      [Token.config, Token.log],
    )
    .inSingletonScope()
})

const useCases = new ContainerModule(({ bind }) => {
  bind(Token.handle).toResolvedValue(
    (events) => handleCommand(taskAggregate, events),
    [Token.events],
  )
  bind(Token.photos).toResolvedValue(
    (records, storage, tasks, handle) => {
      const lastingLink = lastingLinks(storage)
      return photos({ records, storage, lastingLink, inspect: inspectImage, tasks, handle })
    },
    [Token.photoRecords, Token.storage, Token.tasks, Token.handle],
  )
})

const http = new ContainerModule(({ bind }) => {
  bind(Token.service)
    .toResolvedValue(httpService, [
      Token.config,
      Token.log,
      Token.clock,
      Token.db,
      Token.authService,
      Token.counters,
      Token.handle,
      Token.tasks,
      Token.events,
      Token.pastEvents,
      Token.replica,
      Token.notifier,
      Token.accesses,
      Token.trail,
      Token.facets,
      Token.records,
      Token.published,
      Token.storage,
      Token.photos,
      Token.photoRecords,
    ])
    .inSingletonScope()
})

function httpService(
  config: TaskServiceConfig,
  log: Log,
  clock: Clock,
  db: Database,
  authService: AuthService,
  { counters }: ClosableCounters,
  handle: HandleCommand<TaskRequest, TaskView>,
  tasks: TaskList,
  events: EventStore<TaskEvent, TaskView>,
  pastEvents: EventStore<TaskEvent, TaskView>,
  replica: Replica | null,
  notifier: AppendNotifier,
  accesses: AuditAccesses,
  trail: AuditTrail,
  facets: AuditFacets,
  records: AuditRecords,
  published: TransparencyLog,
  storage: ObjectStorage,
  album: Photos,
  photoRecords: PhotoRecords,
): Service {
  const { RATE_LIMIT_PER_SECOND: points } = config
  const limit = rateLimit(counters, { name: 'default', points, seconds: 1 })
  const refusals = refusalLimit(counters, { name: 'refused', points, seconds: 1 })
  const router = strictRouter()
  const internalApiKeys = [config.INTERNAL_API_KEY]
  const ownPage = requireOwnPage(config.CORS_ORIGINS)
  const on = routes(
    router,
    admission({
      ...{ tokens: authService, internalApiKeys, limit, refusals },
      requireOwnPage: ownPage,
    }),
  )
  // Before the task routes: /tasks/health and /tasks/docs are not task ids.
  healthRoutes(on, {
    base: BASE,
    name: 'task',
    ping: db.ping,
    replica: replica?.state,
    requireStorage: storage.ping,
  })
  wholeHealthRoute(on, authService.answers)
  const title = 'Tasktrail task-service'
  const endpoints = [
    ...healthEndpoints(BASE, 'task'),
    wholeHealth,
    ...TASK_HISTORY_ENDPOINTS,
    ...TASK_ENDPOINTS,
    ...PHOTO_ENDPOINTS,
    ...PERSON_EXPORT_ENDPOINTS,
    ...AUDIT_ENDPOINTS,
    ...AUDIT_RECORD_ENDPOINTS,
    ...LOG_ENDPOINTS,
  ]
  docsRoutes(router, BASE, title, openApi(title, packageJson.version, endpoints))
  const look = lookAt(oncePerMinute(accesses), clock, 'looked')
  const reading = places(READING)
  const changes = taskChanges(pastEvents)
  const stopping = new AbortController()
  const { signal } = stopping
  const given = requireKnownPosition(events.last)
  const { end } = events
  const stream = streamTaskEvents({
    changes: taskChanges(pastEvents, STREAM_BATCH),
    notifier,
    tokens: authService,
    log,
    end,
    requireKnownPosition: given,
    stopping: signal,
  })
  taskHistoryRoutes(on, {
    handle,
    undoSteps: undoSteps(events),
    events: pastEvents,
    tasks,
    changes,
    stream,
    requireKnownPosition: given,
    look,
    reading,
  })
  const past = timeTravel(pastEvents)
  taskRoutes(on, { handle, tasks, past, look, requirePast: requirePast(events.now), reading })
  const copy = lookAt(accesses, clock, 'exported')
  const costly = rateLimit(counters, {
    name: 'costly',
    points: points === 0 ? 0 : COSTLY_PER_SECOND,
    seconds: 1,
  })
  photoRoutes(on, { photos: album, handle, limit: costly, reading })
  const send = sendExport({ copy, limit: costly, clock, recheck: recheck(authService) })
  auditRoutes(on, {
    trail,
    facets,
    exportAudit: exportAudit(trail, published),
    look,
    limit: costly,
    send,
  })
  auditRecordRoutes(on, {
    records,
    exportRecords: exportRecords(records, published),
    send,
    look,
    clock,
  })
  personExportRoutes(on, {
    account: authService.accountRecords,
    tasks,
    photos: photoRecords,
    storage,
    exportAudit: exportAudit(trail, published),
    copy,
    limit: costly,
    clock,
    recheck: recheck(authService),
  })
  logRoutes(on, { log: published, look })
  const { retire, ...rest } = service(router, {
    log,
    newId: uuidv7,
    maxEventLoopDelay: config.MAX_EVENT_LOOP_DELAY_MS,
    clients: { origins: config.CORS_ORIGINS },
    spared: [`${BASE}/health`, wholeHealth.path, '/ready'],
  })
  return {
    ...rest,
    retire: () => {
      retire()
      stopping.abort()
    },
  }
}

/** All of task-service, wired; not yet listening. */
export async function taskService(
  config: TaskServiceConfig,
  log: Log,
  clock: Clock,
): Promise<Running> {
  const storage = await openObjectStorage(config.photos)
  const container = new Container()
  container.bind(Token.storage).toConstantValue(storage)
  container.bind(Token.config).toConstantValue(config)
  container.bind(Token.log).toConstantValue(log)
  container.bind(Token.clock).toConstantValue(clock)
  container.load(adapters, useCases, http)
  return {
    service: container.get(Token.service),
    requireKeys: container.get(Token.db).requireKeys,
    dispose: async () => {
      container.get(Token.authService).close()
      storage.close()
      await container.get(Token.counters).close()
      await container.get(Token.listener).close()
      await container.get(Token.replica)?.close()
      await container.get(Token.auditDb).close()
      await container.get(Token.db).close()
    },
  }
}

if (import.meta.main) {
  commandLine({ usage: serviceUsage('start:task', 'task-service') })
  const config = configured(taskServiceConfig)
  await run('task-service', config, (log) => taskService(config, log, () => new Date()))
}
