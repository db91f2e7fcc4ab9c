import type { Context, Next } from 'koa'
import { BASE, isVersioned } from './edge.ts'

/** Since when paths without the base path are deprecated (RFC 9745). */
const SINCE = `@${Date.UTC(2026, 10, 28) / 1000}`

/** What clients call; not what operators, load balancers and other services do, nor documents. */
const CALLED =
  /^\/(?:auth|tasks|audit|log)(?![^/])(?!\/(?:health|openapi\.json|docs|validate)(?![^/]))/

/** What an answer says of a path that stands without the base path; null: nothing. `path` has no query. */
export function deprecation(
  path: string,
): { readonly since: string; readonly link: string } | null {
  if (!CALLED.test(path)) return null
  const successor = BASE + path.replaceAll('>', '%3E')
  return { since: SINCE, link: `<${successor}>; rel="successor-version"` }
}

/**
 * Takes the base path off, for routes and all else that looks at a path. A path without it works as before, and
 * its answers say that it is deprecated, whatever they are.
 */
export function versions(ctx: Context, next: Next): Promise<void> {
  const { url = '' } = ctx.req
  if (!isVersioned(url)) return withDeprecation(ctx, next)
  ctx.req.url = url.slice(BASE.length)
  ctx.state.base = BASE
  return next()
}

async function withDeprecation(ctx: Context, next: Next): Promise<void> {
  await next()
  const deprecated = deprecation(ctx.path)
  if (deprecated === null) return
  ctx.set('Deprecation', deprecated.since)
  ctx.append('Link', deprecated.link)
}

/** The path as the client wrote it, and as answers write paths to it. */
export const asWritten = (ctx: Context, path = ctx.path): string => (ctx.state.base ?? '') + path
