import type { PasswordPolicy, PasswordRule } from '../app/password-policy.ts'
import { PasswordRefused } from '../app/password-policy.ts'
import { estimate, strength } from './auth-schemas.ts'
import type { Endpoint, routes } from './endpoint.ts'
import { HttpError } from './errors.ts'
import { label } from './fields.ts'
import { byAddress, type RateLimit } from './rate-limit.ts'

const RULE: Readonly<Record<PasswordRule, (bound: number) => string>> = {
  length: (bound) => `must have at least ${bound} characters`,
  common: () => 'must not be one of the most common passwords',
  own: () => 'must not be made of your username or email',
  breached: () => 'must not be one that is known from a breach',
  former: (bound) => `must not be one of your last ${bound} passwords`,
}

const ruleOf = ({ rule, bound }: PasswordRefused): string => RULE[rule](bound)

/** A new password that breaks a rule is a fault of the field that has it. */
export async function orFaultOf<T>(field: string, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (!(error instanceof PasswordRefused)) throw error
    const faults = [{ field, message: `${label(field)} ${ruleOf(error)}` }]
    throw new HttpError('validation_failed', { faults })
  }
}

const say = {
  method: 'post',
  path: '/auth/password/strength',
  summary: 'How hard a password is to guess',
  description:
    'To be said while somebody types. Username and email make what is made of them weak. Looks at the first 32 ' +
    'characters. Nothing of it is kept or logged. That a password is one of the last ones is not said here.',
  access: 'public',
  body: estimate,
  answers: { 200: { description: 'Its strength', body: strength } },
  errors: ['hashing_busy'],
} as const satisfies Endpoint

export const PASSWORD_ENDPOINTS: readonly Endpoint[] = [say] as readonly Endpoint[]

export type PasswordRoutes = {
  readonly passwords: PasswordPolicy
  /** Counts estimates by address: each takes some milliseconds. */
  readonly limit: RateLimit
}

export function passwordRoutes(on: ReturnType<typeof routes>, dependencies: PasswordRoutes): void {
  const { passwords, limit } = dependencies

  on(say, async ({ body: { password, ...owner } }, ctx) => {
    await limit(ctx, byAddress(ctx))
    const { score, guesses, warning, suggestions, refused } = await passwords.judge(password, owner)
    const why = refused === null ? null : ruleOf(refused)
    ctx.body = { score, guesses, warning, suggestions, refused: why }
  })
}
