import { command } from './command-line.ts'
import { witnessNameOf } from './config.ts'
import { secretWitnessSigner } from './infra/credentials/note-signers.ts'

const USAGE = `Usage: npm run -s witness:key > witness.key

Prints the verifier key of the witness, which its cosignatures are checked with. Takes WITNESS_KEY and the
name of the witness, WITNESS_NAME, from the environment.`

await command({ usage: USAGE }, () => {
  const secret = process.env.WITNESS_KEY ?? ''
  if (secret.length < 32) throw new Error('WITNESS_KEY must be set, to at least 32 characters.')
  return [secretWitnessSigner(witnessNameOf(process.env), secret, Date.now).key.text]
})
