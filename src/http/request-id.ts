import type { Context, Next } from 'koa'

export const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/

/** Uses the client's request id if it is harmless, else generates one. Every answer carries it. */
export const requestId = (newId: () => string) => (ctx: Context, next: Next) => {
  const given = ctx.get('X-Request-Id')
  const request_id = REQUEST_ID.test(given) ? given : newId()
  ctx.state.request_id = request_id
  ctx.set('X-Request-Id', request_id)
  return next()
}
