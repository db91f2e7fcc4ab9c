import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { commandLine } from './command-line.ts'
import { namesDatabase, originOf } from './config.ts'
import { findDatabase, keptSecret } from './find-database.ts'
import { secretLogSigner } from './infra/credentials/note-signers.ts'
import { dataDirectory } from './infra/local/data-dir.ts'
import type { DatabaseConfig } from './infra/postgres/connection/database.ts'
import { singleConnection } from './infra/postgres/connection/database.ts'
import { requireReachable } from './infra/postgres/connection/reachable.ts'
import type { RecordsReport } from './infra/postgres/transparency-log/logged-records.ts'
import { type LogReport, verifyLog } from './infra/postgres/transparency-log/verification.ts'
import type { VerifierKey } from './transparency-log/keys.ts'
import { openCheckpoint, type SignedCheckpoint } from './verifier/checkpoints.ts'
import { readKept } from './verifier/extends.ts'
import { Unreadable } from './verifier/failures.ts'
import { conclude, describe, describeLog, lackingIn } from './verifier/report.ts'
import { readTrust, TRUST_OPTIONS, type Trust } from './verifier/trust.ts'

const ROLE = 'tasktrail_auditor'
const USAGE = `Usage: npm run audit:verify [-- options]

Checks the log in the database: its checkpoint and tiles, the events and chains, and the records of accesses and
security events. The first time it checks everything, and keeps the checkpoint in a file; from then on it checks
what has been added, and that the log extends what was kept.

  --full              checks everything again
  --kept <file>       where the last checkpoint is kept: verified-checkpoint in DATA_DIR, or for a database that
                      the environment names, nowhere, so that everything is checked each time
  --extends <file>    another checkpoint, proof or export that the log must extend; can be repeated
  --key <key>         a verifier key of the log, or a file with one a line; repeat it for older keys. Without it:
                      that of LOG_KEY and LOG_ORIGIN, from the environment or DATA_DIR
  --witness <key>     a verifier key of a witness that must have cosigned what is published; repeat it for each
  --quorum <number>   how many of the witnesses must have cosigned, if not all

Exit code: 0 nothing is broken, 1 something is broken, 2 it cannot be checked, 3 nothing is broken, but a witness
is missing.`

const { values } = commandLine({
  usage: USAGE,
  options: {
    ...TRUST_OPTIONS,
    full: { type: 'boolean' },
    kept: { type: 'string' },
    extends: { type: 'string', multiple: true },
  },
})
/** Another database than that of DATA_DIR would not extend what was kept of that one. */
const isOfDataDir = !!process.env.DATA_DIR || !namesDatabase(process.env)
const keptFile =
  values.kept ?? (isOfDataDir ? join(dataDirectory(process.env), 'verified-checkpoint') : null)

async function run() {
  const given = await readTrust(values)
  const trust = given.keys.length > 0 ? given : { ...given, keys: [await ownKey()] }
  const last = await lastVerified(trust)
  const others = await Promise.all((values.extends ?? []).map((file) => readKept(file, trust)))
  const older = others.map(({ log }) => log)
  const kept = last === null || !values.full ? older : [last, ...older]
  const since = values.full ? undefined : (last ?? undefined)
  const report = await verified({ trust, kept, since })
  const said = report.checkpoint === null ? [] : await keep(report.checkpoint.note)
  const notProven = report.published === null ? [] : lackingIn(report.published)
  return { says: [...describe(report), ...describeReport(report), ...said], notProven }
}

async function verified(options: Parameters<typeof verifyLog>[1]): Promise<LogReport> {
  const config = await findDatabase(process.env)
  await requireReachable(config)
  const client = await connect(config)
  try {
    // One snapshot of everything; writers are not blocked.
    await client.query('begin isolation level repeatable read read only')
    // Only the real tables: no copies in a schema named like the role, and no rows hidden by a policy.
    await client.query('set local search_path = public, pg_temp; set local row_security = off')
    return await verifyLog(
      async (statement, values) => (await client.query({ ...statement, values: [...values] })).rows,
      options,
    )
  } catch (error) {
    throw (error as { code?: unknown }).code === '42P01'
      ? new Unreadable('The database holds no tables of Tasktrail yet: run "npm run migrate".')
      : error
  } finally {
    await client.end()
  }
}

/** The checkpoint that the last run kept; null: none has yet. */
async function lastVerified(trust: Trust): Promise<SignedCheckpoint | null> {
  if (keptFile === null) return null
  const note = await readFile(keptFile, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null
    throw new Unreadable(`${keptFile} cannot be read (${error.code}).`)
  })
  if (note === null) return null
  return openCheckpoint(note, { ...trust, witnesses: [], quorum: 0 }, `What ${keptFile} holds`)
}

/** Whole or not at all. Returns what there is to say of it. */
async function keep(note: string): Promise<readonly string[]> {
  if (keptFile === null) return []
  try {
    await writeFile(`${keptFile}.new`, note)
    await rename(`${keptFile}.new`, keptFile)
    return []
  } catch (error) {
    const why = `${keptFile} cannot be written (${(error as NodeJS.ErrnoException).code})`
    if (values.kept !== undefined) throw new Unreadable(`Nothing is broken, but ${why}.`)
    return [`${why}: the next run will check everything again.`]
  }
}

function describeReport({ checkpoint, size, before, unlogged, records }: LogReport) {
  const found = Object.entries(records as RecordsReport).map(
    ([table, { logged, unlogged, removed }]) =>
      `Of ${table} in the log: ${logged}; not yet: ${unlogged}; removed when they expired: ${removed}.`,
  )
  return [
    ...(checkpoint === null ? ['Nothing has been signed yet.'] : describeLog(checkpoint.log)),
    `Verified: ${size - before} of ${size} leaves${before > 0 ? '; the others were before' : ''}. ` +
      `Events that are not in the log yet: ${unlogged}.`,
    ...found,
  ]
}

async function ownKey(): Promise<VerifierKey> {
  const secret = await keptSecret(process.env, 'LOG_KEY')
  if (secret !== undefined) return secretLogSigner(originOf(process.env), secret).key
  throw new Unreadable('No key: name it with --key, or set LOG_KEY or DATA_DIR.')
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

process.exitCode = await conclude(run)
