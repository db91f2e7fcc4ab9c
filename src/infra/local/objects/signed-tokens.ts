import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'

/** Facts as one word of a URL or a form, which nobody without the secret can make or change. */
export type SignedTokens<Facts> = {
  readonly sign: (facts: Facts) => string
  /** Null: it was not signed for this purpose, or it was changed. */
  readonly verify: (token: string) => Facts | null
}

/** What is signed for one purpose does not count for another. */
export function signedTokens<Facts>(secret: string, purpose: string): SignedTokens<Facts> {
  const key = Buffer.from(hkdfSync('sha256', secret, '', `tasktrail objects: ${purpose}`, 32))
  const signatureOf = (text: string) => createHmac('sha256', key).update(text).digest('base64url')
  return {
    sign(facts) {
      const text = Buffer.from(JSON.stringify(facts)).toString('base64url')
      return `${text}.${signatureOf(text)}`
    },
    verify(token) {
      const [text = '', signature = '', ...more] = token.split('.')
      // Compared as text: base64url can write the same bytes in several ways.
      const [given, right] = [Buffer.from(signature), Buffer.from(signatureOf(text))]
      if (more.length > 0 || given.length !== right.length || !timingSafeEqual(given, right)) {
        return null
      }
      return JSON.parse(Buffer.from(text, 'base64url').toString()) as Facts
    },
  }
}
