import type { Context } from 'koa'
import { z } from 'zod'
import type { ExternalSignIn, StartOfSignIn } from '../app/external-sign-in.ts'
import type { ProviderAnswer } from '../app/ports/identity-providers.ts'
import type { Clock } from '../app/ports/process.ts'
import { inCookies, signedIn } from './auth-schemas.ts'
import { PROVIDER_NAME } from './edge.ts'
import type { Endpoint, routes } from './endpoint.ts'
import { type ErrorCode, HttpError } from './errors.ts'
import { secondFactorAsked } from './factor-schemas.ts'
import { instant, text } from './fields.ts'
import { byAddress, type RateLimit } from './rate-limit.ts'
import { requestContextOf } from './request-context.ts'
import { answerSession, type RequireOwnPage } from './session-cookies.ts'

const params = { name: z.string().regex(PROVIDER_NAME, 'must be the name of a provider') }

const startBody = z
  .strictObject({
    redirect: z
      .url({ protocol: /^https?$/, error: 'must be an http(s) URL' })
      .max(500, 'must have at most 500 characters')
      .optional()
      .meta({
        description:
          'The page that takes the answer, as the provider knows it: of `PUBLIC_URL` or one of `CORS_ORIGINS`. Without ' +
          'it the provider sends the browser to `GET /auth/providers/{name}/callback`',
      }),
    again: z
      .boolean()
      .optional()
      .meta({ description: 'Asks the provider to have the user prove who they are once more' }),
  })
  .meta({ id: 'ProviderStart' })

const signInBody = startBody.extend({ cookie: inCookies }).meta({ id: 'ProviderSignIn' })

const answer = {
  state: text(1, 200),
  code: z.string().max(8_000, 'must have at most 8000 characters').optional(),
  iss: z.string().max(2_000, 'must have at most 2000 characters').optional(),
  error: z
    .string()
    .max(200, 'must have at most 200 characters')
    .optional()
    .meta({ description: 'In the place of a code: why the provider let nobody in' }),
}
const answerBody = z.strictObject(answer).meta({ id: 'ProviderAnswer' })

const started = {
  description:
    'Where the browser goes to. A cookie binds the sign-in to this browser, for ten minutes',
  body: z.strictObject({ url: z.string() }),
}
const COMPLETED = {
  200: {
    description: 'Tokens of a new session, or what to prove the second factor with',
    body: z.union([signedIn, secondFactorAsked]),
  },
  204: { description: 'The identity is linked to the account that began this' },
} as const
const REFUSALS = [
  'provider_not_found',
  'provider_unavailable',
  'provider_refused',
  'sign_in_unknown',
  'email_unverified',
  'email_differs',
  'identity_unlinked',
  'identity_taken',
  'account_locked',
  'session_ended',
  'database_unavailable',
] as const satisfies readonly ErrorCode[]

const list = {
  method: 'get',
  path: '/auth/providers',
  summary: 'Identity providers to sign in with',
  access: 'public',
  answers: {
    200: {
      description: 'As configured',
      body: z.strictObject({ providers: z.array(z.strictObject({ name: z.string() })) }),
    },
  },
} as const satisfies Endpoint

const start = {
  method: 'post',
  path: '/auth/providers/:name/start',
  summary: 'Begin to sign in with an identity provider',
  access: 'public',
  params,
  body: signInBody,
  answers: { 200: started },
  errors: [
    'provider_not_found',
    'provider_unavailable',
    'database_unavailable',
    'cross_site_request',
  ],
} as const satisfies Endpoint

const complete = {
  method: 'post',
  path: '/auth/providers/:name/callback',
  summary: "Complete it with the provider's answer, which a page has taken",
  description:
    'Once, in the browser that began it. Who is unknown gets an account without a password, if the provider has verified ' +
    'their address and no account has confirmed it; an account that has is never linked silently.',
  access: 'public',
  params,
  body: answerBody,
  answers: COMPLETED,
  errors: REFUSALS,
} as const satisfies Endpoint

const callback = {
  method: 'get',
  path: '/auth/providers/:name/callback',
  summary: "Complete it: the provider's redirect",
  access: 'public',
  params,
  query: answer,
  othersInQuery: true,
  answers: COMPLETED,
  errors: REFUSALS,
} as const satisfies Endpoint

const listIdentities = {
  method: 'get',
  path: '/auth/me/identities',
  summary: 'Identity providers that the caller can sign in with',
  access: 'token',
  answers: {
    200: {
      description: 'Oldest first',
      body: z.strictObject({
        identities: z.array(z.strictObject({ provider: z.string(), linked_at: instant })),
      }),
    },
  },
} as const satisfies Endpoint

const startLink = {
  method: 'post',
  path: '/auth/me/identities/:name/start',
  summary: "Begin to link an identity to the caller's account",
  description:
    "It is completed as a sign-in is. The provider has to know the caller by the account's confirmed address.",
  access: 'token',
  params,
  body: startBody,
  answers: { 200: started },
  errors: ['provider_not_found', 'provider_unavailable', 'step_up_required'],
} as const satisfies Endpoint

const unlink = {
  method: 'delete',
  path: '/auth/me/identities/:name',
  summary: "Take an identity from the caller's account",
  access: 'token',
  params,
  answers: { 204: { description: 'The provider does not let in any more' } },
  errors: ['identity_not_found', 'last_sign_in', 'step_up_required'],
} as const satisfies Endpoint

export const SIGN_IN_WITH_ENDPOINTS: readonly Endpoint[] = [
  list,
  start,
  complete,
  callback,
  listIdentities,
  startLink,
  unlink,
] as readonly Endpoint[]

export type SignInWithRoutes = {
  readonly externalSignIn: ExternalSignIn
  readonly newSecret: () => string
  readonly clock: Clock
  /** Counts sign-ins by address. */
  readonly loginLimit: RateLimit
  readonly requireOwnPage: RequireOwnPage
  /** Whose pages may take a provider's answer. */
  readonly origins: readonly string[]
}

/** Sent by this browser alone, to this host alone, and to no script; Lax: the provider's redirect brings it along. */
const COOKIE = '__Host-tasktrail-sign-in'
const COOKIE_RULES = 'Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600'

export function signInWithRoutes(on: ReturnType<typeof routes>, given: SignInWithRoutes): void {
  const { externalSignIn, newSecret, clock, loginLimit, requireOwnPage, origins } = given
  const requestContext = (ctx: Context) => requestContextOf(ctx, clock)

  /** Each of several sign-ins in one browser has the same secret, or one would end the other. */
  function startIn(ctx: Context, facts: Omit<StartOfSignIn, 'browser'>): StartOfSignIn {
    requireOurs(facts.redirect, origins)
    const browser = browserOf(ctx) || newSecret()
    ctx.append('Set-Cookie', `${COOKIE}=${browser}; ${COOKIE_RULES}`)
    return { ...facts, browser }
  }

  on(list, async (_input, ctx) => {
    ctx.body = { providers: externalSignIn.providers().map((name) => ({ name })) }
  })

  on(start, async ({ params, body }, ctx) => {
    await loginLimit(ctx, byAddress(ctx))
    if (body.cookie) requireOwnPage(ctx)
    ctx.body = { url: await externalSignIn.start(params.name, startIn(ctx, body), clock()) }
  })

  async function completed(ctx: Context, name: string, answer: ProviderAnswer): Promise<void> {
    await loginLimit(ctx, byAddress(ctx))
    const browser = browserOf(ctx)
    const done = await externalSignIn.complete(name, browser, answer, requestContext(ctx))
    if (done.session === null) ctx.status = 204
    else if ('second_factor' in done.session) ctx.body = done.session
    else answerSession(ctx, done.session, done.in_cookies)
  }
  on(complete, ({ params, body }, ctx) => completed(ctx, params.name, body))
  on(callback, ({ params, query }, ctx) => completed(ctx, params.name, query))

  on(listIdentities, async (_input, ctx, caller) => {
    ctx.body = { identities: await externalSignIn.identities(caller) }
  })

  on(startLink, async ({ params, body }, ctx, caller) => {
    const facts = startIn(ctx, body)
    ctx.body = { url: await externalSignIn.startLink(params.name, facts, caller, clock()) }
  })

  on(unlink, async ({ params }, ctx, caller) => {
    await externalSignIn.unlink(caller, params.name, requestContext(ctx))
    ctx.status = 204
  })
}

/** The secret of the browser; '' if it has none. */
function browserOf(ctx: Context): string {
  const value = ctx.cookies.get(COOKIE) ?? ''
  return /^[\w-]{43}$/.test(value) ? value : ''
}

/** A provider knows which pages may take its answers; that it knows no others is not ours to rely on. */
function requireOurs(redirect: string | undefined, origins: readonly string[]): void {
  if (redirect === undefined) return
  const { origin, search, hash } = new URL(redirect)
  if (origins.includes(origin) && search === '' && hash === '') return
  const message =
    'Redirect must be a page of this installation or of one of CORS_ORIGINS, without a query'
  throw new HttpError('validation_failed', { faults: [{ field: 'redirect', message }] })
}
