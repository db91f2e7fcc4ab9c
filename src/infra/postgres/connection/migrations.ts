import { readdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import knex from 'knex'
import pg from 'pg'
import type { DatabaseConfig } from './database.ts'

export type Migrations = {
  /** Runs what has not been run, all or nothing; the names of what it ran. */
  readonly latest: () => Promise<readonly string[]>
  /**
   * The names of what a newer version has run on top of all that this one knows. `latest` then finds
   * nothing to do: a migration leaves the version before able to work.
   */
  readonly newer: () => Promise<readonly string[]>
  /** Takes back what the last `latest` ran; the names of what it took back. */
  readonly rollback: () => Promise<readonly string[]>
  readonly status: () => Promise<{
    readonly completed: readonly string[]
    readonly pending: readonly string[]
  }>
  readonly close: () => Promise<void>
}

const DIRECTORY = fileURLToPath(new URL('../../../../db/migrations', import.meta.url))
const TEMPLATE = fileURLToPath(new URL('../../../../db/migration.template', import.meta.url))

const options = {
  directory: DIRECTORY,
  extension: 'ts',
  loadExtensions: ['.ts'],
  stub: TEMPLATE,
}

/** knex calls a schema corrupt whose history names files that are not here. */
const UNCHECKED = { disableMigrationsListValidation: true }

// A migration may rewrite a table; a service's limits would stop it half way, every time.
const LIMITS = {
  connectionTimeoutMillis: 5_000,
  statement_timeout: 600_000,
  lock_timeout: 30_000,
  idle_in_transaction_session_timeout: 600_000,
}

/** The schema's history. Any method fails with the database's own error. */
export function migrations(config: DatabaseConfig): Migrations {
  const connection = { ...config.connection, ...LIMITS }
  const db = knex({ client: 'pg', connection, pool: { min: 0, max: 2 }, migrations: options })

  /** One migration run at a time in this database; the others wait for it and find it done. */
  const alone = async <T>(run: () => Promise<T>): Promise<T> => {
    const client = new pg.Client(connection)
    // The connection ends with the database; the run itself then fails and says so.
    client.on('error', () => {})
    await client.connect()
    try {
      // As long as it takes: another run has the limits above.
      await client.query("set lock_timeout = 0; set statement_timeout = '30min'")
      await client.query('select pg_advisory_lock(7455, 2)')
      // Nobody else runs, so knex's own mark can only be left over from a run that was killed.
      await db.migrate.forceFreeMigrationsLock()
      return await run()
    } finally {
      await client.end()
    }
  }

  const newer = async (): Promise<readonly string[]> => {
    const known = (await readdir(DIRECTORY)).sort()
    const [completed] = await db.migrate.list(UNCHECKED)
    const done: string[] = completed.map(({ name }: { name: string }) => name).sort()
    return known.every((name, index) => name === done[index]) ? done.slice(known.length) : []
  }
  const isBehind = async () => (await newer()).length > 0

  return {
    latest: () => alone(async () => ((await isBehind()) ? [] : (await db.migrate.latest())[1])),
    newer,
    rollback: () =>
      alone(async () => {
        if (await isBehind()) {
          throw new Error(
            'A newer version has migrated this schema: only that one can take it back.',
          )
        }
        return (await db.migrate.rollback())[1]
      }),
    status: async () => {
      const [completed, pending] = await db.migrate.list((await isBehind()) ? UNCHECKED : {})
      return {
        completed: completed.map(({ name }: { name: string }) => name),
        pending: pending.map(({ file }: { file: string }) => file),
      }
    },
    close: () => db.destroy(),
  }
}

/** Writes an empty migration and returns its path; needs no database. */
export const makeMigration = (name: string, directory = DIRECTORY): Promise<string> =>
  knex({ client: 'pg', migrations: { ...options, directory } }).migrate.make(name)
