import type { Context, Next } from 'koa'
import type { Log } from '../app/ports.ts'

/** One line a request, when its answer has gone out. No query: search words are the user's own. */
export const accessLog = (log: Log) => async (ctx: Context, next: Next) => {
  const began = performance.now()
  ctx.res.once('close', () => {
    const duration_ms = Math.round((performance.now() - began) * 100) / 100
    const { request_id, route, user_id } = ctx.state
    const { method, path, status, ip } = ctx
    const aborted = !ctx.res.writableFinished
    const facts = { request_id, method, path, route, status, duration_ms, user_id, ip }
    log.info(aborted ? { ...facts, aborted } : facts, 'request')
  })
  await next()
}
