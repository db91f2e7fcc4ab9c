import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import fc from 'fast-check'
import { damaged } from './hostile-values.ts'

const crlf = (...lines: string[]) => `${lines.join('\r\n')}\r\n\r\n`

/** Bytes for a bare connection: requests that are damaged on the level of HTTP. `token` is valid. */
export function brokenHttp(token: string): fc.Arbitrary<Buffer> {
  const head = [
    'Host: localhost',
    `Authorization: Bearer ${token}`,
    'Content-Type: application/json',
  ]
  const whole = [
    crlf('GET /tasks HTTP/1.1', ...head),
    `${crlf('POST /tasks HTTP/1.1', ...head, 'Content-Length: 17')}{"title":"a task"}`,
    `${crlf('POST /tasks HTTP/1.1', ...head, 'Transfer-Encoding: chunked')}11\r\n{"title":"a task"}\r\n0\r\n\r\n`,
    `${crlf('PUT /tasks/1 HTTP/1.1', ...head, 'Content-Length: 2')}{}${crlf('GET /tasks/1 HTTP/1.1', ...head)}`,
  ].map((message) => Buffer.from(message))
  const wrong = [
    crlf('POST /tasks HTTP/1.1', ...head, 'Content-Length: 5', 'Transfer-Encoding: chunked'),
    crlf('POST /tasks HTTP/1.1', ...head, 'Content-Length: 5', 'Content-Length: 6'),
    crlf('POST /tasks HTTP/1.1', ...head, 'Content-Length: -1'),
    crlf('POST /tasks HTTP/1.1', ...head, 'Content-Length: 99999999999999999999'),
    crlf('POST /tasks HTTP/1.1', ...head, 'Transfer-Encoding: chunked, identity'),
    `${crlf('POST /tasks HTTP/1.1', ...head, 'Transfer-Encoding: chunked')}zz\r\n`,
    `${crlf('POST /tasks HTTP/1.1', ...head, 'Transfer-Encoding: chunked')}ffffffffffffffff\r\n{}`,
    `${crlf('POST /auth/login HTTP/1.1', ...head, 'Content-Length: 1000')}{"username":`,
    crlf('GET /tasks HTTP/9.9', ...head),
    crlf('GET  /tasks HTTP/1.1', ...head),
    crlf('GET /tasks', ...head),
    crlf('GET /tasks HTTP/1.1'),
    crlf('GET /tasks HTTP/1.1', ...head, 'Host: other'),
    crlf('GET /tasks HTTP/1.1', ...head, ' folded: header'),
    crlf('GET /tasks HTTP/1.1', ...head, `X-Long: ${'a'.repeat(20_000)}`),
    crlf(`GET /tasks?q=${'a'.repeat(20_000)} HTTP/1.1`, ...head),
    crlf('GET /tasks HTTP/1.1', ...head, 'Bad\0Name: 1'),
    crlf('GET /tasks HTTP/1.1', ...head, 'Expect: the-unexpected'),
    crlf('GET /tasks HTTP/1.1', ...head, 'Connection: Upgrade', 'Upgrade: h2c'),
    crlf('GET http://elsewhere/tasks HTTP/1.1', ...head),
    crlf('CONNECT elsewhere:443 HTTP/1.1', ...head),
    crlf('OPTIONS * HTTP/1.1', ...head),
    crlf('BREW /tasks HTTP/1.1', ...head),
    crlf('PRI * HTTP/2.0', '', 'SM'),
    crlf('GET /tasks\u00a0x\\y#z HTTP/1.1', ...head),
    crlf('GET /tasks HTTP/1.0'),
    '\r\n\r\n\r\n',
    '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
  ].map((message) => Buffer.from(message, 'latin1'))
  return fc.oneof(
    fc.constantFrom(...wrong),
    damaged(fc.constantFrom(...whole)),
    damaged(fc.constantFrom(...wrong)),
    fc
      .tuple(fc.constantFrom(...whole), fc.nat())
      .map(([message, end]) => message.subarray(0, end % message.length)),
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  )
}

/** Writes the bytes, says that there are no more, and reads until the other side has ended. */
export async function sendBytes(url: string, bytes: Buffer): Promise<string> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.end(bytes)
  // A connection that is reset is an answer, too.
  return text(socket).catch(() => '')
}
