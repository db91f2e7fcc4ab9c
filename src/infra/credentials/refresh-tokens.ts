import { createHmac, hash, randomBytes } from 'node:crypto'
import type { RefreshTokens } from '../../app/ports/accounts.ts'

const BYTES = 32

/**
 * Random tokens. The one after a token follows from it and a nonce, so that whoever presents a token twice gets the
 * same answer, though no token is stored: the nonce alone, without the token, leads nowhere, and neither does the
 * token without the nonce.
 */
export const refreshTokens: RefreshTokens = {
  first: () => randomBytes(BYTES).toString('base64url'),
  nonce: () => randomBytes(BYTES),
  next: (token, nonce) => createHmac('sha256', nonce).update(token).digest('base64url'),
  hash: (token) => hash('sha256', token, 'buffer'),
}
