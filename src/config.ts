import { z } from 'zod'
import { ROLES, type Role } from './domain/user.ts'
import {
  identitySettings,
  isProviderSecret,
  oidcClients,
  settingsOfIdentity,
  userPoolOf,
  userPoolVariables,
} from './identity-config.ts'
import { rangeFilesIn } from './infra/credentials/breached-passwords.ts'
import { isCountries } from './infra/places/country.ts'
import type { DatabaseConfig } from './infra/postgres/connection/database.ts'
import type { Login } from './infra/postgres/connection/logins.ts'
import { mailOf, mailVariables, placeOfMails } from './mail-config.ts'
import { photosOf, photosVariables, placeOfPhotos } from './photos-config.ts'
import { redis } from './redis-config.ts'
import {
  type Env,
  filled,
  headerSecret,
  httpUrl,
  parse,
  present,
  secret,
  whole,
} from './settings.ts'
import { isLogKey, parseVerifierKey, type VerifierKey } from './transparency-log/keys.ts'
import { type Policy, PolicyError, readPolicy } from './transparency-log/policy.ts'
import { isKeyName } from './transparency-log/signature-line.ts'

const postgresUrl = z
  .string()
  .refine(
    (url) => /^postgres(ql)?:$/.test(URL.parse(url)?.protocol ?? ''),
    'must be a postgres:// URL',
  )
  // pg would prefer them to our own, which switch to the service's restricted role.
  .refine((url) => !URL.parse(url)?.searchParams.has('options'), 'must not carry options')
const port = whole(1, 65_535, 5432)
const sslmode = z
  .enum(['disable', 'require', 'verify-full'], 'must be disable, require or verify-full')
  .default('disable')
const poolMax = whole(1, 100, 10)

const databaseUrl = z.object({ DATABASE_URL: postgresUrl, DB_POOL_MAX: poolMax })
const databaseParts = z.object({
  DB_HOST: filled,
  DB_PORT: port,
  DB_NAME: filled,
  DB_USER: filled,
  DB_PASSWORD: filled,
  DB_SSLMODE: sslmode,
  DB_POOL_MAX: poolMax,
})

/** A replica is named as the database is. */
const replicaUrl = z.object({ READ_DATABASE_URL: postgresUrl, READ_DB_POOL_MAX: poolMax })
const replicaParts = z.object({
  READ_DB_HOST: filled,
  READ_DB_PORT: port,
  READ_DB_NAME: filled,
  READ_DB_USER: filled,
  READ_DB_PASSWORD: filled,
  READ_DB_SSLMODE: sslmode,
  READ_DB_POOL_MAX: poolMax,
})

/** Where pages that call us may come from; to the letter, as browsers write an origin. */
const origins = z
  .string()
  .default('')
  .transform((text, context): readonly string[] => {
    const given = text.split(/[\s,]+/).filter((word) => word !== '')
    const isOrigin = (word: string) =>
      /^https?:[^*]*$/.test(word) && URL.parse(word)?.origin === word
    if (given.every(isOrigin)) return given
    context.addIssue('must be origins such as https://app.example.com, separated by commas')
    return z.NEVER
  })

/** Roles, separated by commas. */
const rolesOf = (fallback = '', of: readonly Role[] = ROLES) =>
  z
    .string()
    .default(fallback)
    .transform((text, context): ReadonlySet<Role> => {
      const given = text.split(/[\s,]+/).filter((word) => word !== '')
      const roles = of.filter((role) => given.includes(role))
      if (given.every((word) => of.some((role) => role === word))) return new Set(roles)
      context.addIssue(`must be roles, separated by commas: ${of.join(', ')}`)
      return z.NEVER
    })

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'silent'] as const

const service = z.object({
  PORT: whole(1, 65_535, 3000),
  HOST: filled.default('0.0.0.0'),
  LOG_LEVEL: z.enum(LOG_LEVELS, `must be one of: ${LOG_LEVELS.join(', ')}`).default('info'),
  RATE_LIMIT_PER_SECOND: whole(0, 1_000_000, 100),
  MAX_EVENT_LOOP_DELAY_MS: whole(0, 60_000, 100),
  DRAIN_SECONDS: whole(0, 60, 5),
  INTERNAL_API_KEY: headerSecret(16),
  CORS_ORIGINS: origins,
  ...redis,
})

/** A list of passwords in the form of Have I Been Pwned's. */
const breachedList = z
  .string()
  .refine(
    (directory) => rangeFilesIn(directory) !== null,
    'must be a directory with range files such as 0A1B2.txt that this process can read',
  )

const countryDatabase = z
  .string()
  .refine(isCountries, 'must be a database of countries (MMDB) that this process can read')

const authService = service.extend({
  JWT_SECRET: secret(32),
  JWT_SECRET_PREVIOUS: secret(32).optional(),
  JWT_EXPIRATION: whole(1, 86_400, 3600),
  INTERNAL_API_KEY_PREVIOUS: headerSecret(16).optional(),
  PASSWORD_PEPPER: secret(16),
  BCRYPT_COST: whole(10, 20, 12),
  LOGIN_LIMIT_PER_MINUTE: whole(0, 1_000_000, 30),
  MAIL_LIMIT_PER_HOUR: whole(0, 1_000_000, 5),
  PUBLIC_URL: httpUrl.default('http://localhost:8080'),
  // Whoever lacks it counts as a user: of that role it could not be required.
  REQUIRE_SECOND_FACTOR: rolesOf('', ['auditor', 'admin']),
  FIRST_ADMIN: z
    .string()
    .regex(/^[A-Za-z0-9_.-]{3,50}$/, 'must be a username')
    .optional(),
  PASSWORD_MIN_LENGTH: whole(8, 64, 8),
  PASSWORD_HISTORY: whole(0, 24, 0),
  PASSWORD_HISTORY_ROLES: rolesOf('auditor,admin'),
  BREACHED_PASSWORDS: breachedList.optional(),
  COUNTRY_DATABASE: countryDatabase.optional(),
  ...identitySettings,
})

/** Wraps the users' data keys. */
const textKeys = { TEXT_KEY: secret(32), TEXT_KEY_PREVIOUS: secret(32).optional() }

const taskService = service.extend({
  AUTH_SERVICE_URL: httpUrl,
  ...textKeys,
  QUOTA_TASKS: whole(1, 1_000_000_000, 100_000),
  QUOTA_BYTES: whole(1, 9_999_999_999, 1_073_741_824),
  QUOTA_PHOTOS: whole(1, 1_000_000_000, 1_000),
  QUOTA_PHOTO_BYTES: whole(1, 9_999_999_999, 5_368_709_120),
  // Fewer are not counted.
  QUOTA_KEYED_ANSWERS: whole(1_000, 1_000_000_000, 100_000),
})

/** What also a process without clients of its own has. */
const basics = service.pick({ PORT: true, HOST: true, LOG_LEVEL: true, DRAIN_SECONDS: true }).shape

const keyName = (fallback: string) =>
  filled
    .refine(isKeyName, 'must be a name without spaces and +, such as tasktrail.example/log')
    .default(fallback)
/** `npm start` derives the log's verifier key from it, and so do its tools. */
const logOrigin = keyName('tasktrail.local/log')
const witnessName = keyName('tasktrail.local/witness')

/** Verifier keys of logs, separated by commas. */
const logKeys = z
  .string()
  .default('')
  .transform((text, context): readonly VerifierKey[] => {
    const texts = text.split(/[\s,]+/).filter((word) => word !== '')
    const keys = texts.flatMap((word) => parseVerifierKey(word) ?? []).filter(isLogKey)
    if (keys.length === texts.length) return keys
    context.addIssue('must be verifier keys of logs, separated by commas')
    return z.NEVER
  })

/** Who has to sign the log's checkpoints too, and where they are. */
const witnesses = z.string().transform((text, context): Policy => {
  const fault = (message: string) => {
    context.addIssue(message)
    return z.NEVER
  }
  try {
    const policy = readPolicy(text)
    const lost = policy.witnesses.find(({ url }) => !httpUrl.safeParse(url).success)
    if (lost === undefined) return policy
    return fault(`must have an http(s) URL for the witness ${lost.name}`)
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
    return fault(`must be a policy of witnesses (C2SP tlog-policy). ${error.message}`)
  }
})

const worker = z.object({
  ...basics,
  ...textKeys,
  LOG_KEY: secret(32),
  LOG_KEY_PREVIOUS: secret(32).optional(),
  LOG_ORIGIN: logOrigin,
  LOG_INTERVAL_MS: whole(50, 60_000, 250),
  WITNESSES: witnesses.optional(),
  // The database keeps them for at least 30 days, whatever is set here.
  ACCESS_RETENTION_DAYS: whole(30, 36_500, 365),
  SECURITY_EVENT_RETENTION_DAYS: whole(30, 36_500, 365),
  COUNTRY_DATABASE: countryDatabase.optional(),
})

const witness = z.object({
  ...basics,
  WITNESS_KEY: secret(32),
  WITNESS_KEY_PREVIOUS: secret(32).optional(),
  WITNESS_NAME: witnessName,
  WITNESS_DIR: filled,
  WITNESS_LOGS: logKeys,
})

/** What the log of this environment is called. */
export const originOf = (env: Env): string =>
  parse(worker.pick({ LOG_ORIGIN: true }), env).LOG_ORIGIN

export const witnessNameOf = (env: Env): string =>
  parse(witness.pick({ WITNESS_NAME: true }), env).WITNESS_NAME

const usesUrl = (env: Env): boolean => env.DATABASE_URL !== undefined && env.DATABASE_URL !== ''

/** Whether the environment names a database at all. */
export const namesDatabase = (env: Env): boolean =>
  usesUrl(env) ||
  Object.keys(present(env)).some((name) => /^DB_(HOST|NAME|USER|PASSWORD)$/.test(name))

function database(
  env: z.output<typeof databaseUrl> | z.output<typeof databaseParts>,
): DatabaseConfig {
  const poolMax = env.DB_POOL_MAX
  if ('DATABASE_URL' in env) return { connection: { connectionString: env.DATABASE_URL }, poolMax }
  const { DB_HOST: host, DB_PORT: port, DB_NAME: name, DB_USER: user, DB_PASSWORD: password } = env
  const connection = { host, port, database: name, user, password }
  if (env.DB_SSLMODE === 'disable') return { connection, poolMax }
  return {
    connection: { ...connection, ssl: { rejectUnauthorized: env.DB_SSLMODE === 'verify-full' } },
    poolMax,
  }
}

export const databaseConfig = (env: Env): DatabaseConfig =>
  database(usesUrl(env) ? parse(databaseUrl, env) : parse(databaseParts, env))

/** The settings of a process, and its database, which the environment names in one of two ways. */
const configOf =
  <Shape extends z.core.$ZodLooseShape>(own: z.ZodObject<Shape>) =>
  (env: Env): z.output<z.ZodObject<Shape>> & { readonly database: DatabaseConfig } => {
    // Parsed together, so that one error lists everything that is wrong.
    const place = usesUrl(env) ? databaseUrl : databaseParts
    const settings = parse(own.extend(place.shape), env) as z.output<z.ZodObject<Shape>> &
      z.output<typeof place>
    return { ...settings, database: database(settings) }
  }

export type AuthServiceConfig = ReturnType<typeof authServiceConfig>
export function authServiceConfig(env: Env) {
  const own = authService.extend(settingsOfIdentity(env)) as unknown as typeof authService
  const settings = configOf(own)(env)
  return { ...settings, providers: oidcClients(settings), userPool: userPoolOf(settings) }
}

/** The settings of a process that stores photos. */
const storing =
  <Shape extends z.core.$ZodLooseShape>(own: z.ZodObject<Shape>) =>
  (env: Env) => {
    const settings = configOf(own.extend(placeOfPhotos(env)) as typeof own)(env)
    return Object.assign(settings, { photos: photosOf(settings) })
  }

const withoutReplica = storing(taskService)
const withReplicaUrl = storing(taskService.extend(replicaUrl.shape))
const withReplicaParts = storing(taskService.extend(replicaParts.shape))

export type TaskServiceConfig = ReturnType<typeof withoutReplica> & {
  /** A streaming replica of the database; null: there is none. */
  readonly replica: DatabaseConfig | null
}
export function taskServiceConfig(env: Env): TaskServiceConfig {
  const given = present(env)
  if (given.READ_DATABASE_URL !== undefined) return replicaOf(withReplicaUrl(env))
  if (given.READ_DB_HOST === undefined) return { ...withoutReplica(env), replica: null }
  // A replica has the logins of its primary: often only the host is another.
  const inherited = Object.entries(given)
    .filter(([name]) => name.startsWith('DB_'))
    .map(([name, value]) => [`READ_${name}`, value])
  return replicaOf(withReplicaParts({ ...Object.fromEntries(inherited), ...given }))
}

function replicaOf<Config extends object>(config: Config) {
  const named = Object.entries(config).filter(([name]) => name.startsWith('READ_'))
  const place = Object.fromEntries(
    named.map(([name, value]) => [name.slice('READ_'.length), value]),
  )
  return { ...config, replica: database(place as Parameters<typeof database>[0]) }
}

export type WorkerConfig = ReturnType<typeof workerConfig>
export function workerConfig(env: Env) {
  const settings = storing(worker.extend(placeOfMails(env)) as typeof worker)(env)
  return Object.assign(settings, { mail: mailOf(settings) })
}

export type WitnessConfig = z.output<typeof witness>
export const witnessConfig = (env: Env): WitnessConfig => parse(witness, env)

const variablesOf = (own: z.ZodObject): readonly string[] =>
  [own, databaseUrl, databaseParts].flatMap(({ shape }) => Object.keys(shape))

const VARIABLES = {
  'auth-service': [...variablesOf(authService), ...userPoolVariables],
  'task-service': [
    ...variablesOf(taskService),
    ...Object.keys({ ...replicaUrl.shape, ...replicaParts.shape }),
    ...photosVariables,
  ],
  worker: [...variablesOf(worker), ...photosVariables, ...mailVariables],
  witness: Object.keys(witness.shape),
}

/** What programs, Node and the client of PostgreSQL read for themselves. */
const OF_THE_MACHINE = /^(PATH|HOME|TMPDIR|TZ|LANG|LC_\w+|NODE_\w+|SSL_CERT_\w+|PG\w+)$/

/** The part of an environment that concerns a service: no other service's secrets, nor anybody else's. */
export function environmentOf(service: keyof typeof VARIABLES, env: Env): Env {
  const variables = VARIABLES[service]
  // The SDK of AWS looks for its credentials in many of them.
  const named = (name: string) => variables.includes(name) && Boolean(env[name])
  const usesAws =
    service === 'auth-service'
      ? env.IDENTITY === 'cognito'
      : ['PHOTOS_BUCKET', 'SES_REGION'].some(named)
  const ofProviders = service === 'auth-service' ? isProviderSecret : () => false
  const concerns = (name: string) =>
    variables.includes(name) ||
    OF_THE_MACHINE.test(name) ||
    (usesAws && /^AWS_/.test(name)) ||
    ofProviders(name)
  return Object.fromEntries(Object.entries(env).filter(([name]) => concerns(name)))
}

const LOGINS = [
  { user: 'AUTH_DB_USER', password: 'AUTH_DB_PASSWORD', role: 'tasktrail_auth' },
  { user: 'TASK_DB_USER', password: 'TASK_DB_PASSWORD', role: 'tasktrail_task' },
  { user: 'WORKER_DB_USER', password: 'WORKER_DB_PASSWORD', role: 'tasktrail_worker' },
] as const

/** The logins that a migration creates: those whose user or password the environment names. */
export function logins(env: Env): readonly Login[] {
  return LOGINS.flatMap(({ user, password, role }) => {
    if (!present(env)[user] && !present(env)[password]) return []
    const login: Record<string, string> = parse(
      z.object({ [user]: filled, [password]: filled }),
      env,
    )
    return [{ user: login[user] ?? '', password: login[password] ?? '', role }]
  })
}
