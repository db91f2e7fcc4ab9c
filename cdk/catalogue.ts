import type { SecretName } from './names.ts'

/** Those behind the load balancer. */
export const HTTP_SERVICE_NAMES = ['auth-service', 'task-service'] as const
/** All that ECS keeps running. */
export const SERVICE_NAMES = [...HTTP_SERVICE_NAMES, 'worker'] as const
export const IMAGE_NAMES = [...SERVICE_NAMES, 'migration'] as const
/** Every container that runs here; the rebuild's image is the worker's. */
export const TASK_NAMES = [...IMAGE_NAMES, 'rebuild'] as const
/** What runs in Lambda: two while the services are deployed, and the canary, where there is one. */
export const HANDLER_NAMES = ['migration', 'desired-count', 'canary'] as const

export type HttpServiceName = (typeof HTTP_SERVICE_NAMES)[number]
export type ServiceName = (typeof SERVICE_NAMES)[number]
export type ImageName = (typeof IMAGE_NAMES)[number]
export type TaskName = (typeof TASK_NAMES)[number]
export type HandlerName = (typeof HANDLER_NAMES)[number]

/** Of a service that scales: enough to lose one, no more than the database has connections for. */
export const MIN_TASKS = 2
export const MAX_TASKS = 10
/** Of the worker: one leads, one stands by. A third would only wait. */
export const WORKER_TASKS = 2

/** What one service is, apart from how large it is in an environment (config/schema.ts). */
export type ServiceTraits = {
  /** Names its security group. */
  readonly party: string
  /** Answers 200 while the process is well, without a look at what it depends on. */
  readonly healthPath: string
  /** Where its image holds more than one, for people to run. @default - what the image starts */
  readonly script?: string
  /** Its login user in PostgreSQL; the migration makes it a member of the service's own role. */
  readonly databaseUser: string
  /** Prefix of the variables in which the migration is told that user: `AUTH_DB_USER`, ... */
  readonly databasePrefix: string
  /** Connections of one task beside those of DB_POOL_MAX, such as one that listens. */
  readonly sessions: number
  /** At most, beside the second set while a deployment rolls. */
  readonly maxTasks: number
  /** Which secret goes into which variable, beside the database login. */
  readonly secrets: Readonly<Record<string, SecretName>>
  /** Plain settings; nothing that must not be read in the console. */
  readonly environment: Readonly<Record<string, string>>
  /** The services that it calls, each by the address in this variable. */
  readonly calls: Readonly<Record<string, HttpServiceName>>
}

export type HttpServiceTraits = ServiceTraits & {
  /** Milliseconds within which 95 of 100 answers go out, or an alarm rings. */
  readonly slowMs: number
}

/** Wraps the users' data keys; whoever reads or writes texts needs both. */
export const TEXT_KEYS = { TEXT_KEY: 'text-key', TEXT_KEY_PREVIOUS: 'previous-text-key' } as const

/**
 * Every service. A further one is an entry here and one in the environments' `services` and
 * `images`: group, login, repository, task and dashboard follow. One that serves requests also has
 * its path in src/http/routing.ts, and gets routes, scaling and alarms.
 */
export const SERVICES: Readonly<
  Record<HttpServiceName, HttpServiceTraits> & Record<'worker', ServiceTraits>
> = {
  'auth-service': {
    party: 'auth',
    healthPath: '/auth/health',
    databaseUser: 'auth_service',
    databasePrefix: 'AUTH',
    sessions: 0,
    maxTasks: MAX_TASKS,
    secrets: {
      JWT_SECRET: 'signing-key',
      JWT_SECRET_PREVIOUS: 'previous-signing-key',
      PASSWORD_PEPPER: 'password-pepper',
      INTERNAL_API_KEY: 'internal-api-key',
      INTERNAL_API_KEY_PREVIOUS: 'previous-internal-api-key',
    },
    environment: { JWT_EXPIRATION: '3600' },
    calls: {},
    // A login hashes a password on purpose slowly.
    slowMs: 3_000,
  },
  'task-service': {
    party: 'task',
    healthPath: '/tasks/health',
    databaseUser: 'task_service',
    databasePrefix: 'TASK',
    // One listens; three are the audit's: AUDIT_DATABASE in src/task-service.ts.
    sessions: 4,
    maxTasks: MAX_TASKS,
    secrets: { INTERNAL_API_KEY: 'internal-api-key', ...TEXT_KEYS },
    environment: {},
    calls: { AUTH_SERVICE_URL: 'auth-service' },
    slowMs: 1_000,
  },
  worker: {
    party: 'worker',
    healthPath: '/worker/health',
    script: '/app/worker.js',
    databaseUser: 'worker',
    databasePrefix: 'WORKER',
    // One listens; three lead: the audit projection, the seals, the drift check.
    sessions: 4,
    maxTasks: WORKER_TASKS,
    secrets: { ...TEXT_KEYS, SEAL_KEY: 'seal-key' },
    // Nobody has to look away first.
    environment: { DRAIN_SECONDS: '0' },
    calls: {},
  },
}

/** Whether another service looks it up by name. */
export const isCalled = (name: HttpServiceName): boolean =>
  Object.values(SERVICES).some(({ calls }) => Object.values(calls).includes(name))
