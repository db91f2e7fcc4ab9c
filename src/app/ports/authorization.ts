import type { Role } from '../../domain/user.ts'

/** Who calls, as auth-service says. */
export type Caller = {
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
 * Validates a bearer token. Errors: `token_missing`, `token_invalid`, `token_expired`,
 * `session_ended`, `auth_service_unavailable` (never access when in doubt).
 */
export type TokenValidator = {
  readonly validate: (token: string, request_id: string) => Promise<Caller>
}

/** Whether auth-service answers. Error: `auth_service_unavailable`. */
export type AuthServiceHealth = {
  readonly answers: (request_id: string) => Promise<void>
}

/** Asks of many sessions at once. Error: `auth_service_unavailable`. */
export type SessionCheck = {
  /** Those that are over by now, or never were; of a thousand at most. */
  readonly ended: (session_ids: readonly string[], request_id: string) => Promise<readonly string[]>
}
