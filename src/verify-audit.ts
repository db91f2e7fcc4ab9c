#!/usr/bin/env node
/**
 * Checks an export of the audit trail (NDJSON), offline:
 *
 *   node verify-audit.mjs export.ndjson --key public.pem [--key older.pem] [--seal number:hash]
 *
 * It needs only Node 20 or newer. It trusts only the public keys, and the seals that were kept elsewhere.
 * It recomputes each event's hash, follows each chain, decrypts each text with the key beside it and
 * compares it, and checks each seal against its signature and the events. The trailer is not signed: it is
 * only compared with the rest. `npm run audit:verify` checks a database with the same functions.
 */
import { commandLine } from './command-line.ts'
import { verifyExport } from './verifier/export.ts'
import { Unreadable } from './verifier/failures.ts'
import { KEY_OPTIONS, readKeys } from './verifier/named-keys.ts'
import { conclude, describeExport, notProven } from './verifier/report.ts'

const USAGE = `Usage: node verify-audit.mjs <export.ndjson> --key <public.pem> [options]

Checks an export of the audit trail, offline: every event, chain, text and seal.

  --key <public.pem>        a public key that signed seals; repeat it for each older one
  --seal <number>:<hash>    a seal recorded elsewhere; the export must hold the same one
  -h, --help                prints this help

Exit code: 0 everything in the file is proven, 1 something is broken, 2 it cannot be checked, 3 nothing is
broken, but not everything is proven: each unproven event is named, such as those that no seal covers yet.`

const { values, args } = commandLine({ usage: USAGE, options: KEY_OPTIONS, takes: [1, 1] })

process.exitCode = await conclude(async () => {
  const { keys, kept } = await readKeys(values)
  if (keys.length === 0) throw new Unreadable('No key: nothing can be proven without one (--key).')
  const report = await verifyExport(args[0] ?? '', keys, kept)
  return { says: describeExport(report), notProven: notProven(report) }
})
