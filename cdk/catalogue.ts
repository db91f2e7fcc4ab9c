import type { SecretName } from './names.ts'

export const SERVICE_NAMES = ['auth-service', 'task-service'] as const
export const IMAGE_NAMES = [...SERVICE_NAMES, 'migration'] as const

export type ServiceName = (typeof SERVICE_NAMES)[number]
export type ImageName = (typeof IMAGE_NAMES)[number]

/** Of each service: enough to lose one, and no more than the database has connections for. */
export const MIN_TASKS = 2
export const MAX_TASKS = 10

/** What one service is, apart from how large it is in an environment (config/schema.ts). */
export type ServiceTraits = {
  /** Names its security group. */
  readonly party: string
  /** Answers 200 while the process is well, without a look at what it depends on. */
  readonly healthPath: string
  /** Its login user in PostgreSQL; the migration makes it a member of the service's own role. */
  readonly databaseUser: string
  /** Prefix of the variables in which the migration is told that user: `AUTH_DB_USER`, ... */
  readonly databasePrefix: string
  /** Which secret goes into which variable, beside the database login. */
  readonly secrets: Readonly<Record<string, SecretName>>
  /** Plain settings; nothing that must not be read in the console. */
  readonly environment: Readonly<Record<string, string>>
  /** The services that it calls, each by the address in this variable. */
  readonly calls: Readonly<Record<string, ServiceName>>
  /** Milliseconds within which 95 of 100 answers go out, or an alarm rings. */
  readonly slowMs: number
}

/**
 * Every service. A third one is an entry here, one in the environments' `services` and `images`,
 * and its path in src/http/routing.ts: groups, login, repository, task, alarms and dashboard
 * follow. One that serves no requests also needs a sibling of HttpService without routes.
 */
export const SERVICES: Readonly<Record<ServiceName, ServiceTraits>> = {
  'auth-service': {
    party: 'auth',
    healthPath: '/auth/health',
    databaseUser: 'auth_service',
    databasePrefix: 'AUTH',
    secrets: {
      JWT_SECRET: 'signing-key',
      JWT_SECRET_PREVIOUS: 'previous-signing-key',
      PASSWORD_PEPPER: 'password-pepper',
      INTERNAL_API_KEY: 'internal-api-key',
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
    secrets: { INTERNAL_API_KEY: 'internal-api-key' },
    environment: {},
    calls: { AUTH_SERVICE_URL: 'auth-service' },
    slowMs: 1_000,
  },
}

/** Whether another service looks it up by name. */
export const isCalled = (name: ServiceName): boolean =>
  Object.values(SERVICES).some(({ calls }) => Object.values(calls).includes(name))
