import { command, UsageError } from './command-line.ts'
import { databaseFailure, withDatabase } from './find-database.ts'
import { singleConnection } from './infra/postgres/connection/database.ts'
import { requireReachable } from './infra/postgres/connection/reachable.ts'
import { forgetKey, keptFingerprints } from './infra/postgres/keys/required-key.ts'
import type { Query } from './infra/postgres/projections/projection.ts'

const NAMES = ['PASSWORD_PEPPER', 'TEXT_KEY', 'LOG_KEY']

const USAGE = `Usage: npm run keys                    prints the fingerprints of the keys that the data needs
       npm run keys -- forget <NAME>   accepts whichever key the next process starts with

NAME is ${NAMES.join(', ')}. Forget a key to replace LOG_KEY, or to give up what a lost key protects.`

async function run([what, name = '', ...more]: readonly string[]): Promise<readonly string[]> {
  if (what !== undefined && what !== 'forget')
    throw new UsageError(`There is no "${what}": use forget.`)
  if (what === 'forget' && !NAMES.includes(name)) {
    throw new UsageError(`There is no key "${name}": use ${NAMES.join(', ')}.`)
  }
  if (more[0] !== undefined) throw new UsageError(`Unexpected argument '${more[0]}'.`)
  return withDatabase(process.env, async (config) => {
    await requireReachable(config)
    const client = singleConnection(config.connection, 'none')
    await client.connect()
    const query: Query = async (statement, values) =>
      (await client.query({ ...statement, values: [...values] })).rows
    try {
      if (what === 'forget') await forgetKey(query, name)
      const kept = await keptFingerprints(query)
      return kept.map(
        ({ name, fingerprint, since }) =>
          `${name.padEnd(16)} ${fingerprint ?? 'forgotten'} since ${since}`,
      )
    } finally {
      await client.end()
    }
  })
}

await command({ usage: USAGE, takes: [0, 2] }, ({ args }) => run(args), databaseFailure)
