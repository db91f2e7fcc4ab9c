// `npm run -s audit:public-key > public.pem`: what others check seals and exports with.
import { keptSecret } from './find-database.ts'
import { secretSealSigner } from './infra/postgres/audit/seal-signer.ts'

const secret = await keptSecret(process.env, 'SEAL_KEY')
if (secret === undefined) {
  console.error('No SEAL_KEY: set it, or set DATA_DIR to where "npm start" keeps its data.')
  process.exitCode = 1
} else if (secret.length < 32) {
  console.error('SEAL_KEY must be at least 32 characters long.')
  process.exitCode = 1
} else process.stdout.write(secretSealSigner(secret).publicKey)
