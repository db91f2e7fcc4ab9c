import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import { v7 as uuid } from 'uuid'
import { isProblem, PROBLEM } from './content-types.ts'
import { TOKEN_MESSAGE } from './edge.ts'
import { REQUEST_ID } from './request-id.ts'
import { deprecation } from './versions.ts'

/** What the gateway answers itself, with the words of the services where they would have refused too. */
const FAILURES = {
  malformed_request: [400, 'The request is malformed'],
  token_missing: [401, TOKEN_MESSAGE.token_missing],
  token_invalid: [401, TOKEN_MESSAGE.token_invalid],
  token_expired: [401, TOKEN_MESSAGE.token_expired],
  internal_only: [403, 'Only services of Tasktrail may call this'],
  route_not_found: [404, 'There is nothing at this path'],
  service_unavailable: [503, 'Service unavailable'],
} as const satisfies Record<string, readonly [status: number, message: string]>

export type GatewayFailure = keyof typeof FAILURES

/** `path` has no query. */
export function answer(
  { headers }: IncomingMessage,
  res: ServerResponse,
  path: string,
  code: GatewayFailure,
): void {
  const [status, message] = FAILURES[code]
  const sent = String(headers['x-request-id'] ?? '')
  const request_id = REQUEST_ID.test(sent) ? sent : uuid()
  const title = STATUS_CODES[status]
  const asProblem = isProblem(headers.accept ?? '')
  const body = asProblem
    ? { type: 'about:blank', title, status, detail: message, instance: path, code, request_id }
    : { error: title, message, code, request_id }
  const text = JSON.stringify(body)
  const deprecated = deprecation(path)
  if (deprecated !== null) {
    res.setHeader('Deprecation', deprecated.since)
    res.setHeader('Link', deprecated.link)
  }
  if (status === 401) res.setHeader('WWW-Authenticate', 'Bearer')
  if (status === 503) res.setHeader('Retry-After', '1')
  res.appendHeader('Vary', 'Accept')
  res
    .writeHead(status, {
      'Content-Type': asProblem ? PROBLEM : 'application/json',
      'Content-Length': Buffer.byteLength(text),
      'Cache-Control': 'no-store',
      'X-Request-Id': request_id,
    })
    .end(text)
}
