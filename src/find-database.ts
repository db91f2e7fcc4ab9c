import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { AppError } from './app/errors.ts'
import { databaseConfig, namesDatabase } from './config.ts'
import {
  EMBEDDED_DATABASE,
  embeddedEnv,
  postgresDirectory,
  readSecrets,
  type Secrets,
} from './infra/local/data-dir.ts'
import { startEmbeddedPostgres } from './infra/local/embedded-postgres.ts'
import { livePostmaster } from './infra/local/postmaster.ts'
import type { DatabaseConfig } from './infra/postgres/connection/database.ts'
import type { Env } from './settings.ts'

/** The environment's database, or else the embedded server that runs on DATA_DIR. */
export async function findDatabase(env: Env): Promise<DatabaseConfig> {
  if (namesDatabase(env)) return databaseConfig(env)
  const dataDir = postgresDirectory(env)
  const server = await livePostmaster(dataDir)
  const password = server && (await readSecrets(env))?.DB_PASSWORD
  if (server?.status !== 'ready' || password === undefined || password === null) {
    throw new Error(
      `No database: no server runs on ${dataDir}. Run "npm start" in another terminal, or set ` +
        'DATABASE_URL, or DB_HOST, DB_PORT, DB_NAME, DB_USER and DB_PASSWORD.',
    )
  }
  return databaseConfig({ ...embeddedEnv(server.port, password), DB_POOL_MAX: env.DB_POOL_MAX })
}

/**
 * Uses the environment's database, or else the embedded one in DATA_DIR. If that server is not running, it
 * runs for the duration of `work`.
 */
export async function withDatabase<T>(
  env: Env,
  work: (config: DatabaseConfig) => Promise<T>,
): Promise<T> {
  const dataDir = postgresDirectory(env)
  const password = (await readSecrets(env))?.DB_PASSWORD
  const rests =
    !namesDatabase(env) &&
    password !== undefined &&
    existsSync(join(dataDir, 'PG_VERSION')) &&
    (await livePostmaster(dataDir)) === null
  if (!rests) return work(await findDatabase(env))
  const server = await startEmbeddedPostgres({ dataDir, password, database: EMBEDDED_DATABASE })
  return work(databaseConfig(embeddedEnv(server.port, password))).finally(server.stop)
}

/** A secret from the environment, or else one already stored under DATA_DIR. Never generates one. */
export const keptSecret = async (env: Env, name: keyof Secrets): Promise<string | undefined> =>
  env[name] || (await readSecrets(env))?.[name]

/** What went wrong, in one sentence. For an adapter's error it is the database's own message. */
export function databaseFailure(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { message, cause } = error
  if ((error as { code?: unknown }).code === '42P01') {
    return 'The database holds no tables of Tasktrail yet: run "npm run migrate".'
  }
  return error instanceof AppError && cause instanceof Error
    ? `The database failed: ${cause.message}.`
    : message
}
