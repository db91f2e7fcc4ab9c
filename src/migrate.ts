// `npm run migrate`, `migrate:status`, `migrate:rollback`, `migrate:make -- <name>`.
import { relative } from 'node:path'
import { logins } from './config.ts'
import { findDatabase } from './find-database.ts'
import { setLogins } from './infra/postgres/connection/logins.ts'
import {
  type Migrations,
  makeMigration,
  migrations,
} from './infra/postgres/connection/migrations.ts'
import { requireReachable } from './infra/postgres/connection/reachable.ts'

const COMMANDS: Readonly<Record<string, (schema: Migrations) => Promise<readonly string[]>>> = {
  latest: async ({ latest, newer }) => {
    const names = await latest()
    const later = await newer()
    if (later.length > 0) {
      return [
        `The schema is further than this version, by ${later.join(', ')}: nothing to migrate.`,
      ]
    }
    return names.length === 0 ? ['Nothing to migrate.'] : names.map((name) => `Migrated ${name}`)
  },
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
    throw new Error(`There is no "${command}": use latest, status, rollback or make.`)
  }
  const config = await findDatabase(process.env)
  await requireReachable(config)
  const wanted = command === 'latest' ? logins(process.env) : []
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
