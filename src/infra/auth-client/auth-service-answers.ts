import { z } from 'zod'
import { AMR, type Caller, tokenEnd } from '../../app/ports/authorization.ts'
import { ROLES } from '../../domain/user.ts'

const NONSENSE = 'a 200 that makes no sense'
const DENIALS = ['token_missing', 'token_invalid', 'token_expired', 'session_ended'] as const

/** auth-service refused this service itself. */
type Refused = { readonly outcome: 'refused'; readonly status: number }

/** What auth-service answered about a token. */
export type Validation =
  | { readonly outcome: 'valid'; readonly caller: Caller }
  | { readonly outcome: 'denied'; readonly code: (typeof DENIALS)[number] }
  | Refused

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
    // A version before this one says neither.
    auth_time: z.int().default(0),
    amr: z.array(z.enum(AMR)).default([]),
  }),
})
// Whatever else it says, it is a refusal.
const deniedAnswer = z.object({ code: z.enum(DENIALS).catch('token_invalid') })
const answersInBatch = z.object({
  answers: z.array(
    z.discriminatedUnion('valid', [
      validAnswer.extend({ token_end: z.string() }),
      deniedAnswer.extend({ valid: z.literal(false), token_end: z.string() }),
    ]),
  ),
})

/** Throws for anything that is not an answer of a working auth-service. */
export function validationOf(status: number, body: string): Validation {
  if (status === 200) {
    const { user } = sensible(validAnswer, body)
    return { outcome: 'valid', caller: user }
  }
  if (status === 401) return denied(body)
  return refused(status)
}

function denied(body: string): Exclude<Validation, Refused | { readonly outcome: 'valid' }> {
  const { data } = deniedAnswer.safeParse(parsed(body))
  return { outcome: 'denied', code: data?.code ?? 'token_invalid' }
}

/**
 * The answers about these tokens, in their order. Each names the end of its token, so that nobody can get
 * the answer about another. Throws for anything that is not an answer of a working auth-service.
 */
export const validationsOf =
  (tokens: readonly string[]) =>
  (status: number, body: string): readonly Validation[] => {
    if (status !== 200) return tokens.map(() => refused(status))
    const { answers } = sensible(answersInBatch, body)
    const isAbout = (token: string, n: number) => answers[n]?.token_end === tokenEnd(token)
    if (answers.length !== tokens.length || !tokens.every(isAbout)) throw new Error(NONSENSE)
    return answers.map((answer) =>
      answer.valid
        ? { outcome: 'valid', caller: answer.user }
        : { outcome: 'denied', code: answer.code },
    )
  }

const accountRecords = z.object({
  records: z.array(z.looseObject({ record: z.string() })),
  next: z.string().nullable(),
})

/** What is kept of an account, or why auth-service does not say. */
export type AccountRecordsAnswer =
  | { readonly outcome: 'records'; readonly page: z.output<typeof accountRecords> }
  | Exclude<Validation, { readonly outcome: 'valid' }>

/** Throws for anything that is not an answer of a working auth-service. */
export function accountRecordsOf(status: number, body: string): AccountRecordsAnswer {
  if (status === 200) return { outcome: 'records', page: sensible(accountRecords, body) }
  if (status === 401) return denied(body)
  return refused(status)
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
  if (data === undefined) throw new Error(NONSENSE)
  return data
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}
