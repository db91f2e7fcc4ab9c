import type { IncomingMessage, ServerResponse } from 'node:http'

/** Headers of answers that a page may read, beside those that it always may. */
const EXPOSED = [
  'Allow',
  'Audit-Incomplete',
  'Audit-Position',
  'Content-Disposition',
  'Deprecation',
  'ETag',
  'Idempotent-Replayed',
  'Link',
  'Location',
  'RateLimit',
  'RateLimit-Policy',
  'Retry-After',
  'WWW-Authenticate',
  'X-Request-Id',
].join(', ')

const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE'

const HEADERS = [
  'Accept',
  'Authorization',
  'Content-Type',
  'Idempotency-Key',
  'If-Match',
  'If-None-Match',
  'Last-Event-ID',
  'X-Request-Id',
].join(', ')

/** A sign-in with another provider is bound to its browser by a cookie (sign-in-with.ts), which comes only by these. */
const WITH_COOKIE = /^(\/v1)?\/auth\/(providers|me\/identities)\/[^/]+\/(start|callback)$/

/** Seconds for which a browser need not ask again. */
const MAX_AGE = '3600'

/** True: that was a preflight, and all that is left to do is to answer it 204. */
export type Cors = (req: IncomingMessage, res: ServerResponse) => boolean

/**
 * Lets pages of these origins call us and read our answers (Fetch standard). To all others the answers are as
 * without it. A page sends its token itself; cookies come along only where one binds a sign-in to its browser.
 */
export function cors(origins: readonly string[]): Cors {
  const known = new Set(origins)
  if (known.size === 0) return () => false
  return ({ method, headers, url = '' }, res) => {
    res.setHeader('Vary', 'Origin')
    const { origin } = headers
    if (origin === undefined || !known.has(origin)) return false
    res.setHeader('Access-Control-Allow-Origin', origin)
    if (WITH_COOKIE.test(url.replace(/\?.*/s, ''))) {
      res.setHeader('Access-Control-Allow-Credentials', 'true')
    }
    if (method === 'OPTIONS' && headers['access-control-request-method'] !== undefined) {
      res.setHeader('Access-Control-Allow-Methods', METHODS)
      res.setHeader('Access-Control-Allow-Headers', HEADERS)
      res.setHeader('Access-Control-Max-Age', MAX_AGE)
      return true
    }
    res.setHeader('Access-Control-Expose-Headers', EXPOSED)
    return false
  }
}
