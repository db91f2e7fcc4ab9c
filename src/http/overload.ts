import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import type { Context, Next } from 'koa'
import { HttpError } from './errors.ts'

const BUSY = 0.9

export type Overload = {
  /** Milliseconds within which 99 % of the event loop's turns must begin; 0 switches shedding off. */
  readonly maxDelay: number
  /** Paths that always pass. */
  readonly spared: readonly string[]
  /** Milliseconds over which delays are judged. @default 5000 */
  readonly window?: number
  /** Requests under way up to which none is refused. @default 100 */
  readonly queue?: number
}

/**
 * Refuses requests while the event loop answers too late and there is a queue. Late alone is no
 * reason: a few dozen clients that ask again as soon as they are answered make every turn of the loop
 * long, and each of them is served well. Only while the process itself is busy: the delays of a
 * machine that is busy with others are no reason either.
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
      // Clients that all come back at the same moment would meet the same overload.
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
