import {
  secretLogSigner,
  secretWitnessSigner,
} from '../../../src/infra/credentials/note-signers.ts'

const SECRET = 's'.repeat(64)

/** Verifier keys as the first deployment of an environment could have made them. */
export const verifierKeysOf = (origin: string, witness: string) => ({
  verifierKey: secretLogSigner(origin, SECRET).key.text,
  witnessVerifierKey: secretWitnessSigner(witness, SECRET, Date.now).key.text,
})

export const PROD_LOG = verifierKeysOf('prod.tasktrail.local/log', 'prod.tasktrail.local/witness')
