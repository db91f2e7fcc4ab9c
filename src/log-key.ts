import { command } from './command-line.ts'
import { originOf } from './config.ts'
import { keptSecret } from './find-database.ts'
import { secretLogSigner } from './infra/credentials/note-signers.ts'

const USAGE = `Usage: npm run -s log:key > log.key

Prints the verifier key of the log, which exports and proofs are checked with. Takes LOG_KEY from the
environment, or else from DATA_DIR, and the name of the log from LOG_ORIGIN.`

await command({ usage: USAGE }, async () => {
  const secret = await keptSecret(process.env, 'LOG_KEY')
  if (secret === undefined) {
    throw new Error('No LOG_KEY: set it, or set DATA_DIR to where "npm start" keeps its data.')
  }
  if (secret.length < 32) throw new Error('LOG_KEY must be at least 32 characters long.')
  return [secretLogSigner(originOf(process.env), secret).key.text]
})
