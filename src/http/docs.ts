import { createHash } from 'node:crypto'
import { createReadStream, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import type { Router } from '@koa/router'
import type { Context } from 'koa'
import { refuseBody } from './body.ts'
import { negotiate } from './content-types.ts'
import { DOCUMENT_ASSETS } from './edge.ts'

const swaggerUi = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'))

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self'",
  // Not covered by default-src.
  "frame-ancestors 'none'",
  "base-uri 'none'",
  "form-action 'none'",
].join('; ')

// Relative, or the page would leave the base path under which it was asked for.
const page = (title: string) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" href="docs/favicon-32x32.png">
</head>
<body>
<div id="docs"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
`

// Without this the page would have validator.swagger.io validate the document.
const START = `SwaggerUIBundle({
  url: 'openapi.json',
  dom_id: '#docs',
  deepLinking: true,
  validatorUrl: null,
})
`

/** The OpenAPI document at `<base>/openapi.json` and a page to read and try it at `<base>/docs`. */
export function docsRoutes(router: Router, base: string, title: string, document: object): void {
  const give = (path: string, type: string, content: () => string | Readable, headers = {}) => {
    router.get(path, async (ctx: Context) => {
      negotiate(ctx, [type])
      await refuseBody(ctx)
      ctx.set(headers)
      ctx.type = type
      ctx.body = content()
    })
  }
  const text = JSON.stringify(document)
  const etag = `"${createHash('sha256').update(text).digest('base64url')}"`
  router.get(`${base}/openapi.json`, async (ctx: Context) => {
    negotiate(ctx, ['application/json'])
    await refuseBody(ctx)
    ctx.set({ ETag: etag, 'Cache-Control': 'public, no-cache' })
    ctx.type = 'application/json'
    if (ctx.get('If-None-Match').split(/,\s*/).includes(etag)) ctx.status = 304
    else ctx.body = text
  })
  const policy = { 'Content-Security-Policy': POLICY }
  give(`${base}/docs`, 'text/html', () => page(title), policy)
  give(`${base}/docs/start.js`, 'text/javascript', () => START)
  const cached = { 'Cache-Control': 'public, max-age=86400' }
  for (const [name, type] of Object.entries(DOCUMENT_ASSETS)) {
    const file = join(swaggerUi, name)
    const headers = { ...cached, 'Content-Length': String(statSync(file).size) }
    give(`${base}/docs/${name}`, type, () => createReadStream(file), headers)
  }
}
