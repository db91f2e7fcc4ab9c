import type { IncomingMessage, ServerResponse } from 'node:http'

/** A line of the edge's access log: of the local gateway's, and with the same names of API Gateway's on AWS. */
export type EdgeLine = {
  /** Milliseconds since 1970. */
  readonly time: number
  readonly request_id: string
  readonly ip: string
  readonly method: string
  /** Without the query: search words are private. */
  readonly path: string
  readonly protocol: string
  readonly status: number
  /** Bytes of the body. */
  readonly response_length: number
  /** Until the answer was complete. */
  readonly latency_ms: number
  /** Why the edge itself refused, or that the connection ended before the answer did; else empty. */
  readonly error: string
}

export type Followed = {
  readonly path: string
  /** Of an answer that does not name its length before. */
  length: number
  error: string
}

/** Writes a line when the answer is complete, of what is known of it then. */
export function followed(
  req: IncomingMessage,
  res: ServerResponse,
  path: string,
  write: (line: string) => void,
): Followed {
  const time = Date.now()
  const began = performance.now()
  const ip = req.socket.remoteAddress ?? ''
  const facts: Followed = { path, length: 0, error: '' }
  res.once('close', () => {
    const named = Number(res.getHeader('content-length') ?? facts.length)
    const line: EdgeLine = {
      time,
      request_id: String(res.getHeader('x-request-id') ?? ''),
      ip,
      method: req.method ?? '',
      path: facts.path,
      protocol: `HTTP/${req.httpVersion}`,
      status: res.statusCode,
      response_length: req.method === 'HEAD' ? 0 : named,
      latency_ms: Math.round(performance.now() - began),
      error: res.writableFinished ? facts.error : 'aborted',
    }
    write(JSON.stringify(line))
  })
  return facts
}
