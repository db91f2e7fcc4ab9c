import { commandLine } from './command-line.ts'
import { findDatabase, keptSecret } from './find-database.ts'
import { verifyLog } from './infra/postgres/audit/audit-verification.ts'
import { secretSealSigner } from './infra/postgres/audit/seal-signer.ts'
import type { RecordsReport } from './infra/postgres/audit/sealed-records.ts'
import type { DatabaseConfig } from './infra/postgres/connection/database.ts'
import { singleConnection } from './infra/postgres/connection/database.ts'
import { requireReachable } from './infra/postgres/connection/reachable.ts'
import { Unreadable } from './verifier/failures.ts'
import { readKey, type SealKey } from './verifier/formats.ts'
import { KEY_OPTIONS, type NamedKeys, readKeys } from './verifier/named-keys.ts'
import { conclude, describe } from './verifier/report.ts'

const ROLE = 'tasktrail_auditor'
const USAGE = `Usage: npm run audit:verify [-- --key <public.pem>]... [--seal <number>:<hash>]...

Checks every event, every seal, and the records of accesses and security events in the database. Without
--key it takes LOG_KEY from the environment, or else from DATA_DIR; if several keys have signed, name them
all. Each seal given with --seal, as an earlier report printed it, must be in the database.

Exit code: 0 nothing is broken, 1 something is broken, 2 it cannot be checked.`

async function run(given: NamedKeys) {
  const { keys: named, kept } = await readKeys(given)
  const keys = named.length > 0 ? named : [await ownKey()]
  const config = await findDatabase(process.env)
  await requireReachable(config)
  const client = await connect(config)
  try {
    // One snapshot of everything; writers are not blocked.
    await client.query('begin isolation level repeatable read read only')
    // Only the real tables: no copies in a schema named like the role, and no rows hidden by a policy.
    await client.query('set local search_path = public, pg_temp; set local row_security = off')
    const report = await verifyLog(
      async (statement, values) => (await client.query({ ...statement, values: [...values] })).rows,
      keys,
      kept,
    )
    // Unsealed events are no reason to doubt a database: the report counts them.
    return { says: [...describe(report), ...describeRecords(report.records)], notProven: [] }
  } catch (error) {
    throw (error as { code?: unknown }).code === '42P01'
      ? new Unreadable('The database holds no tables of Tasktrail yet: run "npm run migrate".')
      : error
  } finally {
    await client.end()
  }
}

const describeRecords = (records: RecordsReport): readonly string[] =>
  Object.entries(records).map(
    ([table, { sealed, unsealed, removed }]) =>
      `Of ${table} sealed: ${sealed}; not proven by a seal: ${unsealed}; removed when they expired: ${removed}.`,
  )

async function ownKey(): Promise<SealKey> {
  const secret = await keptSecret(process.env, 'LOG_KEY')
  if (secret !== undefined) return readKey(secretSealSigner(secret).publicKey)
  throw new Unreadable(
    'No key: name the file of the public key with --key, or set LOG_KEY or DATA_DIR.',
  )
}

/** With an auditor's rights, or with the login's own if it may not take that role. */
async function connect({ connection }: DatabaseConfig) {
  const as = async (role: string) => {
    const client = singleConnection(connection, role)
    // The connection may be lost; the statement then fails and reports it.
    client.on('error', () => {})
    await client.connect()
    return client
  }
  return as(ROLE).catch((error: { readonly code?: unknown }) => {
    // Not a member of the role, or the role does not exist.
    if (!['42501', '22023'].includes(String(error.code))) throw error
    return as('none')
  })
}

const { values } = commandLine({ usage: USAGE, options: KEY_OPTIONS })
process.exitCode = await conclude(() => run(values))
