import type { Router } from '@koa/router'
import { AppError } from '../app/errors.ts'

export type WorkerRoutes = {
  /** What the worker does and how far it is; null when the database is away. */
  readonly state: () => Promise<object | null>
  readonly metrics: { readonly text: () => Promise<string>; readonly contentType: string }
  /** Whether the database answers. */
  readonly ping: () => Promise<boolean>
}

/** For those who run it: the gateway and the load balancer lead nobody here. */
export function workerRoutes(router: Router, { state, metrics, ping }: WorkerRoutes): void {
  router.get('/worker/health', async (ctx) => {
    // The process is well also when the database is not: starting it again would mend nothing.
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
