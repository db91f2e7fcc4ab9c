import type { Context } from 'koa'
import type { RequestContext } from '../app/ports/accounts.ts'
import type { Clock } from '../app/ports/process.ts'

/** What security events say of a request. */
export const requestContextOf = (ctx: Context, clock: Clock): RequestContext => ({
  request_id: ctx.state.request_id,
  // An IPv6 address may end with a zone name of any length.
  ip: ctx.ip.slice(0, 45) || null,
  user_agent: ctx.get('User-Agent').slice(0, 500) || null,
  now: clock(),
})
