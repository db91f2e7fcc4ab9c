import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import type { Context, Next } from 'koa'
import { HttpError } from './errors.ts'

const BUSY = 0.9

/**
 * Refuses requests while the event loop answered too late in the last `windowMs`: 99 % of its turns
 * must begin within `maxDelayMs`. Only while the process itself is busy: delays of a machine that is
 * busy with others are no reason to refuse work. 0 switches it off. `spared` paths always pass.
 */
export function overload(maxDelayMs: number, spared: readonly string[], windowMs = 5_000) {
  const delays = monitorEventLoopDelay({ resolution: 20 })
  let before = performance.eventLoopUtilization()
  let late = false
  const judge = () => {
    const { utilization } = performance.eventLoopUtilization(before)
    before = performance.eventLoopUtilization()
    late = utilization > BUSY && delays.percentile(99) / 1e6 > maxDelayMs
    delays.reset()
  }
  const timer = setInterval(judge, windowMs).unref()
  if (maxDelayMs > 0) delays.enable()
  else clearInterval(timer)

  return (ctx: Context, next: Next) => {
    if (!late || spared.includes(ctx.path)) return next()
    // Clients that all come back at the same moment would meet the same overload.
    throw new HttpError('overloaded', { retryAfter: 1 + Math.floor(Math.random() * 5) })
  }
}
