import { readdir } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import knex, { type Knex } from 'knex'
import pg from 'pg'
import type { DatabaseConfig } from './database.ts'

export type Migrations = {
  /** Runs the pending migrations, all or nothing; returns their names. */
  readonly latest: () => Promise<readonly string[]>
  /**
   * The names of what a newer version has run beyond what this one knows. `latest` then finds nothing to
   * do: the previous version still works after a migration.
   */
  readonly newer: () => Promise<readonly string[]>
  /**
   * Rolls back the last migration, if nobody else is connected; returns its name, or null if there is none.
   * If it would destroy events, users or keys, only with `destroyTheLog`.
   */
  readonly rollback: (destroyTheLog: boolean) => Promise<string | null>
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

/** knex calls a schema corrupt if its history names files that are missing here. */
const UNCHECKED = { disableMigrationsListValidation: true }

// A migration may rewrite a table; a service's limits would stop it halfway, every time.
const LIMITS = {
  connectionTimeoutMillis: 5_000,
  statement_timeout: 600_000,
  lock_timeout: 30_000,
  idle_in_transaction_session_timeout: 600_000,
}

/** What cannot be restored once it is dropped; everything else follows from the log. */
export const IRREPLACEABLE = [
  'events',
  'streams',
  'users',
  'former_passwords',
  'user_keys',
  'factors',
  'identities',
  'recovery_codes',
  'photos',
  'log_tiles',
  'security_events',
  'audit_accesses',
] as const

// Only the server's own processes have no user; RDS uses one of its own.
const OTHERS = `
  select coalesce(nullif(application_name, ''), usename) as name, count(*)::int as sessions
  from pg_stat_activity
  where datname = current_database() and usename <> 'rdsadmin' and pid not in (pg_backend_pid(), ?)
  group by 1 order by 1`

// Whoever is in a database can hold its advisory locks, whatever his rights, and with them hold up every
// reader of the log. So only our roles are let in. With each run, because a restore forgets it; another's
// database is left as it is.
const LET_IN_ONLY_OURS = `
  do $$
  begin
    if pg_has_role((select datdba from pg_database where datname = current_database()), 'usage') then
      execute format('revoke connect on database %I from public', current_database());
      execute format('grant connect on database %I to tasktrail_auth, tasktrail_task,
        tasktrail_worker, tasktrail_auditor', current_database());
    end if;
  end
  $$`

/** Sessions end a moment after their clients. */
const LEAVING_MS = 3_000

/** The schema's history. Any method fails with the database's own error. */
export function migrations(config: DatabaseConfig): Migrations {
  const connection = { application_name: 'tasktrail_migration', ...config.connection, ...LIMITS }
  const db = knex({ client: 'pg', connection, pool: { min: 0, max: 2 }, migrations: options })

  /** Runs one migration at a time in this database; others wait, and find it done. */
  const alone = async <T>(run: (pid: number) => Promise<T>): Promise<T> => {
    const client = new pg.Client(connection)
    // The connection may be lost; the run itself then fails and says so.
    client.on('error', () => {})
    await client.connect()
    try {
      // As long as it takes: another run has the limits above.
      await client.query("set lock_timeout = 0; set statement_timeout = '30min'")
      const { rows } = await client.query(
        'select pg_advisory_lock(7455, 2), pg_backend_pid() as pid',
      )
      // Nobody else runs, so knex's own mark can only be left from a run that was killed.
      await db.migrate.forceFreeMigrationsLock()
      return await run(rows[0].pid)
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
    latest: () =>
      alone(async () => {
        if (await isBehind()) return []
        const [, names] = await db.migrate.latest()
        await db.raw(LET_IN_ONLY_OURS)
        return names
      }),
    newer,
    rollback: (destroyTheLog) =>
      alone(async (own) => {
        if (await isBehind()) {
          throw new Error(
            'A newer version has migrated this schema: only that one can roll it back.',
          )
        }
        await requireNobodyElse(db, own)
        return db.transaction(async (trx) => {
          const before = await filledTables(trx)
          const [, [name = null]] = await trx.migrate.down()
          const after = await filledTables(trx)
          const lost = before.filter((table) => !after.includes(table))
          if (lost.length > 0 && !destroyTheLog) {
            throw new Error(
              `Rolling back ${name} would destroy ${lost.join(', ')}: make a backup first, and ` +
                'confirm with --destroy-the-log.',
            )
          }
          return name
        })
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

/** The tables of `IRREPLACEABLE` that exist and hold something. */
async function filledTables(db: Knex): Promise<readonly string[]> {
  const filled: string[] = []
  for (const table of IRREPLACEABLE) {
    if ((await db.schema.hasTable(table)) && (await db(table).first(db.raw('1'))))
      filled.push(table)
  }
  return filled
}

type Session = { readonly name: string; readonly sessions: number }

/** Fails while anyone is connected except this session and the one with the pid `own`. */
async function requireNobodyElse(db: Knex, own: number): Promise<void> {
  const patience = Date.now() + LEAVING_MS
  for (;;) {
    const { rows: others } = await db.raw<{ rows: readonly Session[] }>(OTHERS, [own])
    if (others.length === 0) return
    if (Date.now() > patience) {
      const who = others.map(({ name, sessions }) => `${name} (${sessions})`).join(', ')
      throw new Error(
        `Connected to this database: ${who}. Stop the services and whatever else uses it: no ` +
          'migration is rolled back under them.',
      )
    }
    await sleep(100)
  }
}

/** Writes an empty migration and returns its path; needs no database. */
export const makeMigration = (name: string, directory = DIRECTORY): Promise<string> =>
  knex({ client: 'pg', migrations: { ...options, directory } }).migrate.make(name)
