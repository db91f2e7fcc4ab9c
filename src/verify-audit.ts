#!/usr/bin/env node
/**
 * Checks an export of the audit trail (NDJSON), or the proof of one event, offline:
 *
 *   node verify-audit.mjs export.ndjson --key log.key [--witness witness.key] [--extends older.ndjson]
 *   node verify-audit.mjs event.tlog-proof --key log.key
 *
 * It needs only Node 20.12 or newer. It trusts only the keys that it is given. Of an export it recomputes each
 * event's hash, follows each chain, decrypts each text with the key beside it and compares it, and grows
 * the tree of the whole log (RFC 6962), whose root must be the one in the signed checkpoint. The trailer is
 * not signed: it is only compared with the rest. `npm run audit:verify` checks a database with the same
 * functions.
 */
import { commandLine } from './command-line.ts'
import { openCheckpoint } from './verifier/checkpoints.ts'
import { verifyExport } from './verifier/export.ts'
import { compare, readConsistency, readKept } from './verifier/extends.ts'
import { Unreadable } from './verifier/failures.ts'
import { kindOf, textIn } from './verifier/files.ts'
import { compareEvent, verifyProof } from './verifier/proof.ts'
import { verifyRecordsExport } from './verifier/records-export.ts'
import {
  type Conclusion,
  conclude,
  describeExport,
  describeLog,
  describeProof,
  describeRecords,
  lackingIn,
  notProven,
  notProvenOfRecords,
} from './verifier/report.ts'
import { readTrust, TRUST_OPTIONS, type Trust } from './verifier/trust.ts'

const USAGE = `Usage: node verify-audit.mjs <file> --key <key> [options]

Checks an export of the audit trail, offline: every event, chain and text, and that the log holds them. Or an
export of accesses or security events, a proof that the log holds one event (.tlog-proof), or a checkpoint.

  --key <key>             a verifier key of the log, or a file with one a line; repeat it for older keys
  --witness <key>         a verifier key of a witness that must have cosigned; repeat it for each
  --quorum <number>       how many of the witnesses must have cosigned, if not all
  --extends <file>        an older export, proof or checkpoint, of which this one must be a continuation
  --consistency <file>    the answer of GET /log/consistency, for what is not a whole export
  --event <file>          with a proof: the event, as a line of an export
  -h, --help              prints this help

Exit code: 0 everything in the file is proven, 1 something is broken, 2 it cannot be checked, 3 nothing is
broken, but not everything is proven: what is not is named, such as events that are not in the log yet.`

const { values, args } = commandLine({
  usage: USAGE,
  options: {
    ...TRUST_OPTIONS,
    extends: { type: 'string', multiple: true },
    consistency: { type: 'string', multiple: true },
    event: { type: 'string' },
  },
  takes: [1, 1],
})

process.exitCode = await conclude(async () => {
  const trust = await readTrust(values)
  if (trust.keys.length === 0) {
    throw new Unreadable('No key: nothing can be proven without one (--key).')
  }
  return check(args[0] ?? '', trust)
})

async function check(file: string, trust: Trust): Promise<Conclusion> {
  const kept = await Promise.all((values.extends ?? []).map((old) => readKept(old, trust)))
  const proofs = await Promise.all((values.consistency ?? []).map(readConsistency))
  const kind = await kindOf(file)
  if (values.event !== undefined && kind !== 'proof') {
    throw new Unreadable('--event goes only with a proof.')
  }
  if (kind === 'export') {
    const older = kept.map(({ log }) => log)
    const report = await verifyExport(file, trust, older)
    const conclusion = { says: describeExport(report), notProven: notProven(report) }
    return both(conclusion, compare(report.log, kept, report.roots, proofs))
  }
  if (kind === 'records') {
    const report = await verifyRecordsExport(
      file,
      trust,
      kept.map(({ log }) => log),
    )
    const conclusion = { says: describeRecords(report), notProven: notProvenOfRecords(report) }
    return both(conclusion, compare(report.log, kept, report.roots, proofs))
  }
  if (kind === 'proof') {
    const report = await verifyProof(file, trust)
    const unproven = values.event === undefined ? [] : await compareEvent(values.event, report)
    const open = [...lackingIn(report.log), ...unproven]
    const conclusion = { says: describeProof(report), notProven: open }
    return both(conclusion, compare(report.log, kept, new Map(), proofs))
  }
  const log = openCheckpoint(await textIn(file, 'The checkpoint'), trust)
  const conclusion = { says: describeLog(log), notProven: lackingIn(log) }
  return both(conclusion, compare(log, kept, new Map(), proofs))
}

function both(one: Conclusion, other: Conclusion): Conclusion {
  return {
    says: [...one.says, ...other.says],
    notProven: [...one.notProven, ...other.notProven],
  }
}
