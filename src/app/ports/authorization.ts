import type { Role } from '../../domain/user.ts'

/** How somebody proved who they are; the values are those of RFC 8176, and `fed`: another provider said so. */
export const AMR = ['pwd', 'otp', 'hwk', 'fed', 'mfa'] as const

export type Authentication = {
  /** Seconds since 1970. */
  readonly auth_time: number
  /** `mfa`: by more than one factor. */
  readonly amr: readonly (typeof AMR)[number][]
}

/** The caller, as auth-service reports it. */
export type Caller = Authentication & {
  readonly user_id: number
  readonly username: string
  readonly email: string
  readonly role: Role
  readonly session_id: string
  /** Seconds since 1970. */
  readonly iat: number
  readonly exp: number
}

/**
 * Validates a bearer token. Errors: `token_missing`, `token_invalid`, `token_expired`, `session_ended`,
 * `auth_service_unavailable` (when in doubt, access is denied).
 */
export type TokenValidator = {
  readonly validate: (token: string, request_id: string) => Promise<Caller>
}

/** Whether auth-service answers. Error: `auth_service_unavailable`. */
export type AuthServiceHealth = {
  readonly answers: (request_id: string) => Promise<void>
}

/** By this an answer about one of many tokens names its token. */
export const tokenEnd = (token: string): string => token.slice(-16)
