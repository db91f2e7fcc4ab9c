export type AppErrorCode =
  | 'version_mismatch'
  | 'write_conflict'
  | 'idempotency_key_reused'
  | 'idempotency_key_in_use'
  | 'quota_exceeded'
  | 'username_taken'
  | 'email_taken'
  | 'link_invalid'
  | 'invalid_credentials'
  | 'wrong_password'
  | 'token_missing'
  | 'token_invalid'
  | 'token_expired'
  | 'session_ended'
  | 'session_not_found'
  | 'user_not_found'
  | 'account_locked'
  | 'own_account'
  | 'last_admin'
  | 'step_up_required'
  | 'second_factor_required'
  | 'code_invalid'
  | 'challenge_invalid'
  | 'factor_not_found'
  | 'too_many_factors'
  | 'passkey_known'
  | 'user_not_found'
  | 'admins_only'
  | 'last_admin'
  | 'password_not_set'
  | 'provider_not_found'
  | 'provider_refused'
  | 'provider_unavailable'
  | 'sign_in_unknown'
  | 'email_unverified'
  | 'email_differs'
  | 'identity_unlinked'
  | 'identity_taken'
  | 'identity_not_found'
  | 'last_sign_in'
  | 'sign_up_unconfirmed'
  | 'pool_refused'
  | 'password_reset_required'
  | 'too_many_attempts'
  | 'hashing_busy'
  | 'database_unavailable'
  | 'texts_unavailable'
  | 'storage_unavailable'
  | 'photos_not_kept'
  | 'photo_not_uploaded'
  | 'photo_differs'
  | 'photo_gone'
  | 'not_an_image'
  | 'too_many_pixels'
  | 'thumbnail_not_found'
  | 'newer_version'
  | 'auth_service_unavailable'

/** What is used up, how much of it there is, and how much has been used. */
export type Quota = {
  readonly of: 'tasks' | 'bytes' | 'keyed_answers' | 'photos' | 'photo_bytes'
  readonly limit: number
  readonly used: number
}

/** A failure of a use case or an adapter. Knows its code and nothing of HTTP. */
export class AppError extends Error {
  readonly code: AppErrorCode
  /** Seconds after which a retry makes sense. */
  readonly retryAfter: number | undefined
  /** The stream's current version, with `version_mismatch`. */
  readonly version: number | undefined
  /** With `quota_exceeded`. */
  readonly quota: Quota | undefined

  constructor(
    code: AppErrorCode,
    facts: { retryAfter?: number; version?: number; quota?: Quota; cause?: unknown } = {},
  ) {
    super(code, { cause: facts.cause })
    this.name = 'AppError'
    this.code = code
    this.retryAfter = facts.retryAfter
    this.version = facts.version
    this.quota = facts.quota
  }
}
