import { z } from 'zod'
import type { Caller } from '../../app/ports/authorization.ts'
import { ROLES } from '../../domain/user.ts'

const DENIALS = ['token_missing', 'token_invalid', 'token_expired', 'session_ended'] as const

/** auth-service refused this service itself. */
type Refused = { readonly outcome: 'refused'; readonly status: number }

/** What auth-service answered about a token. */
export type Validation =
  | { readonly outcome: 'valid'; readonly caller: Caller }
  | { readonly outcome: 'denied'; readonly code: (typeof DENIALS)[number] }
  | Refused

export type Ended = { readonly outcome: 'ended'; readonly session_ids: readonly string[] } | Refused

const validAnswer = z.object({
  valid: z.literal(true),
  user: z.object({
    user_id: z.int().positive(),
    username: z.string().min(1),
    email: z.string(),
    role: z.enum(ROLES),
    session_id: z.string().min(1),
    iat: z.int(),
    exp: z.int(),
  }),
})
const deniedAnswer = z.object({ code: z.enum(DENIALS) })
const endedAnswer = z.object({ ended: z.array(z.string()) })

/** Throws for anything that is not an answer of a working auth-service. */
export function validationOf(status: number, body: string): Validation {
  if (status === 200) {
    const { user } = sensible(validAnswer, body)
    return { outcome: 'valid', caller: user }
  }
  if (status === 401) {
    const { data } = deniedAnswer.safeParse(parsed(body))
    return { outcome: 'denied', code: data?.code ?? 'token_invalid' }
  }
  return refused(status)
}

/** Throws for anything that is not an answer of a working auth-service. */
export function endedOf(status: number, body: string): Ended {
  if (status !== 200) return refused(status)
  return { outcome: 'ended', session_ids: sensible(endedAnswer, body).ended }
}

/** Throws for anything that is not an answer of a working auth-service. */
export function isHealthy(status: number): void {
  if (status !== 200) throw new Error(`status ${status}`)
}

function refused(status: number): Refused {
  if (status >= 400 && status < 500 && status !== 429) return { outcome: 'refused', status }
  throw new Error(`status ${status}`)
}

function sensible<T>(schema: z.ZodType<T>, body: string): T {
  const { data } = schema.safeParse(parsed(body))
  if (data === undefined) throw new Error('a 200 that makes no sense')
  return data
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}
