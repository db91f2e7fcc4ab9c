import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import Negotiator from 'negotiator'

const STYLE = `
body { font: 16px/1.5 system-ui, sans-serif; max-width: 40em; margin: 4em auto; padding: 0 1em; }
li { margin: 0.3em 0; }
`

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tasktrail</title>
<link rel="icon" href="data:,">
<style>${STYLE}</style>
</head>
<body>
<h1>Tasktrail</h1>
<p>A task-management API whose every change is an event that can be audited, undone, replayed and proven.
It runs at this address; there is no web application yet.</p>
<ul>
<li><a href="/v1/tasks/docs">Tasks, their history and the audit trail</a>: every call, to read and to try</li>
<li><a href="/v1/auth/docs">Accounts, logins and sessions</a>: every call, to read and to try</li>
<li>OpenAPI: <a href="/v1/tasks/openapi.json">tasks</a>, <a href="/v1/auth/openapi.json">auth</a></li>
<li><a href="/v1/health">Health</a></li>
</ul>
</body>
</html>
`

const POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const HEADERS = {
  'Content-Type': 'text/html; charset=utf-8',
  'Content-Length': Buffer.byteLength(PAGE),
  'Content-Security-Policy': POLICY,
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cache-Control': 'no-store',
  Vary: 'Accept',
}

/** More than any browser sends. The time to read an Accept grows with the square of its length. */
const MAX_ACCEPT = 1_000

/** Whether a person has opened the printed address in a browser. */
export const isVisit = (path: string, req: IncomingMessage): boolean =>
  path === '/' &&
  (req.method === 'GET' || req.method === 'HEAD') &&
  (req.headers.accept?.length ?? 0) <= MAX_ACCEPT &&
  new Negotiator(req).mediaType(['application/json', 'text/html']) === 'text/html'

/** Says what this is and where to read on. */
export const showFrontPage = (res: ServerResponse): void =>
  void res.writeHead(200, HEADERS).end(PAGE)
