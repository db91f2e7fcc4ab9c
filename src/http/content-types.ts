import type { Context } from 'koa'
import Negotiator from 'negotiator'
import { HttpError } from './errors.ts'

const JSON_TYPE = 'application/json'
export const PROBLEM = 'application/problem+json'

/** More than any client sends. The time to read an Accept grows with the square of its length. */
const MAX_LENGTH = 1_000

const acceptOf = (ctx: Context): string => ctx.get('Accept') || '*/*'

const negotiator = (accept: string) => new Negotiator({ headers: { accept } })

/**
 * The one of `types` that the client prefers; the first if it does not say. All of them are in UTF-8, which
 * may be named. A client that accepts only problem details gets JSON where there is no problem.
 *
 * Errors: `not_acceptable`, `validation_failed`.
 */
export function negotiate<T extends string>(ctx: Context, types: readonly T[]): T {
  const accept = acceptOf(ctx)
  if (accept.length > MAX_LENGTH) {
    const message = `Accept must have at most ${MAX_LENGTH} characters`
    throw new HttpError('validation_failed', { faults: [{ field: 'Accept', message }] })
  }
  ctx.vary('Accept')
  // What most clients send, and it needs no comparison.
  if (accept === '*/*') return types[0] as T
  const offers = types.flatMap((type) => [
    ...namings(type).map((naming) => [naming, type] as const),
    ...(type === JSON_TYPE ? namings(PROBLEM).map((naming) => [naming, type] as const) : []),
  ])
  const [best] = negotiator(accept).mediaTypes(offers.map(([naming]) => naming))
  const found = offers.find(([naming]) => naming === best)
  if (found === undefined) {
    const message = `Accept must allow ${types.length > 1 ? 'one of: ' : ''}${types.join(', ')}`
    throw new HttpError('not_acceptable', { faults: [{ field: 'Accept', message }] })
  }
  return found[1]
}

const namings = (type: string) => [`${type}; charset=utf-8`, `${type}; charset=utf8`]

/** JSON if the client accepts nothing that fits; problem details if it names them, in whatever place. */
export function errorType(ctx: Context): typeof JSON_TYPE | typeof PROBLEM {
  ctx.vary('Accept')
  return isProblem(acceptOf(ctx)) ? PROBLEM : JSON_TYPE
}

/** Whether an Accept names problem details. */
export function isProblem(accept: string): boolean {
  const named = accept.length > MAX_LENGTH ? [] : negotiator(accept).mediaTypes()
  return named.some((type) => type.toLowerCase() === PROBLEM)
}
