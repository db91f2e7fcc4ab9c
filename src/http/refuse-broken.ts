import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'

/** Long enough for a client to read the answer; a client that keeps the connection open is cut off then. */
const LINGER_MS = 1_000

const MALFORMED = [400, 'malformed_request', 'The request is malformed'] as const
const BROKEN: Readonly<Record<string, readonly [status: number, code: string, message: string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'headers_too_large', 'The headers are too large'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'request_timeout', 'The request did not arrive in time'],
}

/** Bytes that are not an HTTP request: there is only a socket to answer, so the answer is written here. */
export const refuseBroken =
  (newId: () => string) =>
  (error: NodeJS.ErrnoException, socket: Duplex): void => {
    // An answer may be on its way: a reset, because of what still arrives, would destroy it.
    if (error.code === 'ECONNRESET' || !socket.writable) return
    const [status, code, message] = BROKEN[error.code ?? ''] ?? MALFORMED
    const reason = STATUS_CODES[status]
    const request_id = newId()
    const body = JSON.stringify({ error: reason, message, code, request_id })
    socket.end(
      `HTTP/1.1 ${status} ${reason}\r\nConnection: close\r\nContent-Type: application/json\r\n` +
        `X-Request-Id: ${request_id}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    )
    // For a Node server, a connection lives until the client has closed its half too.
    setTimeout(() => socket.destroy(), LINGER_MS).unref()
  }
