// `npm run migrate`, `migrate:status`, `migrate:rollback`, `migrate:logins`, `migrate:make -- <name>`.
import { relative } from 'node:path'
import { logins } from './config.ts'
import { findDatabase } from './infra/data-dir.ts'
import { setLogins } from './infra/postgres/logins.ts'
import { type Migrations, makeMigration, migrations } from './infra/postgres/migrations.ts'
import { requireReachable } from './infra/postgres/reachable.ts'

const COMMANDS: Readonly<Record<string, (schema: Migrations) => Promise<readonly string[]>>> = {
  latest: async ({ latest }) => {
    const names = await latest()
    return names.length === 0 ? ['Nothing to migrate.'] : names.map((name) => `Migrated ${name}`)
  },
  // Nothing of the schema: after a way back to an older version it is not that version's, which `latest`
  // refuses, and a password may have to be replaced all the same.
  logins: async () => [],
  rollback: async ({ rollback }) => {
    const names = await rollback()
    return names.length === 0
      ? ['Nothing to roll back.']
      : names.map((name) => `Rolled back ${name}`)
  },
  status: async ({ status }) => {
    const { completed, pending } = await status()
    return [
      ...completed.map((name) => `done     ${name}`),
      ...pending.map((name) => `pending  ${name}`),
    ]
  },
}

async function make(name: string | undefined): Promise<readonly string[]> {
  if (name === undefined || !/^[a-z0-9][a-z0-9_]*$/.test(name)) {
    throw new Error('Name the migration in lower_case_words: npm run migrate:make -- add_labels')
  }
  return [`Created ${relative(process.cwd(), await makeMigration(name))}`]
}

async function run([command = 'latest', name]: readonly string[]): Promise<readonly string[]> {
  if (command === 'make') return make(name)
  const work = COMMANDS[command]
  if (work === undefined) {
    throw new Error(`There is no "${command}": use latest, logins, status, rollback or make.`)
  }
  const config = await findDatabase(process.env)
  await requireReachable(config)
  const wanted = ['latest', 'logins'].includes(command) ? logins(process.env) : []
  if (command === 'logins' && wanted.length === 0) {
    throw new Error('No login is named: set AUTH_DB_USER and AUTH_DB_PASSWORD, TASK_… or WORKER_….')
  }
  const schema = migrations(config)
  const lines = await work(schema).finally(schema.close)
  await setLogins(config, wanted)
  return [...lines, ...wanted.map(({ user, role }) => `${user} may log in, as ${role}`)]
}

try {
  for (const line of await run(process.argv.slice(2))) console.log(line)
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
