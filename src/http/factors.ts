import type { Context } from 'koa'
import { z } from 'zod'
import type { FactorProof } from '../app/factor-proofs.ts'
import type { FactorsOfUsers } from '../app/factors.ts'
import type { Clock } from '../app/ports/process.ts'
import type { SignIn } from '../app/sign-in.ts'
import { signedIn } from './auth-schemas.ts'
import type { Endpoint, routes } from './endpoint.ts'
import * as schema from './factor-schemas.ts'
import { byAddress, type RateLimit } from './rate-limit.ts'
import { requestContextOf } from './request-context.ts'
import { answerSession, type RequireOwnPage } from './session-cookies.ts'

const WRONG = ['code_invalid', 'challenge_invalid', 'database_unavailable'] as const
const CHANGE = ['step_up_required'] as const
const empty = z.strictObject({})

const secondFactor = {
  method: 'post',
  path: '/auth/login/second-factor',
  summary: 'Prove the second factor',
  description:
    'Where login asks for one. Six digits are few: after five wrong codes within 15 minutes, from wherever, codes are ' +
    'refused for a minute, then longer. Passkeys and recovery codes are not.',
  access: 'public',
  body: schema.secondFactor,
  answers: { 200: { description: 'Tokens of a new session', body: signedIn } },
  errors: [
    ...WRONG,
    'too_many_attempts',
    'account_locked',
    'cross_site_request',
    'provider_unavailable',
    'provider_refused',
    'email_unverified',
    'identity_unlinked',
  ],
} as const satisfies Endpoint

const passkeyChallenge = {
  method: 'post',
  path: '/auth/passkeys/challenge',
  summary: 'Ask a device for a passkey',
  description:
    'To sign in without a password, as the second factor, or to step up. The same for everybody.',
  access: 'public',
  identity: 'local',
  body: empty,
  answers: { 200: { description: 'What the browser needs', body: schema.begunPasskey } },
  errors: ['database_unavailable'],
} as const satisfies Endpoint

const passkeySignIn = {
  method: 'post',
  path: '/auth/login/passkey',
  summary: 'Sign in with a passkey',
  description:
    'Without name and password. The device has verified its user too, so no second factor is asked for.',
  access: 'public',
  identity: 'local',
  body: schema.passkeySignIn,
  answers: { 200: { description: 'Tokens of a new session', body: signedIn } },
  errors: [...WRONG, 'account_locked', 'cross_site_request'],
} as const satisfies Endpoint

const list = {
  method: 'get',
  path: '/auth/factors',
  summary: "The caller's authenticator apps and passkeys",
  access: 'token',
  identity: 'local',
  answers: { 200: { description: 'The oldest first', body: schema.factors } },
} as const satisfies Endpoint

const beginTotp = {
  method: 'post',
  path: '/auth/factors/totp',
  summary: 'Begin to add an authenticator app',
  access: 'token',
  identity: 'local',
  body: empty,
  answers: { 200: { description: 'The secret, for the app', body: schema.begunTotp } },
  errors: [...CHANGE, 'too_many_factors'],
} as const satisfies Endpoint

const addTotp = {
  method: 'post',
  path: '/auth/factors/totp/confirm',
  summary: 'Add the authenticator app, with a code that it shows',
  access: 'token',
  identity: 'local',
  body: schema.newTotp,
  answers: {
    201: { description: 'Added; with the first factor come ten codes', body: schema.addedFactor },
  },
  errors: [...CHANGE, ...WRONG, 'too_many_factors'],
} as const satisfies Endpoint

const beginPasskey = {
  method: 'post',
  path: '/auth/factors/passkey',
  summary: 'Begin to add a passkey',
  access: 'token',
  identity: 'local',
  body: empty,
  answers: { 200: { description: 'What the browser needs', body: schema.begunPasskey } },
  errors: [...CHANGE, 'too_many_factors'],
} as const satisfies Endpoint

const addPasskey = {
  method: 'post',
  path: '/auth/factors/passkey/confirm',
  summary: 'Add the passkey that the device has made',
  access: 'token',
  identity: 'local',
  body: schema.newPasskey,
  answers: {
    201: { description: 'Added; with the first factor come ten codes', body: schema.addedFactor },
  },
  errors: [...CHANGE, ...WRONG, 'too_many_factors', 'passkey_known'],
} as const satisfies Endpoint

const newCodes = {
  method: 'post',
  path: '/auth/factors/recovery-codes',
  summary: 'Make ten new recovery codes',
  description: 'In the place of those before.',
  access: 'token',
  identity: 'local',
  body: empty,
  answers: { 201: { description: 'Made', body: schema.recoveryCodes } },
  errors: CHANGE,
} as const satisfies Endpoint

const remove = {
  method: 'delete',
  path: '/auth/factors/:id',
  summary: 'Remove an authenticator app or a passkey',
  access: 'token',
  identity: 'local',
  params: schema.factorId,
  answers: { 204: { description: 'Removed' } },
  errors: [...CHANGE, 'factor_not_found'],
} as const satisfies Endpoint

export const FACTOR_ENDPOINTS: readonly Endpoint[] = [
  secondFactor,
  passkeyChallenge,
  passkeySignIn,
  list,
  beginTotp,
  addTotp,
  beginPasskey,
  addPasskey,
  newCodes,
  remove,
] as readonly Endpoint[]

export type FactorRoutes = {
  readonly factors: FactorsOfUsers
  readonly signIn: Pick<SignIn, 'proveSecondFactor' | 'byPasskey'>
  readonly clock: Clock
  readonly loginLimit: RateLimit
  readonly requireOwnPage: RequireOwnPage
}

export function factorRoutes(on: ReturnType<typeof routes>, dependencies: FactorRoutes): void {
  const { factors, signIn, clock, loginLimit, requireOwnPage } = dependencies
  const requestContext = (ctx: Context) => requestContextOf(ctx, clock)

  on(secondFactor, async ({ body }, ctx) => {
    await loginLimit(ctx, byAddress(ctx))
    const { challenge, cookie = false, ...proof } = body
    if (cookie) requireOwnPage(ctx)
    const session = await signIn.proveSecondFactor(challenge, proofOf(proof), requestContext(ctx))
    answerSession(ctx, session, cookie)
  })

  on(passkeyChallenge, async (_input, ctx) => {
    await loginLimit(ctx, byAddress(ctx))
    ctx.body = await factors.passkeyChallenge(requestContext(ctx))
  })

  on(passkeySignIn, async ({ body }, ctx) => {
    await loginLimit(ctx, byAddress(ctx))
    const { challenge, credential: answer, cookie = false } = body
    if (cookie) requireOwnPage(ctx)
    answerSession(ctx, await signIn.byPasskey({ challenge, answer }, requestContext(ctx)), cookie)
  })

  on(list, async (_input, ctx, caller) => {
    ctx.body = await factors.list(caller)
  })

  on(beginTotp, async (_input, ctx, caller) => {
    ctx.body = await factors.beginTotp(caller, requestContext(ctx))
  })

  on(addTotp, async ({ body }, ctx, caller) => {
    ctx.body = await factors.addTotp(caller, body, requestContext(ctx))
    ctx.status = 201
  })

  on(beginPasskey, async (_input, ctx, caller) => {
    ctx.body = await factors.beginPasskey(caller, requestContext(ctx))
  })

  on(addPasskey, async ({ body }, ctx, caller) => {
    const { credential: answer, ...rest } = body
    ctx.body = await factors.addPasskey(caller, { ...rest, answer }, requestContext(ctx))
    ctx.status = 201
  })

  on(newCodes, async (_input, ctx, caller) => {
    ctx.body = { recovery_codes: await factors.newRecoveryCodes(caller, requestContext(ctx)) }
    ctx.status = 201
  })

  on(remove, async ({ params }, ctx, caller) => {
    await factors.remove(caller, params.id, requestContext(ctx))
    ctx.status = 204
  })
}

type SentProof = Omit<z.output<typeof schema.secondFactor>, 'challenge' | 'cookie'>

/** Of those that may be sent, the schema has let one alone through. */
export function proofOf({ totp, recovery_code, passkey }: SentProof): FactorProof {
  if (totp !== undefined) return { totp }
  if (recovery_code !== undefined) return { recovery_code }
  if (passkey === undefined) throw new Error('no proof')
  const { challenge, credential: answer } = passkey
  return { passkey: { challenge, answer } }
}
