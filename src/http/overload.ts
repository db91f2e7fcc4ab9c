import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import type { Context, Next } from 'koa'
import { HttpError } from './errors.ts'

const BUSY = 0.9

export type Overload = {
  /** Milliseconds within which 99 % of the event loop's turns must begin; 0 switches load shedding off. */
  readonly maxDelay: number
  /** Paths that are never refused. */
  readonly spared: readonly string[]
  /** Milliseconds over which delays are measured. @default 5000 */
  readonly window?: number
  /** Up to this many requests in progress, none is refused. @default 100 */
  readonly queue?: number
}

/**
 * Load shedding: refuses requests while the event loop is late and requests are queuing. Lateness alone is
 * not enough: a few dozen clients that send the next request as soon as they are answered make every turn
 * of the loop long, and each of them is served well. This process must also be busy itself: delays on a
 * machine that is busy with other processes do not count.
 */
export function overload({ maxDelay, spared, window = 5_000, queue = 100 }: Overload) {
  const delays = monitorEventLoopDelay({ resolution: 20 })
  let before = performance.eventLoopUtilization()
  let late = false
  let underWay = 0
  const judge = () => {
    const { utilization } = performance.eventLoopUtilization(before)
    before = performance.eventLoopUtilization()
    late = utilization > BUSY && delays.percentile(99) / 1e6 > maxDelay
    delays.reset()
  }
  const timer = setInterval(judge, window).unref()
  if (maxDelay > 0) delays.enable()
  else clearInterval(timer)

  return async (ctx: Context, next: Next) => {
    if (late && underWay >= queue && !spared.includes(ctx.path)) {
      // At random, or clients that all come back at the same moment would meet the same overload.
      throw new HttpError('overloaded', { retryAfter: 1 + Math.floor(Math.random() * 5) })
    }
    underWay++
    try {
      await next()
    } finally {
      underWay--
    }
  }
}
