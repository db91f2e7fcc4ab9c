import { STATUS_CODES } from 'node:http'
import type { Context, Next } from 'koa'
import { AppError } from '../app/errors.ts'
import type { Log } from '../app/ports/process.ts'
import { DomainError } from '../domain/errors.ts'
import { errorType, PROBLEM } from './content-types.ts'
import { type ErrorCode, type Fault, HttpError, MESSAGE, STATUS } from './errors.ts'
import { asWritten } from './versions.ts'

/** Turns whatever was thrown into an answer. An unexpected error is logged and answered without details. */
export const answerErrors = (log: Log) => async (ctx: Context, next: Next) => {
  try {
    await next()
  } catch (error) {
    const code = logFailure(log, ctx.state.request_id, error)
    answer(ctx, code, error instanceof Error ? error : new Error(String(error)))
  }
}

/** The code of what was thrown. Logs it if it is a fault of ours, or of a dependency. */
export function logFailure(log: Log, request_id: string, error: unknown): ErrorCode {
  const code: ErrorCode = isKnown(error) ? error.code : 'internal_error'
  if (code === 'internal_error') log.error({ request_id, err: error }, 'unexpected error')
  else if (STATUS[code] === 503) log.warn({ request_id, code, err: causeOf(error) }, 'unavailable')
  return code
}

const isKnown = (error: unknown): error is DomainError | AppError | HttpError =>
  error instanceof DomainError || error instanceof AppError || error instanceof HttpError

const causeOf = (error: unknown): string | undefined =>
  error instanceof Error && error.cause instanceof Error ? error.cause.message : undefined

function faultsOf(error: Error): readonly Fault[] | undefined {
  if (error instanceof HttpError) return error.faults
  if (!(error instanceof DomainError)) return undefined
  return error.conflicts?.map(({ field, version }) => {
    return { field, message: `${field} was changed again by version ${version}` }
  })
}

function answer(ctx: Context, code: ErrorCode, error: Error): void {
  const status = STATUS[code]
  // For the access log.
  ctx.state.code = code
  const template = MESSAGE[code]
  const message = typeof template === 'string' ? template : template(ctx, error)
  const faults = faultsOf(error)
  const { version, quota } = error instanceof AppError ? error : {}
  const retryAfter =
    error instanceof AppError || error instanceof HttpError ? error.retryAfter : undefined

  if (status === 401) ctx.set('WWW-Authenticate', 'Bearer')
  if (status === 503 || retryAfter !== undefined) ctx.set('Retry-After', String(retryAfter ?? 1))
  if (version !== undefined) ctx.set('ETag', `"${version}"`)
  ctx.set('Cache-Control', 'no-store')
  ctx.status = status
  const { request_id } = ctx.state
  const extra = {
    ...(version !== undefined && { version }),
    ...(quota && { quota }),
    ...(faults && { details: faults }),
  }
  if (errorType(ctx) === PROBLEM) {
    const problem = { type: 'about:blank', title: STATUS_CODES[status], status, detail: message }
    ctx.body = { ...problem, instance: asWritten(ctx), code, request_id, ...extra }
    ctx.type = PROBLEM
  } else {
    ctx.body = { error: STATUS_CODES[status], message, code, request_id, ...extra }
    ctx.type = 'application/json'
  }
}
