import { command } from './command-line.ts'
import { keptSecret } from './find-database.ts'
import { secretSealSigner } from './infra/postgres/audit/seal-signer.ts'

const USAGE = `Usage: npm run -s audit:public-key > public.pem

Prints the public key that seals and exports are checked with. Takes LOG_KEY from the environment, or
else from DATA_DIR.`

await command({ usage: USAGE }, async () => {
  const secret = await keptSecret(process.env, 'LOG_KEY')
  if (secret === undefined) {
    throw new Error('No LOG_KEY: set it, or set DATA_DIR to where "npm start" keeps its data.')
  }
  if (secret.length < 32) throw new Error('LOG_KEY must be at least 32 characters long.')
  return [secretSealSigner(secret).publicKey.trimEnd()]
})
