import { z } from 'zod'
import { AppError } from '../app/errors.ts'
import type { Endpoint, routes } from './endpoint.ts'

const healthy = (base: string, name: string) =>
  ({
    method: 'get',
    path: `${base}/health`,
    summary: 'Whether the process answers',
    access: 'open',
    answers: {
      200: {
        description: 'It does',
        body: z.strictObject({ status: z.literal('healthy'), service: z.literal(name) }),
      },
    },
  }) as const satisfies Endpoint

const ready = {
  method: 'get',
  path: '/ready',
  summary: 'Whether the dependencies of the service answer',
  description:
    'For information. No load balancer uses it, or one slow dependency would take down all instances.',
  access: 'open',
  answers: {
    200: {
      description:
        'They do; whether the past is read from a replica, if there is one, or from the primary',
      body: z.strictObject({
        status: z.literal('ready'),
        replica: z.enum(['used', 'away']).optional(),
      }),
    },
  },
  errors: ['database_unavailable', 'storage_unavailable'],
} as const satisfies Endpoint

/** What the public entrance answers at `/health`. No load balancer removes an instance because of it. */
export const wholeHealth = {
  method: 'get',
  path: '/health',
  summary: 'Whether both services answer',
  access: 'open',
  answers: {
    200: {
      description: 'They do',
      body: z.strictObject({
        status: z.literal('healthy'),
        services: z.tuple([z.literal('auth'), z.literal('task')]),
      }),
    },
  },
  errors: ['auth_service_unavailable'],
} as const satisfies Endpoint

export const healthEndpoints = (base: string, name: string): readonly Endpoint[] => [
  healthy(base, name),
  ready,
]

/** `answers` calls auth-service and throws if it is unreachable. */
export function wholeHealthRoute(
  on: ReturnType<typeof routes>,
  answers: (request_id: string) => Promise<void>,
): void {
  on(wholeHealth, async (_input, ctx) => {
    await answers(ctx.state.request_id)
    ctx.body = { status: 'healthy', services: ['auth', 'task'] }
  })
}

export type HealthRoutes = {
  readonly base: string
  readonly name: string
  /** Whether the database answers. */
  readonly ping: () => Promise<boolean>
  readonly replica?: (() => 'used' | 'away') | undefined
  /** Throws if the object storage does not answer. */
  readonly requireStorage?: () => Promise<void>
}

export function healthRoutes(
  on: ReturnType<typeof routes>,
  { base, name, ping, replica, requireStorage }: HealthRoutes,
): void {
  on(healthy(base, name), async (_input, ctx) => {
    ctx.body = { status: 'healthy', service: name }
  })
  on(ready, async (_input, ctx) => {
    if (!(await ping())) throw new AppError('database_unavailable')
    await requireStorage?.()
    ctx.body = { status: 'ready', ...(replica && { replica: replica() }) }
  })
}
