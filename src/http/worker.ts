import type { Router } from '@koa/router'
import { AppError } from '../app/errors.ts'

export type WorkerRoutes = {
  /** What the worker does and how far it has got; null if the database is unreachable. */
  readonly state: () => Promise<object | null>
  readonly metrics: { readonly text: () => Promise<string>; readonly contentType: string }
  /** Whether the database answers. */
  readonly ping: () => Promise<boolean>
}

/** For operators: neither the gateway nor the load balancer routes here. */
export function workerRoutes(router: Router, { state, metrics, ping }: WorkerRoutes): void {
  router.get('/worker/health', async (ctx) => {
    // The process is healthy even if the database is not: restarting it would not help.
    ctx.body = { status: 'healthy', service: 'worker', ...(await state()) }
  })
  router.get('/worker/metrics', async (ctx) => {
    await state()
    ctx.body = await metrics.text()
    ctx.type = metrics.contentType
  })
  router.get('/ready', async (ctx) => {
    if (!(await ping())) throw new AppError('database_unavailable')
    ctx.body = { status: 'ready' }
  })
}
