import type { Context } from 'koa'
import { AppError, type AppErrorCode, type Quota } from '../app/errors.ts'
import { KEPT_DAYS } from '../app/photo-keys.ts'
import { LONGEST_SIDE, MOST_PIXELS, MOST_PIXELS_OF_AVIF } from '../app/ports/images.ts'
import type { DomainErrorCode } from '../domain/errors.ts'
import { MOST_PHOTOS } from '../domain/task/photos.ts'
import type { Role } from '../domain/user.ts'
import { TOKEN_MESSAGE } from './edge.ts'
import { MAX_BODY } from './json.ts'
import { asWritten } from './versions.ts'

export type HttpErrorCode =
  | 'validation_failed'
  | 'malformed_body'
  | 'unexpected_body'
  | 'not_acceptable'
  | 'body_too_large'
  | 'unsupported_media_type'
  | 'route_not_found'
  | 'method_not_allowed'
  | 'internal_key_required'
  | 'auditors_only'
  | 'admins_only'
  | 'cross_site_request'
  | 'event_not_found'
  | 'record_not_found'
  | 'checkpoint_not_found'
  | 'tile_not_found'
  | 'size_not_found'
  | 'too_many_requests'
  | 'too_many_streams'
  | 'export_under_way'
  | 'proof_not_ready'
  | 'overloaded'
  | 'identity_elsewhere'
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

/** The one place where an error gets its status. A missing code fails to compile. */
export const STATUS = {
  validation_failed: 400,
  malformed_body: 400,
  unexpected_body: 400,
  token_missing: 401,
  token_invalid: 401,
  token_expired: 401,
  session_ended: 401,
  invalid_credentials: 401,
  provider_refused: 401,
  sign_in_unknown: 400,
  email_unverified: 403,
  email_differs: 403,
  pool_refused: 400,
  sign_up_unconfirmed: 403,
  password_reset_required: 403,
  code_invalid: 403,
  challenge_invalid: 403,
  wrong_password: 403,
  account_locked: 403,
  task_forbidden: 403,
  quota_exceeded: 403,
  internal_key_required: 403,
  auditors_only: 403,
  admins_only: 403,
  cross_site_request: 403,
  step_up_required: 403,
  second_factor_required: 403,
  task_not_found: 404,
  photo_not_found: 404,
  thumbnail_not_found: 404,
  change_not_found: 404,
  version_not_found: 404,
  task_not_there_then: 404,
  session_not_found: 404,
  factor_not_found: 404,
  user_not_found: 404,
  provider_not_found: 404,
  identity_not_found: 404,
  event_not_found: 404,
  record_not_found: 404,
  checkpoint_not_found: 404,
  tile_not_found: 404,
  size_not_found: 404,
  route_not_found: 404,
  method_not_allowed: 405,
  not_acceptable: 406,
  task_exists: 409,
  undo_conflict: 409,
  nothing_to_undo: 409,
  nothing_to_redo: 409,
  write_conflict: 409,
  too_many_photos: 409,
  photo_not_uploaded: 409,
  idempotency_key_in_use: 409,
  username_taken: 409,
  email_taken: 409,
  passkey_known: 409,
  too_many_factors: 409,
  own_account: 409,
  last_admin: 409,
  identity_unlinked: 409,
  identity_taken: 409,
  last_sign_in: 409,
  password_not_set: 409,
  photo_gone: 410,
  link_invalid: 410,
  version_mismatch: 412,
  body_too_large: 413,
  unsupported_media_type: 415,
  idempotency_key_reused: 422,
  photo_differs: 422,
  not_an_image: 422,
  too_many_pixels: 422,
  too_many_attempts: 429,
  too_many_requests: 429,
  too_many_streams: 429,
  export_under_way: 429,
  internal_error: 500,
  photos_not_kept: 501,
  identity_elsewhere: 501,
  hashing_busy: 503,
  database_unavailable: 503,
  texts_unavailable: 503,
  storage_unavailable: 503,
  provider_unavailable: 503,
  newer_version: 503,
  proof_not_ready: 503,
  auth_service_unavailable: 503,
  overloaded: 503,
} as const satisfies Record<ErrorCode, number>

const QUOTA: Readonly<Record<Quota['of'], (used: number, limit: number) => string>> = {
  tasks: (used, limit) =>
    `You have ${used} tasks, of ${limit} that you may have: delete some to make others`,
  bytes: (used, limit) =>
    `Your changes take ${used} bytes, of ${limit} that they may take: you can still read and delete`,
  keyed_answers: (used, limit) =>
    `You have sent ${used} Idempotency-Keys within a day, of ${limit} that you may send: ` +
    'send none, or try again later',
  photos: (used, limit) =>
    `You have ${used} photos, of ${limit} that you may have: those that you remove count for ${KEPT_DAYS} days more`,
  photo_bytes: (used, limit) =>
    `Your photos take ${used} bytes, of ${limit} that they may take: those that you remove count for ` +
    `${KEPT_DAYS} days more`,
}

/** What a call says to those whose role it is not for. */
export const refusalOf = (roles: readonly Role[]): 'auditors_only' | 'admins_only' =>
  roles.includes('auditor') ? 'auditors_only' : 'admins_only'

type Message = string | ((ctx: Context, error: Error) => string)

export const MESSAGE: Record<ErrorCode, Message> = {
  validation_failed: 'Validation failed',
  malformed_body: 'The body is not valid JSON',
  unexpected_body: 'This call takes no body',
  ...TOKEN_MESSAGE,
  session_ended: 'Session has ended',
  invalid_credentials: 'Invalid username or password',
  wrong_password: 'The current password is wrong',
  account_locked: 'This account is locked: ask an admin',
  password_not_set: 'This account has no password; a password reset sets one',
  provider_not_found: (ctx) => `There is no identity provider ${ctx.params.name}`,
  provider_refused: 'The identity provider let nobody in, or what it says is not to be trusted',
  provider_unavailable: 'The identity provider does not answer; try again',
  sign_in_unknown:
    'No such sign-in was begun in this browser within ten minutes, or it was completed before; begin again',
  email_unverified: 'The identity provider does not say that you have a verified email address',
  email_differs:
    'The identity provider knows you by another email address than this account has confirmed',
  pool_refused: 'The user pool takes no such password, username or email',
  sign_up_unconfirmed: 'Confirm the code that was mailed to you first',
  password_reset_required: 'Set a new password first, by a code that is mailed to you',
  code_invalid: 'This code or passkey is wrong, or it was used before',
  challenge_invalid: 'This step was not begun, or has ended: begin again',
  identity_elsewhere: 'This installation keeps passwords elsewhere: there is another call for this',
  identity_unlinked:
    'An account has this email address: sign in to it as you do now, and link the identity provider there',
  identity_taken:
    'This identity is linked to another account, or another one of this provider to yours',
  identity_not_found: (ctx) => `No identity at ${ctx.params.name} is linked to this account`,
  last_sign_in:
    'Nothing else would let you in: set a password first, or link another identity provider',
  task_forbidden: 'You do not have permission to access this resource',
  quota_exceeded: (_, error) => {
    const quota = error instanceof AppError ? error.quota : undefined
    return quota === undefined ? 'A quota is used up' : QUOTA[quota.of](quota.used, quota.limit)
  },
  internal_key_required: 'Only services of Tasktrail may call this',
  auditors_only: 'Only auditors and admins may call this',
  admins_only: 'Only admins may call this',
  cross_site_request:
    'A cookie was sent from a page of another site: send the token in the Authorization header',
  second_factor_required: 'This account has a second factor: prove that',
  step_up_required: 'Prove once more that it is you (POST /auth/step-up), and repeat this call',
  task_not_found: (ctx) => `Task with id ${ctx.params.id} not found`,
  photo_not_found: (ctx) => `Task with id ${ctx.params.id} has no photo ${ctx.params.photo_id}`,
  thumbnail_not_found: 'There is no thumbnail of this photo, or not yet',
  version_not_found: (ctx) => `Task with id ${ctx.params.id} has no version ${ctx.query.version}`,
  task_not_there_then: (ctx) =>
    `Task with id ${ctx.params.id} did not exist then: it was not yet created, or it was deleted`,
  change_not_found: (ctx) => `Task with id ${ctx.params.id} has no such change`,
  factor_not_found: (ctx) => `Factor with id ${ctx.params.id} not found`,
  passkey_known: 'This passkey is in use already',
  too_many_factors: 'You have as many factors as there may be: remove one first',
  session_not_found: (ctx) => `Session with id ${ctx.params.session_id ?? ctx.params.id} not found`,
  user_not_found: (ctx) => `User with id ${ctx.params.id} not found`,
  record_not_found: (ctx) => `There is nothing on record with id ${ctx.params.id}`,
  event_not_found: (ctx) => `Event with position ${ctx.params.position} not found`,
  checkpoint_not_found: 'Nothing of the log has been published yet',
  tile_not_found: 'The log is not that long yet, or not that high',
  size_not_found: 'The log is not that long yet',
  route_not_found: (ctx) => `There is nothing at ${asWritten(ctx)}`,
  method_not_allowed: (ctx) => `${ctx.method} is not allowed here`,
  not_acceptable: 'None of the types that Accept allows is available',
  task_exists: 'The task already exists',
  undo_conflict: 'What this would undo has been changed again since',
  nothing_to_undo: 'No change of the task is left to undo',
  nothing_to_redo: 'No undo is left to redo: there was none, or a change has followed it',
  write_conflict: 'Others changed the task at the same time; try again',
  idempotency_key_in_use: 'A request with this Idempotency-Key is still running',
  username_taken: 'Username already exists',
  own_account: 'This is your own account: another admin has to do it',
  last_admin: 'This is the last admin who can log in',
  email_taken: 'Another account has confirmed this address',
  link_invalid: 'This link was used, has expired, or is none; ask for a new one',
  too_many_photos: `A task has at most ${MOST_PHOTOS} photos, those included that are on their way`,
  photo_not_uploaded: 'Nothing has been uploaded with the form of this photo',
  photo_differs: 'What was uploaded has another size or checksum than was promised',
  photo_gone: 'The bytes of this photo were removed for good: it cannot come back',
  not_an_image: 'What was uploaded is no image of the type that was promised',
  too_many_pixels:
    `The photo has more than ${MOST_PIXELS} pixels (an AVIF: ${MOST_PIXELS_OF_AVIF}), ` +
    `or a side of more than ${LONGEST_SIDE}`,
  photos_not_kept: 'This installation keeps no photos',
  version_mismatch: 'The current version of the task does not satisfy If-Match or If-None-Match',
  body_too_large: `The body is larger than ${MAX_BODY.name}`,
  unsupported_media_type: 'The body must be application/json in UTF-8, not compressed',
  idempotency_key_reused: 'This Idempotency-Key was used with another request',
  too_many_attempts: 'Too many failed attempts; try again later',
  too_many_streams: 'Too many streams of this user, or from this address, are open',
  export_under_way: 'Another export of this user is under way; wait until it has ended',
  too_many_requests: 'Too many requests; slow down',
  internal_error: 'An unexpected error occurred',
  hashing_busy: 'Too many logins at the moment; try again',
  database_unavailable: 'Database connection failed',
  texts_unavailable: 'The key of these texts is not available',
  storage_unavailable: 'Object storage is not available; try again',
  newer_version: 'A newer version of the service has changed this task; try again',
  proof_not_ready: 'The log does not cover this event yet; try again',
  auth_service_unavailable: 'Authentication service unavailable',
  overloaded: 'The service is overloaded; try again',
}
