#!/usr/bin/env node
/**
 * Checks an export of the audit trail (NDJSON), offline:
 *
 *   node verify-audit.mjs export.ndjson --key public.pem [--key older.pem] [--seal number:hash]
 *
 * It needs Node 20 or newer and nothing else, and trusts nothing but the public keys, and the seals that
 * were kept elsewhere. Each event's hash is computed anew, each chain followed, each text decrypted with
 * the key beside it and compared, and each seal held against its signature and against the events. The
 * trailer is not signed: what it says of the export is only held against the rest. `npm run audit:verify`
 * checks a database by the same functions.
 */
import { commandLine } from './command-line.ts'
import { verifyExport } from './verifier/export.ts'
import { Unreadable } from './verifier/failures.ts'
import { KEY_OPTIONS, readKeys } from './verifier/named-keys.ts'
import { conclude, describeExport, notProven } from './verifier/report.ts'

const USAGE = `Usage: node verify-audit.mjs <export.ndjson> --key <public.pem> [options]

Checks an export of the audit trail, offline: every event, chain, text and seal.

  --key <public.pem>        a public key that seals may be signed with; again for each older one
  --seal <number>:<hash>    a seal that somebody noted elsewhere, which must be the one in the export
  -h, --help                prints this

Ends with 0 when everything in the file is proven, 1 when something is broken, 2 when it cannot be
checked, and 3 when nothing is broken but not everything is proven: each event that is not is named, such
as those that no seal covers yet.`

const { values, args } = commandLine({ usage: USAGE, options: KEY_OPTIONS, takes: [1, 1] })

process.exitCode = await conclude(async () => {
  const { keys, kept } = await readKeys(values)
  if (keys.length === 0) throw new Unreadable('No key: nothing can be proven without one (--key).')
  const report = await verifyExport(args[0] ?? '', keys, kept)
  return { says: describeExport(report), notProven: notProven(report) }
})
