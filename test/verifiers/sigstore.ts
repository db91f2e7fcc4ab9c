import type { TLogEntryWithInclusionProof } from '@sigstore/bundle'
import { LogCheckpoint, verifyCheckpoint } from '@sigstore/verify/dist/tlog/checkpoint.js'
import { verifyMerkleInclusion } from '@sigstore/verify/dist/tlog/merkle.js'
import { parseVerifierKey } from '../../src/transparency-log/keys.ts'
import {
  type CheckpointClaim,
  type Claim,
  type InclusionClaim,
  refused,
  type Verdict,
} from './claims.ts'

/** What npm's @sigstore/verify says: it checks checkpoints of logs, and inclusion. */
export function sigstore(claim: Claim): Verdict {
  const isLogs = claim.kind === 'checkpoint' && parseVerifierKey(claim.key)?.type === 1
  if (claim.kind === 'inclusion') return verdict(() => inclusion(claim))
  return isLogs ? verdict(() => checkpoint(claim)) : null
}

/** What it throws for a wrong proof; anything else is a fault. */
function verdict(check: () => string): Verdict {
  try {
    return check()
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'TLOG_INCLUSION_PROOF_ERROR') {
      return refused(error.message)
    }
    throw error
  }
}

function checkpoint({ note, key: text }: CheckpointClaim): string {
  const key = parseVerifierKey(text)
  if (!key) throw new Error(`Not a key: ${text}`)
  const validFor = { start: new Date(0), end: new Date() }
  const tlog = {
    logID: key.id,
    baseURL: `https://${key.name}`,
    publicKey: key.publicKey,
    validFor,
  }
  const { logSize, logHash } = verifyCheckpoint(entryWith({ note }), [tlog])
  return `ok ${logSize} ${logHash.toString('base64')}`
}

function inclusion({ index, size, root, entry, proof }: InclusionClaim): string {
  const claimed = new LogCheckpoint('log', BigInt(size), root, [])
  verifyMerkleInclusion(entryWith({ index, entry, proof }), claimed)
  return 'ok'
}

const EMPTY = Buffer.alloc(0)

function entryWith(parts: {
  readonly note?: Buffer
  readonly index?: number
  readonly entry?: Buffer
  readonly proof?: readonly Buffer[]
}): TLogEntryWithInclusionProof {
  const { note = EMPTY, index = 0, entry = EMPTY, proof = [] } = parts
  return {
    logIndex: String(index),
    logId: { keyId: EMPTY },
    kindVersion: { kind: '', version: '' },
    integratedTime: '0',
    inclusionPromise: undefined,
    canonicalizedBody: entry,
    inclusionProof: {
      logIndex: String(index),
      rootHash: EMPTY,
      treeSize: '0',
      hashes: [...proof],
      checkpoint: { envelope: note.toString('utf8') },
    },
  }
}
