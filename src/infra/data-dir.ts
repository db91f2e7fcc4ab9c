import { randomBytes, randomUUID } from 'node:crypto'
import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type DatabaseConfig, databaseConfig, type Env, namesDatabase } from '../config.ts'
import { SUPERUSER } from './embedded-postgres.ts'
import { livePostmaster } from './postmaster.ts'

/** What a local installation makes up once; base64url without padding. */
export type Secrets = Readonly<Record<(typeof SECRETS)[number], string>>

const SECRETS = [
  'DB_PASSWORD',
  'JWT_SECRET',
  'INTERNAL_API_KEY',
  'PASSWORD_PEPPER',
  'TEXT_KEY',
  'SEAL_KEY',
] as const

export const EMBEDDED_DATABASE = 'tasktrail'

/** Where `npm start` keeps its data; an absolute path. */
export const dataDirectory = (env: Env): string => resolve(env.DATA_DIR || '.data')

export const postgresDirectory = (env: Env): string => join(dataDirectory(env), 'postgres')

const secretsFile = (env: Env): string => join(dataDirectory(env), 'secrets.json')

/** Reads the secrets, and makes up those that are not there yet. */
export async function keepSecrets(env: Env): Promise<Secrets> {
  const file = secretsFile(env)
  await mkdir(dataDirectory(env), { recursive: true })
  const kept = await readSecrets(file)
  if (kept !== null && isComplete(kept)) return kept
  const secrets = Object.fromEntries(
    SECRETS.map((name) => [name, kept?.[name] ?? randomBytes(32).toString('base64url')]),
  )
  const draft = `${file}.${randomUUID()}`
  await writeFile(draft, `${JSON.stringify(secrets, null, 2)}\n`, { mode: 0o600, flush: true })
  try {
    // A link does not replace: of two first starts one wins, and both go on with its secrets.
    await (kept === null ? link(draft, file) : rename(draft, file))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    await rm(draft, { force: true })
  }
  return keepSecrets(env)
}

/** A secret of the environment, or else one that is kept already; makes up none. */
export const keptSecret = async (env: Env, name: keyof Secrets): Promise<string | undefined> =>
  env[name] || (await readSecrets(secretsFile(env)))?.[name]

const isComplete = (secrets: Partial<Secrets>): secrets is Secrets =>
  SECRETS.every((name) => secrets[name] !== undefined)

async function readSecrets(file: string): Promise<Partial<Secrets> | null> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return null
    throw new Error(`Cannot read ${file} (${code}): it belongs to the user who made it.`)
  }
  try {
    const secrets = JSON.parse(text) as Record<string, unknown>
    const strings = SECRETS.filter(
      (name) => typeof secrets[name] === 'string' && secrets[name] !== '',
    )
    return Object.fromEntries(strings.map((name) => [name, secrets[name]]))
  } catch {
    throw new Error(`${file} is damaged: it holds no JSON object.`)
  }
}

/** The environment's database, or else the embedded server that runs on DATA_DIR. */
export async function findDatabase(env: Env): Promise<DatabaseConfig> {
  if (namesDatabase(env)) return databaseConfig(env)
  const dataDir = postgresDirectory(env)
  const server = await livePostmaster(dataDir)
  const password = server && (await readSecrets(secretsFile(env)))?.DB_PASSWORD
  if (server?.status !== 'ready' || password === undefined || password === null) {
    throw new Error(
      `No database: no server runs on ${dataDir}. Run "npm start" in another terminal, or set ` +
        'DATABASE_URL, or DB_HOST, DB_PORT, DB_NAME, DB_USER and DB_PASSWORD.',
    )
  }
  return databaseConfig({ ...embeddedEnv(server.port, password), DB_POOL_MAX: env.DB_POOL_MAX })
}

/** The variables that lead to an embedded server. */
export const embeddedEnv = (port: number, password: string) => ({
  DB_HOST: '127.0.0.1',
  DB_PORT: String(port),
  DB_NAME: EMBEDDED_DATABASE,
  DB_USER: SUPERUSER,
  DB_PASSWORD: password,
  DB_SSLMODE: 'disable',
})
