import type { SecretName } from './names.ts'

/** The services behind the load balancer. */
export const HTTP_SERVICE_NAMES = ['auth-service', 'task-service'] as const
/** Everything that ECS keeps running. */
export const SERVICE_NAMES = [...HTTP_SERVICE_NAMES, 'worker'] as const
/** The witness is apart from the services: it has no database, and must not depend on who runs one. */
export const IMAGE_NAMES = [...SERVICE_NAMES, 'witness', 'migration'] as const
/** Every container that runs here; the rebuild uses the worker's image. */
export const TASK_NAMES = [...IMAGE_NAMES, 'rebuild'] as const
/** What runs in Lambda: two during a deployment of the services; the others where the environment has them. */
export const HANDLER_NAMES = [
  'authorizer',
  'migration',
  'desired-count',
  'canary',
  'photo-uploaded',
] as const

export type HttpServiceName = (typeof HTTP_SERVICE_NAMES)[number]
export type ServiceName = (typeof SERVICE_NAMES)[number]
export type ImageName = (typeof IMAGE_NAMES)[number]
export type TaskName = (typeof TASK_NAMES)[number]
export type HandlerName = (typeof HANDLER_NAMES)[number]

/** For a service that scales: one may be lost. */
export const MIN_TASKS = 2
export const MAX_TASKS = 10
/** For the worker: one leads, one stands by. A third would only wait. */
export const WORKER_TASKS = 2

/** What defines a service, apart from its size in an environment (config/schema.ts). */
export type ServiceTraits = {
  /** Names its security group. */
  readonly party: string
  /** Answers 200 while the process is healthy, without checking its dependencies. */
  readonly healthPath: string
  /** Which script to run, where its image has several. @default - what the image starts */
  readonly script?: string
  /** Its login user in PostgreSQL; the migration makes it a member of the service's own role. */
  readonly databaseUser: string
  /** Prefix of the variables that tell the migration about that user: `AUTH_DB_USER`, ... */
  readonly databasePrefix: string
  /** Connections of one task besides those of DB_POOL_MAX, such as one that listens. */
  readonly sessions: number
  /** At most; a second set of tasks runs during a deployment. */
  readonly maxTasks: number
  /** Which secret goes into which variable, besides the database login. */
  readonly secrets: Readonly<Record<string, SecretName>>
  /** Plain settings; nothing that must not be readable in the console. */
  readonly environment: Readonly<Record<string, string>>
  /** The services that it calls, with the variable for the address of each. */
  readonly calls: Readonly<Record<string, HttpServiceName>>
}

export type HttpServiceTraits = ServiceTraits & {
  /** An alarm goes off unless 95 of 100 answers begin within this many milliseconds. */
  readonly slowMs: number
}

/** Wraps the users' data keys; everything that reads or writes texts needs both. */
export const TEXT_KEYS = { TEXT_KEY: 'text-key', TEXT_KEY_PREVIOUS: 'previous-text-key' } as const

/**
 * Every service. To add one, add an entry here and one in the environments' `services` and `images`: group,
 * login, repository, task and dashboard follow. If it serves requests, add its path in src/http/routing.ts
 * too, and it gets routes, scaling and alarms.
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
    // A login hashes a password, slowly on purpose.
    slowMs: 3_000,
  },
  'task-service': {
    party: 'task',
    healthPath: '/tasks/health',
    databaseUser: 'task_service',
    databasePrefix: 'TASK',
    // One that listens, and three for the audit: AUDIT_DATABASE in src/task-service.ts.
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
    // One that listens, and four that lead: the audit projection, the checkpoints, the drift check, mails.
    sessions: 5,
    maxTasks: WORKER_TASKS,
    secrets: { ...TEXT_KEYS, LOG_KEY: 'log-key', LOG_KEY_PREVIOUS: 'previous-log-key' },
    // No load balancer has to drain it first.
    environment: { DRAIN_SECONDS: '0' },
    calls: {},
  },
}

/** It cosigns with the first, and with the second while that is being replaced. */
export const WITNESS_KEYS = {
  WITNESS_KEY: 'witness-key',
  WITNESS_KEY_PREVIOUS: 'previous-witness-key',
} as const

export const WITNESS_HEALTH_PATH = '/witness/health'

/** The services that functions call. */
export const HANDLER_CALLS = {
  'photo-uploaded': 'task-service',
} as const satisfies Readonly<Partial<Record<HandlerName, HttpServiceName>>>

/** Whether another service, or a function, looks it up by name. */
export const isCalled = (name: HttpServiceName): boolean =>
  [...Object.values(SERVICES).map(({ calls }) => calls), HANDLER_CALLS].some((calls) =>
    Object.values<HttpServiceName>(calls).includes(name),
  )
