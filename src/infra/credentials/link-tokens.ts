import { createHash, randomBytes } from 'node:crypto'

/** The secret of a link: 256 random bits in base64url, so nothing slow need hide it. */
export const newLinkToken = (): string => randomBytes(32).toString('base64url')

/** What is stored of it. */
export const hashOfLink = (token: string): Buffer => createHash('sha256').update(token).digest()
