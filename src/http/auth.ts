import type { Context } from 'koa'
import { z } from 'zod'
import type { Accounts } from '../app/accounts.ts'
import { AppError } from '../app/errors.ts'
import { tokenEnd } from '../app/ports/authorization.ts'
import type { Origins } from '../app/ports/origins.ts'
import type { Clock } from '../app/ports/process.ts'
import type { SecondFactorAsked, SignedIn } from '../app/sign-in.ts'
import * as schema from './auth-schemas.ts'
import { accessToken } from './authenticate.ts'
import type { Endpoint, routes } from './endpoint.ts'
import { secondFactorAsked, stepUp as stepUpProof } from './factor-schemas.ts'
import { proofOf } from './factors.ts'
import { orFaultOf } from './passwords.ts'
import { byAddress, type RateLimit } from './rate-limit.ts'
import { requestContextOf } from './request-context.ts'
import {
  answerSession,
  clearSession,
  type RequireOwnPage,
  refreshCookie,
  setAccess,
} from './session-cookies.ts'
import { onItsWay } from './user-pool.ts'

const oneUser = z.strictObject({ user: schema.user })
const profile = z.strictObject({ user: schema.profile })

/** Of what a user pool is asked. */
const OF_POOL = ['too_many_attempts', 'provider_unavailable'] as const

const register = {
  method: 'post',
  path: '/auth/register',
  summary: 'Create an account',
  description:
    "A link to confirm the email is mailed to it. Until then it is nobody's: whether another account has it, only " +
    'its mailbox is told.',
  access: 'public',
  body: schema.registration,
  answers: {
    201: { description: 'Created', body: oneUser },
    202: {
      description: 'With a user pool: a code to confirm it is on its way to the address',
      body: onItsWay,
    },
  },
  errors: [
    'username_taken',
    'email_taken',
    'hashing_busy',
    'database_unavailable',
    ...OF_POOL,
    'pool_refused',
  ],
} as const satisfies Endpoint

const login = {
  method: 'post',
  path: '/auth/login',
  summary: 'Begin a session',
  access: 'public',
  body: schema.login,
  answers: {
    200: {
      description: 'Tokens of a new session, or what to prove the second factor with',
      body: z.union([schema.signedIn, secondFactorAsked]),
    },
  },
  errors: [
    'invalid_credentials',
    'too_many_attempts',
    'hashing_busy',
    'database_unavailable',
    'cross_site_request',
    'account_locked',
    ...OF_POOL,
    'sign_up_unconfirmed',
    'password_reset_required',
    'provider_refused',
    'email_unverified',
    'identity_unlinked',
  ],
} as const satisfies Endpoint

const refresh = {
  method: 'post',
  path: '/auth/refresh',
  summary: 'Make a session last on',
  description:
    'Takes a refresh token, once, and gives the next one with a new access token. A session lasts 30 days from its ' +
    'last refresh, and 90 in all. Whoever sends the same token within ten seconds gets the same answer; sent later, a ' +
    'used token ends the session, for somebody else may have it.',
  access: 'public',
  body: schema.refresh,
  answers: { 200: { description: 'Tokens of the same session', body: schema.signedIn } },
  errors: ['token_missing', 'session_ended', 'database_unavailable', 'cross_site_request'],
} as const satisfies Endpoint

const stepUp = {
  method: 'post',
  path: '/auth/step-up',
  summary: 'Prove once more that it is you',
  description:
    'For ten minutes the new access token is good for what asks for it (`step_up_required`). The token says when and ' +
    'how its user proved who they are: `auth_time` and `amr` (RFC 8176).',
  access: 'token',
  identity: 'local',
  body: stepUpProof,
  answers: { 200: { description: 'Another access token of this session', body: schema.steppedUp } },
  errors: [
    'wrong_password',
    'password_not_set',
    'too_many_attempts',
    'hashing_busy',
    'second_factor_required',
    'code_invalid',
    'challenge_invalid',
  ],
} as const satisfies Endpoint

const validate = {
  method: 'post',
  path: '/auth/validate',
  summary: 'Who holds this token',
  description: 'For task-service only: not reachable from outside, and needs the internal API key.',
  access: 'internal-with-token',
  answers: { 200: { description: 'The caller as of now', body: schema.validated } },
} as const satisfies Endpoint

const validateBatch = {
  method: 'post',
  path: '/auth/validate/batch',
  summary: 'Who holds each of these tokens',
  description:
    'For task-service only, like `/auth/validate`, whose answer it gives about each of the tokens that ' +
    'wait at this moment.',
  access: 'internal',
  body: schema.batch,
  answers: {
    200: { description: 'One for each token, in their order', body: schema.validatedBatch },
  },
} as const satisfies Endpoint

const logout = {
  method: 'post',
  path: '/auth/logout',
  summary: 'End this session',
  access: 'token',
  // Many clients send {} with every POST.
  body: z.strictObject({}),
  answers: { 204: { description: 'The session has ended on every instance' } },
} as const satisfies Endpoint

const me = {
  method: 'get',
  path: '/auth/me',
  summary: 'The caller',
  access: 'token',
  answers: { 200: { description: 'The user', body: profile } },
} as const satisfies Endpoint

const STRONGLY = [
  'wrong_password',
  'step_up_required',
  'too_many_attempts',
  'hashing_busy',
] as const

const erase = {
  method: 'delete',
  path: '/auth/me',
  summary: 'Erase the account for good',
  description:
    'Ends every session, frees username and email, and destroys the key of all texts of the ' +
    "user's tasks, which stand nowhere else in the clear. A backup made before holds the key too, wrapped by " +
    'a key of the service, until it expires; an export made before holds its texts.',
  access: 'token',
  body: schema.erasure,
  answers: { 204: { description: 'Erased' } },
  errors: [...STRONGLY, 'provider_unavailable'],
} as const satisfies Endpoint

const changePassword = {
  method: 'put',
  path: '/auth/password',
  summary: 'Change the password',
  access: 'token',
  identity: 'local',
  body: schema.passwordChange,
  answers: { 204: { description: 'Changed; all sessions of the user have ended' } },
  errors: [...STRONGLY, 'password_not_set'],
} as const satisfies Endpoint

const listSessions = {
  method: 'get',
  path: '/auth/sessions',
  summary: "The caller's sessions",
  access: 'token',
  answers: { 200: { description: 'Newest first', body: schema.sessions } },
} as const satisfies Endpoint

const endOtherSessions = {
  method: 'delete',
  path: '/auth/sessions',
  summary: "End the caller's other sessions",
  access: 'token',
  answers: { 204: { description: 'They have ended on every instance; this one goes on' } },
} as const satisfies Endpoint

const endSession = {
  method: 'delete',
  path: '/auth/sessions/:id',
  summary: "End one of the caller's sessions",
  access: 'token',
  params: schema.sessionId,
  answers: { 204: { description: 'The session has ended on every instance' } },
  errors: ['session_not_found'],
} as const satisfies Endpoint

export const AUTH_ENDPOINTS: readonly Endpoint[] = [
  register,
  login,
  refresh,
  stepUp,
  validate,
  validateBatch,
  logout,
  me,
  erase,
  changePassword,
  listSessions,
  endOtherSessions,
  endSession,
] as readonly Endpoint[]

/** Of our own, or of a user pool, which answers some calls otherwise. */
type EitherAccounts = Omit<Accounts, 'register' | 'login'> & {
  readonly register: (
    ...given: Parameters<Accounts['register']>
  ) => Promise<Awaited<ReturnType<Accounts['register']>> | null>
  readonly login: (...given: Parameters<Accounts['login']>) => Promise<SignedIn | SecondFactorAsked>
}

export type AuthRoutes = {
  readonly accounts: EitherAccounts
  readonly origins: Origins
  readonly clock: Clock
  /** Counts logins by address. */
  readonly loginLimit: RateLimit
  /** Counts registrations by address: each costs a hash, as a login does. */
  readonly registerLimit: RateLimit
  readonly requireOwnPage: RequireOwnPage
}

export function authRoutes(on: ReturnType<typeof routes>, dependencies: AuthRoutes): void {
  const { accounts, origins, clock, loginLimit, registerLimit, requireOwnPage } = dependencies
  const requestContext = (ctx: Context) => requestContextOf(ctx, clock)

  on(register, async ({ body }, ctx) => {
    await registerLimit(ctx, byAddress(ctx))
    const registered = accounts.register(body, requestContext(ctx))
    const user = await orFaultOf('password', registered)
    ctx.body = user ? { user } : { message: 'A code is on its way to confirm the address' }
    ctx.status = user ? 201 : 202
  })

  on(login, async ({ body }, ctx) => {
    await loginLimit(ctx, byAddress(ctx))
    if (body.cookie) requireOwnPage(ctx)
    const session = await accounts.login(body.username, body.password, requestContext(ctx))
    if ('second_factor' in session) ctx.body = session
    else answerSession(ctx, session, body.cookie ?? false)
  })

  on(refresh, async ({ body }, ctx) => {
    const inCookies = body.refresh_token === undefined
    if (inCookies) requireOwnPage(ctx)
    const given = body.refresh_token ?? refreshCookie(ctx)
    if (given === undefined) throw new AppError('token_missing')
    answerSession(ctx, await accounts.refresh(given, requestContext(ctx)), inCookies)
  })

  on(stepUp, async ({ body }, ctx, caller) => {
    const { password, ...factor } = body
    const proof = password === undefined ? proofOf(factor) : { password }
    const { token, expires_in } = await accounts.stepUp(caller, proof, requestContext(ctx))
    const inCookies = ctx.get('Authorization') === ''
    if (inCookies) setAccess(ctx, { token, expires_in })
    ctx.body = inCookies ? { expires_in } : { token, expires_in }
  })

  on(validate, async (_input, ctx) => {
    ctx.body = { valid: true, user: await accounts.validate(accessToken(ctx), clock()) }
  })

  on(validateBatch, async ({ body }, ctx) => {
    ctx.state.request_ids = body.request_ids
    const answers = await accounts.validateAll(body.tokens, clock())
    ctx.body = {
      answers: answers.map(({ token, caller }) => {
        const token_end = tokenEnd(token)
        if (caller instanceof AppError) return { valid: false, code: caller.code, token_end }
        return { valid: true, user: caller, token_end }
      }),
    }
  })

  on(logout, async (_input, ctx, caller) => {
    await accounts.logout(caller, requestContext(ctx))
    clearSession(ctx)
    ctx.status = 204
  })

  on(me, async (_input, ctx, caller) => {
    ctx.body = { user: await accounts.me(caller, clock()) }
  })

  on(erase, async ({ body }, ctx, caller) => {
    await accounts.erase(caller, body.password, requestContext(ctx))
    ctx.status = 204
  })

  on(changePassword, async ({ body }, ctx, caller) => {
    const change = { current: body.current_password, next: body.new_password }
    await orFaultOf('new_password', accounts.changePassword(caller, change, requestContext(ctx)))
    ctx.status = 204
  })

  on(listSessions, async (_input, ctx, caller) => {
    const sessions = await accounts.sessions(caller, clock())
    ctx.body = {
      sessions: sessions.map((session) => {
        return {
          ...schema.sessionShown(session, origins),
          current: session.id === caller.session_id,
        }
      }),
    }
  })

  on(endOtherSessions, async (_input, ctx, caller) => {
    await accounts.endOtherSessions(caller, requestContext(ctx))
    ctx.status = 204
  })

  on(endSession, async ({ params }, ctx, caller) => {
    await accounts.endSession(caller, params.id, requestContext(ctx))
    ctx.status = 204
  })
}
