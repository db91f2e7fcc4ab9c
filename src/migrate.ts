import { relative } from 'node:path'
import { command, type Given, UsageError } from './command-line.ts'
import { logins } from './config.ts'
import { withDatabase } from './find-database.ts'
import type { DatabaseConfig } from './infra/postgres/connection/database.ts'
import { setLogins } from './infra/postgres/connection/logins.ts'
import {
  type Migrations,
  makeMigration,
  migrations,
} from './infra/postgres/connection/migrations.ts'
import { requireReachable } from './infra/postgres/connection/reachable.ts'

const USAGE = `Usage: npm run migrate                runs the pending migrations
       npm run migrate:status         lists which have run and which are pending
       npm run migrate:rollback       rolls back the last one, if nothing else is connected
       npm run migrate:rollback -- --destroy-the-log
                                      even one that drops events, users or keys
       npm run migrate:make -- <name> creates an empty one

Uses the environment's database, or else the one that npm start keeps in DATA_DIR.`

const OPTIONS = { 'destroy-the-log': { type: 'boolean', default: false } } as const

type Command = (schema: Migrations, destroyTheLog: boolean) => Promise<readonly string[]>

const COMMANDS: Readonly<Record<string, Command>> = {
  latest: async ({ latest, newer }) => {
    const names = await latest()
    const later = await newer()
    if (later.length > 0) {
      return [`The schema is newer than this version (${later.join(', ')}): nothing to migrate.`]
    }
    return names.length === 0 ? ['Nothing to migrate.'] : names.map((name) => `Migrated ${name}`)
  },
  rollback: async ({ rollback }, destroyTheLog) => {
    const name = await rollback(destroyTheLog)
    return [name === null ? 'Nothing to roll back.' : `Rolled back ${name}`]
  },
  status: async ({ status }) => {
    const { completed, pending } = await status()
    return [
      ...completed.map((name) => `done     ${name}`),
      ...pending.map((name) => `pending  ${name}`),
    ]
  },
}

function make(names: readonly string[]): Promise<string> {
  const [name = ''] = names
  if (names.length > 1 || !/^[a-z0-9][a-z0-9_]*$/.test(name)) {
    throw new UsageError(
      'Name the migration in lower_case_words: npm run migrate:make -- add_labels.',
    )
  }
  return makeMigration(name)
}

async function migrate(
  config: DatabaseConfig,
  name: string,
  work: Command,
  destroyTheLog: boolean,
): Promise<readonly string[]> {
  await requireReachable(config)
  const wanted = name === 'latest' ? logins(process.env) : []
  const schema = migrations(config)
  const lines = await work(schema, destroyTheLog).finally(schema.close)
  await setLogins(config, wanted)
  return [...lines, ...wanted.map(({ user, role }) => `${user} may log in, as ${role}`)]
}

async function run({ args, values }: Given<typeof OPTIONS>): Promise<readonly string[]> {
  const [name = 'latest', ...more] = args
  const destroyTheLog = values['destroy-the-log']
  if (destroyTheLog && name !== 'rollback') {
    throw new UsageError(`${name} does not take --destroy-the-log.`)
  }
  if (name === 'make') return [`Created ${relative(process.cwd(), await make(more))}`]
  const work = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (work === undefined) {
    throw new UsageError(`There is no "${name}": use latest, status, rollback or make.`)
  }
  if (more[0] !== undefined) throw new UsageError(`Unexpected argument '${more[0]}'.`)
  return withDatabase(process.env, (config) => migrate(config, name, work, destroyTheLog))
}

await command({ usage: USAGE, options: OPTIONS, takes: [0, 2] }, run)
