import { randomBytes, randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { SUPERUSER } from './embedded-postgres.ts'

/** Names the directory; an environment has this form. */
export type DataDirEnv = { readonly DATA_DIR?: string | undefined }

/** What a local installation generates once; base64url without padding. */
export type Secrets = Readonly<Record<(typeof SECRETS)[number], string>>

const SECRETS = [
  'DB_PASSWORD',
  'JWT_SECRET',
  'INTERNAL_API_KEY',
  'PASSWORD_PEPPER',
  'TEXT_KEY',
  'LOG_KEY',
  'WITNESS_KEY',
  'PHOTOS_KEY',
] as const

export const EMBEDDED_DATABASE = 'tasktrail'

/** Where `npm start` keeps its data; an absolute path. */
export const dataDirectory = (env: DataDirEnv): string => resolve(env.DATA_DIR || '.data')

export const postgresDirectory = (env: DataDirEnv): string => join(dataDirectory(env), 'postgres')

/** Where the witness of `npm start` keeps what it has cosigned. */
export const witnessDirectory = (env: DataDirEnv): string => join(dataDirectory(env), 'witness')

/** Where `npm start` keeps photos. */
export const photosDirectory = (env: DataDirEnv): string => join(dataDirectory(env), 'photos')

/** Where `npm start` keeps mails, if there is nobody to send them. */
export const mailsDirectory = (env: DataDirEnv): string => join(dataDirectory(env), 'mail')

/** Where `npm start` keeps the logs of its processes. */
export const logDirectory = (env: DataDirEnv): string => join(dataDirectory(env), 'logs')

export const secretsFile = (env: DataDirEnv): string => join(dataDirectory(env), 'secrets.json')

/** Reads the secrets, and generates the missing ones. */
export async function keepSecrets(env: DataDirEnv): Promise<Secrets> {
  const file = secretsFile(env)
  await mkdir(dataDirectory(env), { recursive: true })
  const kept = await readSecrets(env)
  if (kept !== null && isComplete(kept)) return kept
  if (kept === null && existsSync(join(postgresDirectory(env), 'PG_VERSION'))) {
    throw new Error(
      `${file} is missing, and the data beside it needs it: restore it from your backup.`,
    )
  }
  const secrets = Object.fromEntries(
    SECRETS.map((name) => [name, kept?.[name] ?? randomBytes(32).toString('base64url')]),
  )
  const draft = `${file}.${randomUUID()}`
  await writeFile(draft, `${JSON.stringify(secrets, null, 2)}\n`, { mode: 0o600, flush: true })
  try {
    // A link does not replace: of two first starts one wins, and both continue with its secrets.
    await (kept === null ? link(draft, file) : rename(draft, file))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    await rm(draft, { force: true })
  }
  return keepSecrets(env)
}

const isComplete = (secrets: Partial<Secrets>): secrets is Secrets =>
  SECRETS.every((name) => secrets[name] !== undefined)

/** The secrets stored already; null if there is no file of them. */
export async function readSecrets(env: DataDirEnv): Promise<Partial<Secrets> | null> {
  const file = secretsFile(env)
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return null
    throw new Error(`Cannot read ${file} (${code}): it belongs to the user who created it.`)
  }
  try {
    const secrets = JSON.parse(text) as Record<string, unknown>
    const strings = SECRETS.filter(
      (name) => typeof secrets[name] === 'string' && secrets[name] !== '',
    )
    return Object.fromEntries(strings.map((name) => [name, secrets[name]]))
  } catch {
    throw new Error(`${file} is damaged: it does not hold a JSON object.`)
  }
}

/** The variables that point to an embedded server. */
export const embeddedEnv = (port: number, password: string) => ({
  DB_HOST: '127.0.0.1',
  DB_PORT: String(port),
  DB_NAME: EMBEDDED_DATABASE,
  DB_USER: SUPERUSER,
  DB_PASSWORD: password,
  DB_SSLMODE: 'disable',
})
