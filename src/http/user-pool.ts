import type { Context } from 'koa'
import { z } from 'zod'
import type { PoolAccounts } from '../app/pool-accounts.ts'
import type { Clock } from '../app/ports/process.ts'
import { login, newPassword } from './auth-schemas.ts'
import type { Endpoint, routes } from './endpoint.ts'
import { byAddress, type RateLimit } from './rate-limit.ts'
import { requestContextOf } from './request-context.ts'

// Calls that there are only where a user pool keeps the passwords.

const { username } = login.shape
const code = z.string().regex(/^\d{6}$/, 'must be the six digits that were mailed')

const poolUsername = z.strictObject({ username }).meta({ id: 'PoolUsername' })

/** Of what says nothing of who is there. */
export const onItsWay = z.strictObject({ message: z.string() })

const AWAY = ['too_many_attempts', 'provider_unavailable', 'database_unavailable'] as const

const confirm = {
  method: 'post',
  path: '/auth/register/confirm',
  summary: 'Confirm a registration, by the code that was mailed',
  access: 'public',
  identity: 'cognito',
  body: z.strictObject({ username, code }).meta({ id: 'RegistrationCode' }),
  answers: { 204: { description: 'Confirmed; the user may log in' } },
  errors: ['code_invalid', 'email_taken', ...AWAY],
} as const satisfies Endpoint

const sendCode = {
  method: 'post',
  path: '/auth/register/code',
  summary: 'Have the code of a registration mailed again',
  access: 'public',
  identity: 'cognito',
  body: poolUsername,
  answers: {
    202: { description: 'The same, whether there is such a registration or not', body: onItsWay },
  },
  errors: AWAY,
} as const satisfies Endpoint

const forgot = {
  method: 'post',
  path: '/auth/password/code',
  summary: 'Have a code mailed to set a new password',
  access: 'public',
  identity: 'cognito',
  body: poolUsername,
  answers: {
    202: { description: 'The same, whether there is such an account or not', body: onItsWay },
  },
  errors: AWAY,
} as const satisfies Endpoint

const reset = {
  method: 'post',
  path: '/auth/password/by-code',
  summary: 'Set a new password by the code that was mailed',
  description: 'Sessions go on until the user pool is asked again, at their next refresh.',
  access: 'public',
  identity: 'cognito',
  body: z
    .strictObject({ username, code, new_password: newPassword })
    .meta({ id: 'PasswordByCode' }),
  answers: { 204: { description: 'Set' } },
  errors: ['code_invalid', 'pool_refused', ...AWAY],
} as const satisfies Endpoint

export const USER_POOL_ENDPOINTS: readonly Endpoint[] = [
  confirm,
  sendCode,
  forgot,
  reset,
] as readonly Endpoint[]

export type UserPoolRoutes = {
  readonly accounts: PoolAccounts
  readonly clock: Clock
  /** Counts logins, and all that is done with codes, by address. */
  readonly loginLimit: RateLimit
}

export function userPoolRoutes(on: ReturnType<typeof routes>, given: UserPoolRoutes): void {
  const { accounts, clock, loginLimit: limit } = given
  const requestContext = (ctx: Context) => requestContextOf(ctx, clock)

  on(confirm, async ({ body }, ctx) => {
    await limit(ctx, byAddress(ctx))
    await accounts.confirm(body.username, body.code, requestContext(ctx))
    ctx.status = 204
  })

  on(sendCode, async ({ body }, ctx) => {
    await limit(ctx, byAddress(ctx))
    await accounts.sendCode(body.username)
    ctx.body = { message: 'If there is such a registration, a code is on its way' }
    ctx.status = 202
  })

  on(forgot, async ({ body }, ctx) => {
    await limit(ctx, byAddress(ctx))
    await accounts.forgot(body.username)
    ctx.body = { message: 'If there is such an account, a code is on its way' }
    ctx.status = 202
  })

  on(reset, async ({ body }, ctx) => {
    await limit(ctx, byAddress(ctx))
    const { username, code, new_password } = body
    await accounts.reset(username, code, new_password, requestContext(ctx))
    ctx.status = 204
  })
}
