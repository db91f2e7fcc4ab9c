import type { Context, Next } from 'koa'
import type { Log } from '../app/ports/process.ts'
import { asWritten } from './versions.ts'

/**
 * One line per request, when its answer is complete: how long until the answer began, and how long all of
 * it took. The two differ widely for streams and exports. Refusals have their code; a call on behalf of many
 * requests has the ids of them all. No query: search words are private.
 */
export const accessLog = (log: Log) => async (ctx: Context, next: Next) => {
  const began = performance.now()
  const passed = () => Math.round((performance.now() - began) * 100) / 100
  let answered: number | undefined
  ctx.res.once('close', () => {
    const duration_ms = passed()
    // A client that left before the answer began has waited until now.
    const response_ms = answered ?? duration_ms
    const { request_id, request_ids, route, user_id, code } = ctx.state
    const { method, status, ip } = ctx
    const path = asWritten(ctx)
    const aborted = !ctx.res.writableFinished
    const times = { response_ms, duration_ms }
    const facts = { request_id, method, path, route, status, ...times, user_id, ip }
    const more = {
      ...(request_ids !== undefined && { request_ids }),
      ...(code !== undefined && { code }),
      ...(aborted && { aborted }),
    }
    log.info({ ...facts, ...more }, 'request')
  })
  await next()
  answered = passed()
}
