import type { Context, Next } from 'koa'
import type { Log } from '../app/ports/process.ts'

/**
 * One line a request, when its answer has gone out: after how long that began, and how long all of it
 * took. The two are far apart for streams and exports, which go on as long as somebody reads them.
 * Refusals with their code. No query: search words are the user's own.
 */
export const accessLog = (log: Log) => async (ctx: Context, next: Next) => {
  const began = performance.now()
  const passed = () => Math.round((performance.now() - began) * 100) / 100
  let answered: number | undefined
  ctx.res.once('close', () => {
    const duration_ms = passed()
    // Whoever goes before there is an answer has waited for it until now.
    const response_ms = answered ?? duration_ms
    const { request_id, route, user_id, code } = ctx.state
    const { method, path, status, ip } = ctx
    const aborted = !ctx.res.writableFinished
    const times = { response_ms, duration_ms }
    const facts = { request_id, method, path, route, status, ...times, user_id, ip }
    const more = { ...(code !== undefined && { code }), ...(aborted && { aborted }) }
    log.info({ ...facts, ...more }, 'request')
  })
  await next()
  answered = passed()
}
