import { hkdfSync } from 'node:crypto'
import { logSigner, type NoteSigner, witnessSigner } from '../../transparency-log/keys.ts'

/** Signs a log's checkpoints with a key that is derived from a secret of the environment. */
export const secretLogSigner = (origin: string, secret: string): NoteSigner =>
  logSigner(origin, seed(secret, 'tasktrail log'))

/** Cosigns checkpoints with such a key. `now`: milliseconds since 1970. */
export const secretWitnessSigner = (name: string, secret: string, now: () => number): NoteSigner =>
  witnessSigner(name, seed(secret, 'tasktrail witness'), now)

const seed = (secret: string, use: string): Buffer =>
  Buffer.from(hkdfSync('sha256', secret, '', use, 32))
