import { databaseConfig, type Env, namesDatabase } from './config.ts'
import {
  embeddedEnv,
  postgresDirectory,
  readSecrets,
  type Secrets,
} from './infra/local/data-dir.ts'
import { livePostmaster } from './infra/local/postmaster.ts'
import type { DatabaseConfig } from './infra/postgres/connection/database.ts'

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

/** A secret of the environment, or else one that is kept under DATA_DIR already; makes none. */
export const keptSecret = async (env: Env, name: keyof Secrets): Promise<string | undefined> =>
  env[name] || (await readSecrets(env))?.[name]
