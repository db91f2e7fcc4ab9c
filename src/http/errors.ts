import { STATUS_CODES } from 'node:http'
import type { Context, Next } from 'koa'
import { AppError, type AppErrorCode } from '../app/errors.ts'
import type { Log } from '../app/ports/process.ts'
import { DomainError, type DomainErrorCode } from '../domain/errors.ts'
import { accepted } from './accepted.ts'
import { MAX_BODY } from './json.ts'

export type HttpErrorCode =
  | 'validation_failed'
  | 'malformed_body'
  | 'unexpected_body'
  | 'body_too_large'
  | 'unsupported_media_type'
  | 'route_not_found'
  | 'method_not_allowed'
  | 'internal_key_required'
  | 'too_many_requests'
  | 'too_many_streams'
  | 'export_under_way'
  | 'overloaded'
  | 'internal_error'

export type ErrorCode = DomainErrorCode | AppErrorCode | HttpErrorCode

/** A field that breaks a rule. `field` is a path such as `title`, or a parameter or header name. */
export type Fault = { readonly field: string; readonly message: string }

/** A request that the HTTP layer itself refuses. */
export class HttpError extends Error {
  readonly code: HttpErrorCode
  readonly faults: readonly Fault[] | undefined
  readonly retryAfter: number | undefined

  constructor(code: HttpErrorCode, facts: { faults?: readonly Fault[]; retryAfter?: number } = {}) {
    super(code)
    this.name = 'HttpError'
    this.code = code
    this.faults = facts.faults
    this.retryAfter = facts.retryAfter
  }
}

/** The one place where an error gets its status. A code that is missing here does not compile. */
export const STATUS = {
  validation_failed: 400,
  malformed_body: 400,
  unexpected_body: 400,
  token_missing: 401,
  token_invalid: 401,
  token_expired: 401,
  session_ended: 401,
  invalid_credentials: 401,
  wrong_password: 403,
  task_forbidden: 403,
  internal_key_required: 403,
  task_not_found: 404,
  change_not_found: 404,
  session_not_found: 404,
  route_not_found: 404,
  method_not_allowed: 405,
  task_exists: 409,
  undo_conflict: 409,
  write_conflict: 409,
  idempotency_key_in_use: 409,
  username_taken: 409,
  email_taken: 409,
  version_mismatch: 412,
  body_too_large: 413,
  unsupported_media_type: 415,
  idempotency_key_reused: 422,
  too_many_attempts: 429,
  too_many_requests: 429,
  too_many_streams: 429,
  export_under_way: 429,
  internal_error: 500,
  hashing_busy: 503,
  database_unavailable: 503,
  texts_unavailable: 503,
  auth_service_unavailable: 503,
  overloaded: 503,
} as const satisfies Record<ErrorCode, number>

const MESSAGE: Record<ErrorCode, string | ((ctx: Context) => string)> = {
  validation_failed: 'Validation failed',
  malformed_body: 'The body is not valid JSON',
  unexpected_body: 'This call takes no body',
  token_missing: 'No authentication token provided',
  token_invalid: 'Invalid token',
  token_expired: 'Token has expired',
  session_ended: 'Session has ended',
  invalid_credentials: 'Invalid username or password',
  wrong_password: 'The current password is wrong',
  task_forbidden: 'You do not have permission to access this resource',
  internal_key_required: 'Only services of Tasktrail may call this',
  task_not_found: (ctx) => `Task with id ${ctx.params.id} not found`,
  change_not_found: (ctx) => `Task with id ${ctx.params.id} has no such change`,
  session_not_found: (ctx) => `Session with id ${ctx.params.id} not found`,
  route_not_found: (ctx) => `There is nothing at ${ctx.path}`,
  method_not_allowed: (ctx) => `${ctx.method} is not allowed here`,
  task_exists: 'The task exists already',
  undo_conflict: 'What this would undo has been changed again since',
  write_conflict: 'Others changed the task at the same time; try again',
  idempotency_key_in_use: 'A request with this Idempotency-Key is still running',
  username_taken: 'Username already exists',
  email_taken: 'Email already exists',
  version_mismatch: 'If-Match or If-None-Match does not allow the version that the task has now',
  body_too_large: `The body is larger than ${MAX_BODY.name}`,
  unsupported_media_type: 'The body must be application/json in UTF-8, not compressed',
  idempotency_key_reused: 'This Idempotency-Key was used with another request',
  too_many_attempts: 'Too many failed attempts; try again later',
  too_many_streams: 'Too many streams of this user are open',
  export_under_way: 'Another export of this user is under way; wait until it has ended',
  too_many_requests: 'Too many requests; slow down',
  internal_error: 'An unexpected error occurred',
  hashing_busy: 'Too many logins at the moment; try again',
  database_unavailable: 'Database connection failed',
  texts_unavailable: 'The key of these texts is not available',
  auth_service_unavailable: 'Authentication service unavailable',
  overloaded: 'The service is overloaded; try again',
}

const PROBLEM = 'application/problem+json'

/** Turns whatever was thrown below it into an answer. What nobody foresaw is logged and says nothing. */
export const answerErrors = (log: Log) => async (ctx: Context, next: Next) => {
  try {
    await next()
  } catch (error) {
    const code: ErrorCode = isKnown(error) ? error.code : 'internal_error'
    const { request_id } = ctx.state
    if (code === 'internal_error') log.error({ request_id, err: error }, 'unexpected error')
    else if (STATUS[code] === 503)
      log.warn({ request_id, code, err: causeOf(error) }, 'unavailable')
    answer(ctx, code, error instanceof Error ? error : new Error(String(error)))
  }
}

const isKnown = (error: unknown): error is DomainError | AppError | HttpError =>
  error instanceof DomainError || error instanceof AppError || error instanceof HttpError

const causeOf = (error: unknown): string | undefined =>
  error instanceof Error && error.cause instanceof Error ? error.cause.message : undefined

function answer(ctx: Context, code: ErrorCode, error: Error): void {
  const status = STATUS[code]
  const template = MESSAGE[code]
  const message = typeof template === 'string' ? template : template(ctx)
  const faults = error instanceof HttpError ? error.faults : undefined
  const version = error instanceof AppError ? error.version : undefined
  const retryAfter =
    error instanceof AppError || error instanceof HttpError ? error.retryAfter : undefined

  if (status === 401) ctx.set('WWW-Authenticate', 'Bearer')
  if (status === 503 || retryAfter !== undefined) ctx.set('Retry-After', String(retryAfter ?? 1))
  if (version !== undefined) ctx.set('ETag', `"${version}"`)
  ctx.set('Cache-Control', 'no-store')
  ctx.status = status
  const { request_id } = ctx.state
  const extra = { ...(version !== undefined && { version }), ...(faults && { details: faults }) }
  if (accepted(ctx, 'application/json', PROBLEM) === PROBLEM) {
    const problem = { type: 'about:blank', title: STATUS_CODES[status], status, detail: message }
    ctx.body = { ...problem, instance: ctx.path, code, request_id, ...extra }
    ctx.type = PROBLEM
  } else {
    ctx.body = { error: STATUS_CODES[status], message, code, request_id, ...extra }
    ctx.type = 'application/json'
  }
}
